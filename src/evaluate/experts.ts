import type { Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { evaluationBatches, groupedEvaluationBatches, type Corpus } from '../corpus/index.js'
import { ModelSession, type Precision, type StoredProjected } from '../model/index.js'
import { likelihood, type EvaluationRows, type Likelihood } from '../train/index.js'

export interface ProjectedEvaluation {
  device: Device
  precision: Precision
  model: StoredProjected
  corpus: Corpus
  /** Which expert scores which window: one for all, or by window its cluster. */
  experts: number | ArrayLike<number>
  /** Windows to score; default all. */
  windows?: ArrayLike<number> | undefined
  /** Groups of rows that are computed at once, each by an expert of its own; default 8, with one expert 1. */
  groups?: number
  signal?: AbortSignal
}

/** Perplexity of a projected network: every window is scored once, by its expert. */
export async function evaluateProjected(options: ProjectedEvaluation): Promise<Likelihood> {
  const { device, precision, model, corpus, experts, windows, signal } = options
  const groups = typeof experts === 'number' ? 1 : (options.groups ?? 8), length = corpus.context
  const rows = groups * Math.max(1, Math.floor(8192 / length / groups))
  if (length > model.config.context) throw new NichelmError('INPUT', `rows of ${length} tokens are longer than the model's context of ${model.config.context}`, { fix: `Use rows of at most ${model.config.context} tokens.` })
  using session = new ModelSession(device, { config: model.config, precision, rows, length, network: { kind: 'projected', projected: model.projected, groups } })
  for (const { name, values } of model.parameters()) session.write('values', name, values)
  await session.refresh()
  return await likelihood(session, typeof experts === 'number' ? byOne(evaluationBatches(corpus, { rows, length, windows }), experts) : groupedEvaluationBatches(corpus, experts, { rows, length, groups, windows }), signal)
}

function* byOne(batches: Iterable<EvaluationRows>, expert: number): Generator<EvaluationRows> {
  for (const batch of batches) yield { ...batch, experts: Int32Array.of(expert) }
}
