import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { closest } from 'fastest-levenshtein'
import { NichelmError } from '../base/errors.js'
import { modelConfig, openHuggingFace, PRESETS, type ModelConfig, type Preset } from '../model/index.js'
import type { OptionTable } from './frame.js'

/** A model by name, or by a folder, and what may be changed of a named one. */
export const modelOptions = {
  model: { type: 'string', demandOption: true, describe: `A named model (${Object.keys(PRESETS).join(', ')}) or a Hugging Face folder` },
  vocab: { type: 'number', minimum: 2, describe: 'Vocabulary of a named model; default 32000' },
  layers: { type: 'number', minimum: 1, describe: 'Change a named model' },
  width: { type: 'number', minimum: 1, describe: 'Change a named model' },
  heads: { type: 'number', minimum: 1, describe: 'Change a named model' },
} as const satisfies OptionTable

export interface ModelArguments { model: string; vocab?: number | undefined; layers?: number | undefined; width?: number | undefined; heads?: number | undefined; context?: number | undefined }

/** The configuration that the options name. Throws USAGE for a name that is none, INPUT for a folder that cannot be read. */
export function configOf({ model, vocab, context, ...changes }: ModelArguments): ModelConfig {
  if (existsSync(join(model, 'config.json'))) {
    const { config } = openHuggingFace(model)
    if (vocab !== undefined && vocab !== config.vocabulary) throw new NichelmError('USAGE', `--vocab ${vocab}: ${model} has a vocabulary of ${config.vocabulary}`)
    return config
  }
  if (!(model in PRESETS)) {
    throw new NichelmError('USAGE', `--model ${model}: is neither a named model nor a folder with config.json`, { fix: `Did you mean ${closest(model, Object.keys(PRESETS))}? Named are ${Object.keys(PRESETS).join(', ')}.` })
  }
  return modelConfig(model as Preset, vocab ?? 32000, { layers: changes.layers, width: changes.width, heads: changes.heads, ...(context !== undefined && context > PRESETS[model as Preset].context ? { context } : {}) })
}
