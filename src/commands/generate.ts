import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { readJson } from '../base/files.js'
import { checkGeneration, checkPrompts, generate as steps, MOST_SLOTS, type End, type GenerateStatistics } from '../generate/index.js'
import { isProjected, openHuggingFace, type StoredModel } from '../model/index.js'
import { readDocuments, type Tokenizer } from '../text/index.js'
import { define, deviceOptions, interruption, jsonOption, openDevice, print, progress } from './frame.js'
import { tokenizerOf } from './tokenizerOf.js'

export const generate = define({
  command: 'generate',
  describe: 'Continue prompts with a model',
  options: {
    model: { type: 'string', demandOption: true, describe: 'Hugging Face folder (config.json, model.safetensors, tokenizer.json) of a GPT-2 or Llama model' },
    prompt: { type: 'string', conflicts: 'prompts', describe: 'A text to continue' },
    prompts: { type: 'string', describe: 'A file of texts to continue: .jsonl, .parquet or, a text a line, .txt; also .gz and .zst' },
    field: { type: 'string', default: 'text', describe: 'The field or column of --prompts that holds the text' },
    'max-tokens': { type: 'number', minimum: 1, default: 100, describe: 'New tokens of each text at most' },
    temperature: { type: 'number', fraction: true, default: 0.8, describe: '0: always the most probable token; 1: as the model says' },
    'top-k': { type: 'number', default: 0, describe: 'Draw from so many of the most probable tokens; 0: all' },
    'top-p': { type: 'number', fraction: true, default: 0.95, describe: 'Draw from the most probable tokens that have this much probability together; 1: all' },
    seed: { type: 'number', default: 1, describe: 'The same seed gives the same texts' },
    batch: { type: 'number', minimum: 1, default: MOST_SLOTS, describe: `Texts that are continued at once, at most ${MOST_SLOTS}` },
    ...deviceOptions, ...jsonOption,
  },
  examples: [
    ['generate --model runs/law/finetune-slm-is-law/model --prompt "The court finds"', 'One text, as it comes'],
    ['generate --model model --prompts prompts.jsonl --max-tokens 50 --temperature 0 --json', 'Many texts, each token the most probable'],
  ],
  run: async ({ model: folder, prompt, prompts: file, field, 'max-tokens': maxTokens, temperature, 'top-k': topK, 'top-p': topP, seed, batch, device: name, threads, precision, json }) => {
    if (prompt === undefined && file === undefined) throw new NichelmError('USAGE', 'what to continue is missing', { fix: 'Give --prompt or --prompts.' })
    const settings = { maxTokens, sampling: { temperature, topK, topP }, batch }
    checkGeneration(settings)
    const model = openModel(folder)
    using tokenizer = tokenizerOf(folder)
    if (!tokenizer) throw new NichelmError('INPUT', 'holds no tokenizer.json', { place: { file: folder }, fix: 'Put the tokenizer that the model was trained with there.' })
    const texts: string[] = []
    if (prompt !== undefined) texts.push(prompt)
    else for await (const document of readDocuments(file!, { field, documentPerLine: true })) texts.push(document.text)
    const prompts = (await tokenizer.encodeBatch(texts, { special: true, threads })).map((ids) => Array.from(ids))
    checkPrompts(prompts, model.config)

    using device = openDevice({ device: name, threads })
    const continued = new Texts(texts, tokenizer, !json, prompt !== undefined), all = steps({ device, precision, model, prompts, ...settings, seed, stop: stopTokens(folder, tokenizer), signal: interruption.signal })
    let statistics: GenerateStatistics | undefined
    while (!statistics) {
      const { value, done } = await all.next()
      if (done) statistics = value
      else for (const { prompt: which, id, end } of value) continued.add(which, id, end)
    }
    const { promptTokens, newTokens, prefillSeconds, decodeSeconds, memoryBytes } = statistics
    const results = { ...statistics, prefillTokensPerSecond: rate(promptTokens, prefillSeconds), decodeTokensPerSecond: rate(newTokens, decodeSeconds) }
    if (json) print(true, { model: folder, precision, threads: device.describe().threads, seed, texts: continued.results, statistics: results }, () => '')
    progress(`${promptTokens.toLocaleString('en')} tokens of ${prompts.length} prompt${prompts.length === 1 ? '' : 's'} in ${prefillSeconds.toFixed(2)} s; ${newTokens.toLocaleString('en')} new ones in ${decodeSeconds.toFixed(2)} s${newTokens ? `, ${Math.round(newTokens / decodeSeconds).toLocaleString('en')} a second` : ''}; ${Math.ceil(memoryBytes / 2 ** 20)} MiB`)
  },
})

const rate = (tokens: number, seconds: number): number | null => (tokens && seconds ? tokens / seconds : null)

/** Throws INPUT for a projected network, which is many models, and for a run's folder. */
function openModel(folder: string): StoredModel {
  if (isProjected(folder)) throw new NichelmError('INPUT', 'holds a projected network, which is many models', { place: { file: folder }, fix: 'Make one of them with `nichelm instantiate`.' })
  if (!existsSync(join(folder, 'config.json')) && existsSync(join(folder, 'model', 'config.json'))) throw new NichelmError('INPUT', 'is the folder of a run', { place: { file: folder }, fix: `Give the model in it: --model ${join(folder, 'model')}` })
  return openHuggingFace(folder)
}

/** The ids that end a text: those of generation_config.json or config.json, else the tokenizer's end of text. */
function stopTokens(folder: string, tokenizer: Tokenizer): number[] {
  for (const name of ['generation_config.json', 'config.json']) {
    const file = join(folder, name)
    if (!existsSync(file)) continue
    const ids = [(readJson(file) as { eos_token_id?: unknown } | null)?.eos_token_id].flat().filter((id): id is number => typeof id === 'number')
    if (ids.length) return ids
  }
  return tokenizer.endOfText === undefined ? [] : [tokenizer.endOfText]
}

/** The texts as they come: one is printed token by token, several each when it and all before it are done. */
class Texts {
  readonly results: { prompt: string; text: string; tokens: number; end: End | null }[]
  readonly #decoders: { push(id: number): string; end(): string }[]
  #printed = 0

  constructor(prompts: readonly string[], tokenizer: Tokenizer, readonly printing: boolean, readonly alone: boolean) {
    this.results = prompts.map((prompt) => ({ prompt, text: '', tokens: 0, end: null }))
    this.#decoders = prompts.map(() => tokenizer.streamDecoder())
  }

  add(which: number, id: number | undefined, end: End | undefined): void {
    const result = this.results[which]!, decoder = this.#decoders[which]!
    const text = (id === undefined ? '' : decoder.push(id)) + (end ? decoder.end() : '')
    result.text += text
    if (id !== undefined) result.tokens++
    if (end) result.end = end
    if (!this.printing) return
    if (this.alone) process.stdout.write(end ? `${text}\n` : text)
    else for (; this.results[this.#printed]?.end; this.#printed++) process.stdout.write(`--- ${this.#printed + 1}\n${this.results[this.#printed]!.prompt}${this.results[this.#printed]!.text}\n`)
  }
}
