import { join } from 'node:path'
import { Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { readJson } from '../base/files.js'
import { openAssignments } from '../cluster/index.js'
import { openCorpus, type Corpus } from '../corpus/index.js'
import { Tokenizer } from '../text/index.js'
import { addTokenizer, pretrain, ProgressDisplay, type TrainResult } from '../train/index.js'
import { define, deviceOptions, interruption, jsonOption, print } from './frame.js'
import { configOf, modelOptions } from './modelOptions.js'
import { pretrainOptions, settingsOf } from './trainingOptions.js'

export const train = define({
  command: 'train',
  describe: 'Pretrain a model on a generic corpus; with weights, resampled towards a domain (slm-is)',
  options: {
    corpus: { type: 'string', demandOption: true, describe: 'Corpus folder of the generic set' },
    tokenizer: { type: 'string', demandOption: true, describe: 'The tokenizer.json that it was built with' },
    validation: { type: 'string', describe: 'Corpus folder to evaluate on as training goes on' },
    weights: { type: 'string', implies: 'assignments', describe: 'slm-is: the file that `nichelm weights` wrote' },
    assignments: { type: 'string', implies: 'weights', describe: 'slm-is: the generic corpus\'s clusters, as `nichelm cluster assign` wrote them' },
    model: { ...modelOptions.model, demandOption: false, default: 'nano', describe: 'A named model' },
    layers: modelOptions.layers, width: modelOptions.width, heads: modelOptions.heads,
    seed: { type: 'number', default: 1, describe: 'Seed of the start and of the windows drawn' },
    into: { type: 'string', demandOption: true, describe: 'Run folder; a run that was interrupted goes on there' },
    ...pretrainOptions, ...deviceOptions, ...jsonOption,
  },
  examples: [
    ['train --corpus corpus --tokenizer tokenizer.json --model nano --steps 366 --rate 2e-3 --into run', 'slm'],
    ['train --corpus corpus --tokenizer tokenizer.json --steps 366 --weights weights.json --assignments clusters/generic --into run', 'slm-is'],
  ],
  run: async args => {
    const { corpus: from, validation: heldout, tokenizer: vocabulary, weights, assignments, threads, precision, seed, into, json } = args
    const settings = settingsOf('pretrain', args)
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using validation = heldout === undefined ? undefined : openCorpus(heldout, { tokenizer: tokenizer.hash })
    const config = configOf({ ...args, vocab: tokenizer.vocabularySize, context: corpus.context })
    const drawing = weights === undefined ? undefined : drawingOf(weights, assignments!, corpus)
    using device = new Device({ threads })
    using display = new ProgressDisplay({ label: 'train', peak: await device.peak(precision) })
    const result = await pretrain({
      folder: into, device, config, precision, settings, seed, corpus, validation, drawing, signal: interruption.signal,
      identity: { validation: validation?.hash ?? null, target: drawing?.target ?? null }, onProgress: progress => display.show(progress),
    })
    addTokenizer(join(vocabulary.endsWith('.json') ? vocabulary : join(vocabulary, 'tokenizer.json')), result.model)
    printRun(json, result)
  },
})

function drawingOf(weights: string, assignments: string, corpus: Corpus): { kind: 'importance'; assignments: ArrayLike<number>; target: number[] } {
  const { target } = readJson(weights) as { target?: number[] }, { labels, clusters } = openAssignments(assignments, corpus)
  if (!Array.isArray(target) || target.length !== clusters) {
    throw new NichelmError('INPUT', `has no target distribution over ${clusters} clusters`, { place: { file: weights, field: 'target' }, fix: 'Use the file that `nichelm weights` wrote for these assignments.' })
  }
  return { kind: 'importance', assignments: labels, target }
}

/** What a finished run is told as. */
export function printRun(json: boolean, result: TrainResult): void {
  const { steps, kept, loss, validation, costs, model } = result
  print(json, result, () => [
    `${steps} steps, kept ${kept}; loss ${loss.toFixed(4)}${validation ? `, validation ${validation.nll.toFixed(4)} (perplexity ${validation.perplexity.toFixed(2)})` : ''}`,
    `${costs.tokens.toLocaleString('en')} tokens, ${costs.flops.toExponential(2)} FLOPs, ${costs.deviceHours.toFixed(3)} hours of ${costs.device}`,
    `model ${model}`,
  ].join('\n'))
}
