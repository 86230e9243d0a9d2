import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { sha256 } from '../base/files.js'
import { openCorpus } from '../corpus/index.js'
import { addTokenizer } from '../train/index.js'
import { finetune as specialize, finetuneRule } from '../specialize/index.js'
import { ProgressDisplay } from '../train/index.js'
import { define, deviceOptions, interruption, jsonOption } from './frame.js'
import { tokenizerOf } from './tokenizerOf.js'
import { printRun } from './train.js'
import { finetuneOptions, settingsOf } from './trainingOptions.js'

export const finetune = define({
  command: 'finetune',
  describe: 'Fine-tune a model on a domain, with early stopping; the best is kept',
  options: {
    model: { type: 'string', demandOption: true, describe: 'Hugging Face folder of the model, with its tokenizer.json' },
    corpus: { type: 'string', demandOption: true, describe: 'Corpus folder of the specialization set' },
    seed: { type: 'number', default: 1, describe: 'Seed of the validation split and of the windows drawn' },
    into: { type: 'string', demandOption: true, describe: 'Run folder; a run that was interrupted goes on there' },
    ...finetuneOptions, ...deviceOptions, ...jsonOption,
  },
  examples: [['finetune --model run/model --corpus law --rate 5e-4 --into law-model', 'The model for the domain, in law-model/model']],
  run: async args => {
    const { model, corpus: from, seed, into, threads, precision, json } = args
    const { validationShare, replay: _, ...given } = settingsOf('finetune', args)
    using tokenizer = tokenizerOf(model)
    if (!tokenizer) throw new NichelmError('INPUT', 'has no tokenizer.json, so that the corpus cannot be checked against it', { place: { file: model }, fix: 'Put the model\'s tokenizer.json there.' })
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    const settings = { ...finetuneRule(corpus.manifest.counts.tokens, args['base-rate']), ...given }
    using device = new Device({ threads })
    using display = new ProgressDisplay({ label: 'finetune', peak: await device.peak(precision) })
    const result = await specialize({
      folder: into, device, precision, model, corpus, validationShare, settings, seed, signal: interruption.signal, onProgress: progress => display.show(progress),
      identity: { corpus: corpus.hash, model: sha256(readFileSync(join(model, 'model.safetensors'))) }, ...(tokenizer.endOfText === undefined ? {} : { endOfText: tokenizer.endOfText }),
    })
    addTokenizer(join(model, 'tokenizer.json'), result.model)
    printRun(json, result)
  },
})
