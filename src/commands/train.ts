import { join } from 'node:path'
import { sha256 } from '../base/files.js'
import { isProjected } from '../model/index.js'
import { openCorpus } from '../corpus/index.js'
import { Tokenizer } from '../text/index.js'
import { addTokenizer, pretrain, ProgressDisplay, type Drawing, type TrainResult } from '../train/index.js'
import { drawingOptions, drawingsOf } from './drawing.js'
import { define, deviceOptions, interruption, jsonOption, openDevice, print } from './frame.js'
import { configOf, modelOptions } from './modelOptions.js'
import { checkRunFolder } from './runFolder.js'
import { pretrainOptions, settingsOf } from './trainingOptions.js'

export const train = define({
  command: 'train',
  describe: 'Pretrain a model on a generic corpus: all of it, resampled towards a domain (slm-is), a model a cluster (slm-mix), or a projected network (slm-pn)',
  options: {
    corpus: { type: 'string', demandOption: true, describe: 'Corpus folder of the generic set' },
    tokenizer: { type: 'string', demandOption: true, describe: 'The tokenizer.json that it was built with' },
    validation: { type: 'string', describe: 'Corpus folder to evaluate on as training goes on' },
    ...drawingOptions,
    model: { ...modelOptions.model, demandOption: false, default: 'nano', describe: 'A named model' },
    layers: modelOptions.layers, width: modelOptions.width, heads: modelOptions.heads,
    seed: { type: 'number', default: 1, describe: 'Seed of the start and of the windows drawn' },
    into: { type: 'string', demandOption: true, describe: 'Run folder; a run that was interrupted goes on there' },
    ...pretrainOptions, ...deviceOptions, ...jsonOption,
  },
  examples: [
    ['train --corpus corpus --tokenizer tokenizer.json --model nano --steps 366 --rate 2e-3 --into run', 'slm'],
    ['train --corpus corpus --tokenizer tokenizer.json --steps 366 --weights weights.json --assignments clusters/generic --into run', 'slm-is'],
    ['train --corpus corpus --tokenizer tokenizer.json --steps 366 --selection law-selection --into run', 'slm-is by n-grams alone'],
    ['train --corpus corpus --tokenizer tokenizer.json --steps 60 --method slm-mix --experts 3,5-7 --assignments clusters/generic --into mixture', 'Some experts of a mixture, in mixture/expert-3 and so on'],
    ['train --corpus corpus --tokenizer tokenizer.json --steps 366 --method slm-pn --assignments clusters/generic --into projected', 'A projected network of as many experts as clusters'],
  ],
  run: async args => {
    const { corpus: from, validation: heldout, tokenizer: vocabulary, precision, seed, into, json } = args
    const settings = settingsOf('pretrain', args)
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using validation = heldout === undefined ? undefined : openCorpus(heldout, { tokenizer: tokenizer.hash })
    const config = configOf({ ...args, vocab: tokenizer.vocabularySize, context: corpus.context })
    const drawings = drawingsOf(args, { corpus, validation, config, rows: settings.batch / settings.accumulate })
    using device = openDevice(args)
    const peak = await device.peak(precision)
    const results: TrainResult[] = []
    for (const { name } of drawings) checkRunFolder(name === null ? into : join(into, name))
    for (const { name, drawing } of drawings) {
      using display = new ProgressDisplay({ label: name ?? 'train', peak })
      const result = await pretrain({
        folder: name === null ? into : join(into, name), device, config, precision, settings, seed, corpus, validation, drawing, signal: interruption.signal,
        identity: { validation: validation?.hash ?? null, target: drawing.kind === 'importance' ? drawing.target : null, ...selectedBy(drawing) }, onProgress: progress => display.show(progress),
      })
      if (!isProjected(result.model)) addTokenizer(vocabulary.endsWith('.json') ? vocabulary : join(vocabulary, 'tokenizer.json'), result.model)
      results.push(result)
    }
    printRuns(json, results)
  },
})

/** What a run by a selection depends on besides; nothing without one. */
function selectedBy(drawing: Drawing): { selected?: string; share?: number } {
  const selected = drawing.kind === 'selected' ? { windows: drawing.windows, share: 1 } : drawing.kind === 'importance' ? drawing.selected : undefined
  return selected ? { selected: sha256(Uint8Array.from(new Uint8Array(Uint32Array.from(selected.windows).buffer))), share: selected.share } : {}
}

/** What a finished run is told as. */
export const printRun = (json: boolean, result: TrainResult): void => print(json, result, () => runText(result))

function printRuns(json: boolean, results: readonly TrainResult[]): void {
  if (results.length === 1) printRun(json, results[0]!)
  else print(json, { experts: results }, () => results.map(runText).join('\n'))
}

const runText = ({ steps, kept, loss, validation, costs, model }: TrainResult): string => [
  `${steps} steps, kept ${kept}; loss ${loss.toFixed(4)}${validation ? `, validation ${validation.nll.toFixed(4)} (perplexity ${validation.perplexity.toFixed(2)})` : ''}`,
  `${costs.tokens.toLocaleString('en')} tokens, ${costs.flops.toExponential(2)} FLOPs, ${costs.deviceHours.toFixed(3)} hours of ${costs.device}`,
  `model ${model}`,
].join('\n')
