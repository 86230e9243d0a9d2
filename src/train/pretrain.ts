import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Device } from '../../bindings/index.js'
import { fileError } from '../base/errors.js'
import { drawBatch, evaluationBatches, uniformSampler, type Corpus } from '../corpus/index.js'
import type { ModelConfig, Precision } from '../model/index.js'
import { importanceSampler } from '../sampling/index.js'
import type { TrainSettings } from './settings.js'
import { train, type TrainProgress, type TrainResult } from './trainer.js'

export interface PretrainOptions {
  /** The run's folder; see `train`. */
  folder: string
  device: Device
  config: ModelConfig
  precision: Precision
  settings: TrainSettings
  seed: number
  /** The generic set. */
  corpus: Corpus
  /** slm-is: the cluster of every window, and the distribution over clusters to draw from. */
  sampling?: { assignments: ArrayLike<number>; target: ArrayLike<number> } | undefined
  /** Text to evaluate on as training goes on. */
  validation?: Corpus | undefined
  /** Identifies what the run depends on: a folder that holds another run is refused. */
  identity: unknown
  signal?: AbortSignal
  onProgress?: (progress: TrainProgress) => void
}

/**
 * Pretrains a model on the generic set: slm draws all windows alike, slm-is draws them so that their clusters are those of a domain.
 * Rows are as long as the corpus's windows. Goes on with a run that was interrupted; throws as `train`.
 */
export async function pretrain(options: PretrainOptions): Promise<TrainResult> {
  const { corpus, validation, sampling, seed, settings, identity, ...rest } = options
  const draw = sampling ? importanceSampler(sampling.assignments, sampling.target, seed) : uniformSampler(corpus.windows, seed)
  const length = corpus.context, { endOfText } = corpus.manifest
  return train({
    ...rest, settings, length, start: { seed },
    rows: (first, rows) => drawBatch(corpus, draw, first, { rows, length }),
    ...(validation ? { validation: () => evaluationBatches(validation, { rows: settings.batch / settings.accumulate, length }) } : {}),
    identity: { pretrain: identity, corpus: corpus.hash },
    ...(endOfText === null ? {} : { endOfText }),
  })
}

/** Puts the tokenizer into a model's folder, so that it is complete. */
export function addTokenizer(tokenizer: string, model: string): void {
  try { copyFileSync(tokenizer, join(model, 'tokenizer.json')) } catch (error) { throw fileError(error, tokenizer, 'copy') }
}
