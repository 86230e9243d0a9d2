import { copyFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Device } from '../../bindings/index.js'
import { fileError, NichelmError } from '../base/errors.js'
import { drawBatch, evaluationBatches, groupedEvaluationBatches, uniformSampler, type Corpus } from '../corpus/index.js'
import type { HostRows, ModelConfig, Precision, ProjectedConfig } from '../model/index.js'
import { groupedSampler, importanceSampler, mixedSampler, sharedRows, windowsByCluster } from '../sampling/index.js'
import type { EvaluationRows } from './likelihood.js'
import type { TrainSettings } from './settings.js'
import { train, type TrainOptions, type TrainProgress, type TrainResult } from './trainer.js'

/**
 * Which windows of the generic set a model sees, by the method: all alike (slm, llm); as often as a domain's histogram says (slm-is), or windows
 * chosen for it one by one, or some rows of either; those of one cluster (slm-mix); all, in groups of one cluster each, whose expert they train (slm-pn). `assignments`: the cluster of every window.
 */
export type Drawing =
  | { kind: 'uniform' }
  | { kind: 'importance'; assignments: ArrayLike<number>; target: ArrayLike<number>; /** Windows that a share of the rows, between 0 and 1, is drawn from instead. */ selected?: { windows: ArrayLike<number>; share: number } }
  | { kind: 'selected'; windows: ArrayLike<number> }
  | { kind: 'cluster'; assignments: ArrayLike<number>; cluster: number }
  | { kind: 'experts'; assignments: ArrayLike<number>; projected: ProjectedConfig; groups: number; /** Clusters of the validation windows. */ validation?: ArrayLike<number> }

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
  /** Default: uniform. */
  drawing?: Drawing | undefined
  /** Text to evaluate on as training goes on. */
  validation?: Corpus | undefined
  /** Steps after which the model is kept as well. */
  snapshots?: readonly number[]
  /** Identifies what the run depends on: a folder that holds another run is refused. */
  identity: unknown
  signal?: AbortSignal
  onProgress?: (progress: TrainProgress) => void
}

/**
 * Pretrains a model on the generic set, or a share of it as the method draws it. Rows are as long as the corpus's windows.
 * Goes on with a run that was interrupted; throws as `train`, and INPUT if there is no window to draw.
 */
export async function pretrain(options: PretrainOptions): Promise<TrainResult> {
  const { corpus, validation, drawing = { kind: 'uniform' }, seed, settings, identity, ...rest } = options
  const length = corpus.context, { endOfText } = corpus.manifest, rowsAtOnce = settings.batch / settings.accumulate
  return train({
    ...rest, ...source(drawing, options), settings, length, start: { seed },
    ...(validation ? { validation: () => validationRows(validation, drawing, rowsAtOnce, length) } : {}),
    identity: { pretrain: identity, corpus: corpus.hash, drawing: drawing.kind === 'cluster' ? drawing.cluster : drawing.kind },
    ...(endOfText === null ? {} : { endOfText }),
  })
}

/** The rows of a run, and what computes them. */
function source(drawing: Drawing, { corpus, seed, settings }: PretrainOptions): Pick<TrainOptions, 'rows' | 'network'> {
  const length = corpus.context
  const from = (draw: Parameters<typeof drawBatch>[1]): Pick<TrainOptions, 'rows'> => ({ rows: (first, rows) => drawBatch(corpus, draw, first, { rows, length }) })
  switch (drawing.kind) {
    case 'uniform': return from(uniformSampler(corpus.windows, seed))
    case 'importance': {
      const { assignments, target, selected } = drawing, rows = settings.steps * settings.batch
      if (!selected) return from(importanceSampler(assignments, target, rows, seed))
      return from(mixedSampler(importanceSampler(assignments, target, rows - sharedRows(rows, selected.share), seed), uniformSampler(selected.windows, seed), selected.share))
    }
    case 'selected': return from(uniformSampler(drawing.windows, seed))
    case 'cluster': {
      const { first, windows } = windowsByCluster(drawing.assignments, 1 + Array.from(drawing.assignments).reduce((most, cluster) => Math.max(most, cluster), drawing.cluster))
      const own = windows.subarray(first[drawing.cluster], first[drawing.cluster + 1])
      if (!own.length) throw new NichelmError('INPUT', `cluster ${drawing.cluster} has no window to train its expert on`, { place: { file: corpus.folder }, fix: 'Ask for fewer clusters, or give more generic text.' })
      return from(uniformSampler(own, seed))
    }
    case 'experts': {
      const { assignments, projected, groups } = drawing, { steps, batch, accumulate } = settings
      const { draw, groupsOf } = groupedSampler(assignments, projected.experts, { steps, batch, accumulate, groups }, seed)
      return {
        network: { kind: 'projected', projected, groups },
        rows: (first, rows): HostRows => ({ ...drawBatch(corpus, draw, first, { rows, length }), experts: groupsOf(first) }),
      }
    }
  }
}

/** Where there are experts, every window is scored by that of its own cluster. */
function validationRows(validation: Corpus, drawing: Drawing, rows: number, length: number): Iterable<EvaluationRows> {
  if (drawing.kind !== 'experts') return evaluationBatches(validation, { rows, length })
  if (!drawing.validation) throw new NichelmError('INTERNAL', 'the clusters of the validation windows are missing')
  return groupedEvaluationBatches(validation, drawing.validation, { rows, length, groups: drawing.groups })
}

/** Puts the tokenizer, a tokenizer.json or the one in a folder, into a model's folder, so that it is complete. */
export function addTokenizer(tokenizer: string, model: string): void {
  try { copyFileSync(statSync(tokenizer).isDirectory() ? join(tokenizer, 'tokenizer.json') : tokenizer, join(model, 'tokenizer.json')) } catch (error) { throw fileError(error, tokenizer, 'copy') }
}
