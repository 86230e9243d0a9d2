import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { countModel, instantiate as write, isProjected, openHuggingFace } from '../model/index.js'
import { Tokenizer } from '../text/index.js'
import { addTokenizer } from '../train/index.js'
import { define, deviceOptions, jsonOption, openDevice, print } from './frame.js'

export const instantiate = define({
  command: 'instantiate',
  describe: 'Write the ordinary small model of an expert of a projected network',
  options: {
    from: { type: 'string', demandOption: true, describe: 'A pretraining\'s folder, or the projected network in its model/' },
    expert: { type: 'number', demandOption: true, describe: 'Number of the expert: that of its cluster, from 0' },
    out: { type: 'string', demandOption: true, describe: 'Hugging Face folder to write' },
    tokenizer: { type: 'string', describe: 'A tokenizer.json to put beside the model; default: that of the run, where it is known' },
    device: deviceOptions.device, threads: deviceOptions.threads, ...jsonOption,
  },
  examples: [['instantiate --from runs/law/pretrain-slm-pn --expert 7 --out expert-7', 'Expert 7 as a Hugging Face folder']],
  run: async ({ from, expert, out, tokenizer, device: name, threads, json }) => {
    const folder = isProjected(from) ? from : join(from, 'model')
    if (!isProjected(folder)) throw new NichelmError('INPUT', 'holds no projected network', { place: { file: from }, fix: 'Give the folder of a pretraining of slm-pn.' })
    if (existsSync(join(out, 'config.json'))) throw new NichelmError('USAGE', `--out ${out}: holds a model already`, { fix: 'Give another folder, or remove this one.' })
    const beside = tokenizer ?? [join(folder, 'tokenizer.json'), join(folder, '..', '..', '..', 'tokenizer', 'tokenizer.json')].find(file => existsSync(file))
    // Before anything is written: what cannot be whole is not begun.
    if (beside !== undefined) Tokenizer.load(beside).dispose()
    using device = openDevice({ device: name, threads })
    await write(folder, expert, out, device)
    if (beside !== undefined) addTokenizer(beside, out)
    const { parameters } = countModel(openHuggingFace(out).config)
    print(json, { model: out, expert, parameters, tokenizer: beside ?? null }, () => `expert ${expert}, ${parameters.toLocaleString('en')} parameters: ${out}${beside === undefined ? ' (without a tokenizer)' : ''}`)
  },
})
