import { NichelmError } from '../base/errors.js'
import { RECOMPUTE, type Recompute } from '../model/index.js'

/** How the learning rate goes over a run. wsd: warm-up, stable, decay over the last tenth (arXiv 2404.06395). */
export interface Schedule {
  /** Peak learning rate. */
  rate: number
  /** Steps over which the rate rises linearly from 0. */
  warmup: number
  schedule: 'cosine' | 'constant' | 'wsd'
  /** The rate at the last step, as a share of the peak; not for constant. */
  finalRate: number
}

export interface TrainSettings extends Schedule {
  steps: number
  /** Rows a step. */
  batch: number
  /** Parts that a step's rows are computed in, one after the other: less memory, the same result. Divides batch. */
  accumulate: number
  /** Activations that are made again instead of kept: less memory, more time, the same bits. Default: none. */
  recompute?: Recompute
  weightDecay: number
  betas: readonly [number, number]
  epsilon: number
  /** Greatest norm of the whole gradient; 0: no clipping. */
  clip: number
  /** Steps between evaluations on the validation rows; 0: at the end only. */
  evaluateEvery: number
  /** Steps between checkpoints; the last step is always saved. */
  checkpointEvery: number
  /** Checkpoints kept, besides the best. */
  keep: number
  /** Stop after so many evaluations without a gain, and keep the best; absent: train to the end and keep the last. */
  patience?: number
}

/** Learning rate of step 1, 2, ... (the rate of step 1 is that of one step of warm-up, not 0). */
export function learningRate({ rate, warmup, schedule, finalRate }: Schedule, step: number, steps: number): number {
  if (step <= warmup) return (rate * step) / warmup
  if (schedule === 'constant') return rate
  const begin = schedule === 'wsd' ? Math.max(warmup, Math.floor(0.9 * steps)) : warmup
  if (step <= begin) return rate
  const progress = Math.min(1, (step - begin) / Math.max(1, steps - begin))
  const share = schedule === 'wsd' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2
  return rate * (finalRate + (1 - finalRate) * share)
}

/** Throws CONFIG that names the setting if a run cannot be. */
export function checkSettings(settings: TrainSettings): void {
  const wrong = (field: string, what: string): never => { throw new NichelmError('CONFIG', what, { place: { field } }) }
  for (const field of ['steps', 'batch', 'accumulate', 'checkpointEvery', 'keep'] as const)
    if (!Number.isSafeInteger(settings[field]) || settings[field] < 1) wrong(field, `must be a positive whole number; got ${settings[field]}`)
  for (const field of ['warmup', 'evaluateEvery'] as const)
    if (!Number.isSafeInteger(settings[field]) || settings[field] < 0) wrong(field, `must be a whole number, 0 or more; got ${settings[field]}`)
  if (settings.batch % settings.accumulate) wrong('accumulate', `${settings.accumulate} parts do not divide a batch of ${settings.batch} rows`)
  if (settings.recompute && !RECOMPUTE.includes(settings.recompute)) wrong('recompute', `must be one of ${RECOMPUTE.join(', ')}; got ${settings.recompute}`)
  if (!(settings.rate > 0)) wrong('rate', `must be positive; got ${settings.rate}`)
  if (settings.patience !== undefined && !(settings.patience >= 1)) wrong('patience', `must be at least 1; got ${settings.patience}`)
}
