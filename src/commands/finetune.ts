import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { sha256 } from '../base/files.js'
import { openCorpus } from '../corpus/index.js'
import { LORA_MATRICES, type LoraConfig, type LoraMatrix } from '../model/index.js'
import { finetune as specialize, finetuneRule, type Distillation } from '../specialize/index.js'
import { Tokenizer } from '../text/index.js'
import { addTokenizer, ProgressDisplay } from '../train/index.js'
import { define, deviceOptions, interruption, jsonOption, openDevice, type OptionTable } from './frame.js'
import { configOf, modelOptions } from './modelOptions.js'
import { checkRunFolder } from './runFolder.js'
import { printRun } from './train.js'
import { finetuneOptions, settingsOf } from './trainingOptions.js'

const methodOptions = {
  'lora-rank': { type: 'number', minimum: 1, describe: 'llm-lora: train updates of this rank, and merge them' },
  'lora-alpha': { type: 'number', fraction: true, implies: 'lora-rank', describe: 'llm-lora: the updates are scaled by alpha / rank; default: rank' },
  'lora-matrix': { type: 'string', array: true, nargs: 1, choices: LORA_MATRICES, implies: 'lora-rank', describe: 'llm-lora: a matrix of every layer that is updated; can be given again; default: attention.qkv' },
  teacher: { type: 'string', describe: 'slm-d: Hugging Face folder of a teacher with the same tokenizer, fine-tuned on the domain' },
  'teacher-share': { type: 'number', fraction: true, default: 0.5, describe: 'slm-d: share of the teacher in the loss' },
  temperature: { type: 'number', fraction: true, default: 1, describe: 'slm-d: of both distributions' },
  top: { type: 'number', minimum: 1, implies: 'teacher', describe: 'slm-d: keep so many of the teacher\'s probabilities on disk; default: it computes along' },
  replay: { type: 'number', fraction: true, implies: 'replay-corpus', describe: 'Share of generic text among the rows' },
  'replay-corpus': { type: 'string', implies: 'replay', describe: 'Corpus folder of the generic set' },
} as const satisfies OptionTable

export const finetune = define({
  command: 'finetune',
  describe: 'Fine-tune a model on a domain, with early stopping; the best is kept',
  options: {
    model: { type: 'string', demandOption: true, describe: 'Hugging Face folder of the model, with its tokenizer.json; or a named model, to train from a random start (slm-nopt)' },
    tokenizer: { type: 'string', describe: 'The tokenizer.json; default: that of the model' },
    layers: modelOptions.layers, width: modelOptions.width, heads: modelOptions.heads,
    corpus: { type: 'string', demandOption: true, describe: 'Corpus folder of the specialization set' },
    seed: { type: 'number', default: 1, describe: 'Seed of the validation split and of the windows drawn' },
    into: { type: 'string', demandOption: true, describe: 'Run folder; a run that was interrupted goes on there' },
    ...finetuneOptions, ...methodOptions, ...deviceOptions, ...jsonOption,
  },
  examples: [
    ['finetune --model run/model --corpus law --rate 5e-4 --into law-model', 'The model for the domain, in law-model/model'],
    ['finetune --model run/model --corpus law --teacher large-law/model --into law-model', 'slm-d'],
    ['finetune --model large/model --corpus law --lora-rank 64 --into large-law', 'llm-lora'],
  ],
  run: async args => {
    const { model: from, corpus: folder, seed, into, precision, json } = args, stored = existsSync(join(from, 'config.json'))
    const { validationShare, replay: _, ...given } = settingsOf('finetune', args)
    checkRunFolder(into)
    const vocabulary = args.tokenizer ?? (stored ? join(from, 'tokenizer.json') : undefined)
    if (vocabulary === undefined) throw new NichelmError('USAGE', `--model ${from}: is no Hugging Face folder, and a random start needs --tokenizer`, { fix: 'Give the folder of a model (of a projected network, one of its experts: `nichelm instantiate`), or a named model and --tokenizer.' })
    if (args.tokenizer === undefined && !existsSync(vocabulary)) throw new NichelmError('INPUT', 'has no tokenizer.json, so that the corpus cannot be checked against it', { place: { file: from }, fix: 'Put the model\'s tokenizer.json there, or give --tokenizer.' })
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(folder, { tokenizer: tokenizer.hash })
    const model = stored ? from : configOf({ ...args, vocab: tokenizer.vocabularySize, context: corpus.context })
    const settings = { ...finetuneRule(corpus.manifest.counts.tokens, args['base-rate']), ...given }
    using generic = args['replay-corpus'] === undefined ? undefined : openCorpus(args['replay-corpus'], { tokenizer: tokenizer.hash })
    const lora = loraOf(args), distill = distillationOf(args, into)
    using device = openDevice(args)
    using display = new ProgressDisplay({ label: 'finetune', peak: await device.peak(precision) })
    const result = await specialize({
      folder: into, device, precision, model, corpus, validationShare, settings, seed, signal: interruption.signal, onProgress: progress => display.show(progress),
      identity: { corpus: corpus.hash, model: typeof model === 'string' ? sha256(readFileSync(join(model, 'model.safetensors'))) : null },
      ...(tokenizer.endOfText === undefined ? {} : { endOfText: tokenizer.endOfText }), ...(lora ? { lora } : {}), ...(distill ? { distill } : {}),
      ...(generic && args.replay ? { replay: { corpus: generic, share: args.replay } } : {}),
    })
    addTokenizer(vocabulary.endsWith('.json') ? vocabulary : join(vocabulary, 'tokenizer.json'), result.model)
    printRun(json, result)
  },
})

function loraOf({ 'lora-rank': rank, 'lora-alpha': alpha, 'lora-matrix': matrices }: { 'lora-rank'?: number | undefined; 'lora-alpha'?: number | undefined; 'lora-matrix'?: readonly LoraMatrix[] | undefined }): LoraConfig | undefined {
  return rank === undefined ? undefined : { rank, alpha: alpha ?? rank, matrices: matrices ?? ['attention.qkv'] }
}

function distillationOf({ teacher, 'teacher-share': alpha, temperature, top }: { teacher?: string | undefined; 'teacher-share': number; temperature: number; top?: number | undefined }, into: string): Distillation | undefined {
  if (teacher === undefined) return undefined
  if (alpha > 1) throw new NichelmError('USAGE', `--teacher-share ${alpha}: must be at most 1`)
  if (!(temperature > 0)) throw new NichelmError('USAGE', `--temperature ${temperature}: must be greater than 0`)
  return { teacher, alpha, temperature, ...(top === undefined ? {} : { cache: { k: top, folder: join(into, 'teacher') } }) }
}
