import type { z } from 'zod'
import { NichelmError } from '../base/errors.js'
import { RECOMPUTE } from '../model/index.js'
import { RecipeSchema } from '../recipe/schema.js'
import type { TrainSettings } from '../train/index.js'
import type { OptionTable } from './frame.js'

const shared = {
  steps: { type: 'number', minimum: 1, describe: 'Optimizer steps' },
  batch: { type: 'number', minimum: 1, describe: 'Rows a step' },
  accumulate: { type: 'number', minimum: 1, describe: 'Parts that a step is computed in: less memory' },
  recompute: { type: 'string', choices: RECOMPUTE, describe: 'Activations made again instead of kept: less memory, more time' },
  rate: { type: 'number', fraction: true, describe: 'Peak learning rate' },
  warmup: { type: 'number', describe: 'Steps over which the rate rises' },
  schedule: { type: 'string', choices: ['cosine', 'constant', 'wsd'] as const, describe: 'How the rate falls afterwards' },
  'final-rate': { type: 'number', fraction: true, describe: 'The last rate, as a share of the peak' },
  'weight-decay': { type: 'number', fraction: true, describe: 'AdamW weight decay' },
  clip: { type: 'number', fraction: true, describe: 'Greatest norm of the gradient' },
  'evaluate-every': { type: 'number', describe: 'Steps between evaluations' },
} as const satisfies OptionTable

export const pretrainOptions = {
  ...shared, steps: { ...shared.steps, demandOption: true },
  'checkpoint-every': { type: 'number', minimum: 1, describe: 'Steps between checkpoints' },
  keep: { type: 'number', minimum: 1, describe: 'Checkpoints kept' },
} as const satisfies OptionTable

export const finetuneOptions = {
  ...shared,
  patience: { type: 'number', minimum: 1, describe: 'Stop after so many evaluations without a gain' },
  'base-rate': { type: 'number', fraction: true, default: 1e-3, describe: 'Rate of pretraining, that the rate follows from where it is not given' },
  'validation-share': { type: 'number', fraction: true, describe: 'Share of the set kept for validation' },
} as const satisfies OptionTable

const SECTIONS = { pretrain: RecipeSchema.shape.pretrain, finetune: RecipeSchema.shape.finetune }
type Settings = {
  pretrain: TrainSettings
  /** Rate and steps follow from the size of the domain where they are not given. */
  finetune: Omit<TrainSettings, 'rate' | 'steps'> & { rate?: number; steps?: number; patience: number; validationShare: number; replay: number }
}

/** Settings from options, with the defaults and the ranges of recipes. Throws USAGE that names the option. */
export function settingsOf<Kind extends keyof Settings>(kind: Kind, args: Record<string, unknown>): Settings[Kind] {
  const names = Object.keys(kind === 'pretrain' ? pretrainOptions : finetuneOptions).filter(name => name !== 'base-rate')
  const camelCase = (name: string) => name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
  const given = Object.fromEntries(names.filter(name => args[name] !== undefined).map(name => [camelCase(name), args[name]]))
  const parsed = (SECTIONS[kind] as z.ZodType<Record<string, unknown>>).safeParse(given)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new NichelmError('USAGE', `--${names.find(name => camelCase(name) === String(issue?.path[0])) ?? String(issue?.path[0])}: ${issue?.message.replace(/^Too (?:small|big): expected \w+ to be /, 'must be ') ?? 'cannot be'}`, { fix: 'See --help.' })
  }
  const { bySize: _, ...settings } = parsed.data
  return (kind === 'finetune' ? { ...settings, checkpointEvery: settings['evaluateEvery'], keep: 1 } : settings) as unknown as Settings[Kind]
}
