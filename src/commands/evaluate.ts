import { NichelmError } from '../base/errors.js'
import { SafetensorsFile, writeSafetensors } from '../base/safetensors.js'
import { openCorpus } from '../corpus/index.js'
import { evaluateCorpus, evaluateTokens, type TokenRows } from '../evaluate/index.js'
import { openHuggingFace } from '../model/index.js'
import type { Likelihood } from '../train/index.js'
import { define, deviceOptions, interruption, jsonOption, openDevice, print } from './frame.js'
import { tokenizerOf } from './tokenizerOf.js'

export const evaluate = define({
  command: 'evaluate',
  describe: 'Loss and perplexity of a model on a corpus, or on rows of token ids',
  options: {
    model: { type: 'string', demandOption: true, describe: 'Hugging Face folder (config.json, model.safetensors) of a GPT-2 or Llama model' },
    corpus: { type: 'string', conflicts: ['tokens', 'logits'], describe: 'A corpus folder: every window is scored alone' },
    tokens: { type: 'string', describe: 'A safetensors file with a tensor input_ids [rows, length]: every row is one document' },
    logits: { type: 'string', implies: 'tokens', describe: 'Write the logits there: a safetensors file with a tensor logits [rows, length, vocabulary] in f32' },
    ...deviceOptions, ...jsonOption,
  },
  examples: [
    ['evaluate --model model --corpus corpus', 'Perplexity and bits per byte on a corpus'],
    ['evaluate --model model --tokens ids.safetensors --logits logits.safetensors --json', 'Loss on raw ids, with the logits'],
  ],
  run: async ({ model: folder, corpus: from, tokens, logits, device: name, threads, precision, json }) => {
    if (from === undefined && tokens === undefined) throw new NichelmError('USAGE', 'what to evaluate on is missing', { fix: 'Give --corpus or --tokens.' })
    const model = openHuggingFace(folder), { signal } = interruption
    const rows = tokens === undefined ? undefined : readTokens(tokens)
    using device = openDevice({ device: name, threads })
    const options = { device, precision, model, signal }
    let found: Likelihood
    if (rows) {
      const { vocabulary } = model.config, size = rows.length * vocabulary
      const all = logits === undefined ? undefined : new Float32Array(rows.rows * size)
      found = await evaluateTokens(rows, { ...options, ...(all ? { onLogits: (row, part) => all.set(part, row * size) } : {}) })
      if (all && logits !== undefined) writeSafetensors(logits, [{ name: 'logits', dtype: 'F32', shape: [rows.rows, rows.length, vocabulary], data: all }])
    } else {
      using tokenizer = tokenizerOf(folder)
      using corpus = openCorpus(from!, tokenizer ? { tokenizer: tokenizer.hash } : {})
      found = await evaluateCorpus(corpus, options)
    }
    const { nll, perplexity, bitsPerByte, targets } = found
    const result = { loss: nll, perplexity, bitsPerByte: Number.isFinite(bitsPerByte) ? bitsPerByte : null, targets }
    print(json, result, () => `loss ${nll.toFixed(4)} nats a token, perplexity ${perplexity.toFixed(2)}${result.bitsPerByte === null ? '' : `, ${bitsPerByte.toFixed(4)} bits a byte`}, over ${targets.toLocaleString('en')} targets`)
  },
})

/** Reads the tensor input_ids [rows, length] of whole numbers. */
function readTokens(path: string): TokenRows {
  using file = new SafetensorsFile(path)
  const { shape, dtype } = file.entry('input_ids'), place = { file: path, field: 'input_ids' }
  if (shape.length !== 2) throw new NichelmError('INPUT', `has shape [${shape.join(', ')}], but must be [rows, length]`, { place })
  if (/F|BOOL/.test(dtype)) throw new NichelmError('INPUT', `holds ${dtype}, but token ids are whole numbers`, { place })
  return { rows: shape[0]!, length: shape[1]!, ids: file.read('input_ids') }
}
