import { existsSync, readdirSync } from 'node:fs'
import { NichelmError } from '../base/errors.js'
import { openCorpus } from '../corpus/index.js'
import { selectByNgrams, writeSelection } from '../sampling/index.js'
import { define, interruption, jsonOption, print } from './frame.js'

export const select = define({
  command: 'select',
  describe: 'Generic windows that are like a domain by their n-grams of tokens (DSIR), for slm-is with or without clusters',
  options: {
    corpus: { type: 'string', demandOption: true, describe: 'Corpus folder of the generic set' },
    specialization: { type: 'string', demandOption: true, describe: 'Corpus folder of the domain' },
    draws: { type: 'number', demandOption: true, minimum: 1, describe: 'Windows that training will draw of those that are chosen: steps times batch times --ngrams of `train`' },
    repeats: { type: 'number', fraction: true, default: 2, describe: 'How often a window is gone through in these draws: draws / repeats windows are chosen' },
    buckets: { type: 'number', minimum: 2, default: 10000, describe: 'Buckets of hashed unigrams and bigrams' },
    seed: { type: 'number', default: 1, describe: 'Seed of the choice' },
    into: { type: 'string', demandOption: true, describe: 'The folder to make, for `train --selection`' },
    replace: { type: 'boolean', default: false, describe: 'Replace the folder if it is there' },
    ...jsonOption,
  },
  examples: [['select --corpus generic --specialization law --draws 12000 --into law-selection', '6,000 windows for `nichelm train --selection`']],
  run: async ({ corpus: from, specialization: like, draws, repeats, buckets, seed, into, replace, json }) => {
    if (!replace && existsSync(into) && readdirSync(into).length) throw new NichelmError('INPUT', 'is there already', { place: { file: into }, fix: 'Choose another folder, or give --replace.' })
    using corpus = openCorpus(from)
    using specialization = openCorpus(like)
    const selection = selectByNgrams(corpus, specialization, { draws, repeats, buckets, seed, signal: interruption.signal })
    await writeSelection(into, corpus, selection, replace)
    const { windows, of, divergence, warnings } = selection
    print(json, { windows: windows.length, of, divergence, warnings }, () => [
      `${windows.length.toLocaleString('en')} of ${of.toLocaleString('en')} windows`,
      `divergence of the domain's n-grams: ${divergence.generic.toFixed(3)} nats from the generic set, ${divergence.selected.toFixed(3)} from what was chosen`,
      ...warnings.map(warning => `warning: ${warning}`),
      `written to ${into}`,
    ].join('\n'))
  },
})
