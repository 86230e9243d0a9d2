import { NichelmError } from '../base/errors.js'
import { checkConfig, countModel, modelConfig, type ModelConfig } from '../model/index.js'

/** A GPT-2 model of about so many parameters: of those whose width is some 64 times the layers, the nearest. Throws USAGE if the vocabulary alone takes more. */
export function configOfSize(parameters: number, vocabulary: number, context: number): ModelConfig {
  let best: { config: ModelConfig; off: number } | undefined
  for (let layers = 2; layers <= 96; layers++) for (let width = 32; width <= 16384; width += width < 512 ? 32 : 64) {
    if (width < 16 * layers || width > 192 * layers) continue
    const heads = Math.max(1, Math.round(width / 64)), config = { ...modelConfig('nano', vocabulary), context, layers, width, mlp: 4 * width, heads: 1, keyValueHeads: 1 }
    const off = Math.abs(Math.log(sizeOf(config) / parameters)) + 0.03 * Math.abs(Math.log2(width / layers / 64))
    if (!best || off < best.off) best = { off, config: width % heads ? config : { ...config, heads, keyValueHeads: heads } }
  }
  const found = checkConfig(best!.config)
  if (Math.abs(countModel(found).parameters / parameters - 1) > 0.25) {
    throw new NichelmError('USAGE', `--parameters ${parameters}: no model with a vocabulary of ${vocabulary} comes near; the nearest has ${countModel(found).parameters}`, { fix: 'Give more parameters or a smaller --vocab.' })
  }
  return found
}

/** As `countModel` counts, without making every parameter's description. */
const sizeOf = ({ layers, width, vocabulary, context }: ModelConfig): number => layers * (12 * width + 13) * width + 2 * width + (vocabulary + context) * width
