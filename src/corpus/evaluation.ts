import { NichelmError } from '../base/errors.js'
import { emptyBatch, endRow, place, type Batch } from './batch.js'
import type { Corpus } from './corpus.js'

/** A batch whose windows are whole. */
export interface EvaluationBatch extends Batch {
  windows: number
  /** UTF-8 bytes of text that the windows' tokens stand for. */
  textBytes: number
}

export interface EvaluationOptions {
  rows: number
  /** Tokens in a row; at least the longest window. */
  length: number
  /** The windows to take, in this order; default all. */
  windows?: ArrayLike<number> | undefined
}

/**
 * Every window once, in order, none cut: each goes into the first row of the batch that has room; when none has, a new batch begins.
 * All batches have the same shape; rows that are not needed are padding.
 *
 * Throws INPUT if a window is longer than a row.
 */
export function* evaluationBatches(corpus: Corpus, options: EvaluationOptions): Generator<EvaluationBatch> {
  const { rows, length } = options
  const windows = options.windows ?? { length: corpus.windows }
  let batch = begin(rows, length)
  for (let i = 0; i < windows.length; i++) {
    const index = options.windows ? options.windows[i]! : i
    const record = corpus.window(index)
    if (record.length > length)
      throw new NichelmError('INPUT', `window ${index} has ${record.length} tokens, but a row has ${length}`, { place: { file: corpus.folder }, fix: `Build the corpus with a context of at most ${length}.` })
    let row = fitting(batch, record.length)
    if (row < 0) {
      yield end(batch)
      batch = begin(rows, length)
      row = 0
    }
    const at = batch.filled[row]!
    corpus.readWindow(index, batch.tokens, row * length + at, record.length)
    batch.filled[row] = place(batch, row, at, record.length)
    batch.windows++
    batch.textBytes += record.textBytes
  }
  if (batch.windows) yield end(batch)
}

type Filling = EvaluationBatch & { filled: number[] }

const begin = (rows: number, length: number): Filling => ({ ...emptyBatch(rows, length), windows: 0, textBytes: 0, filled: new Array<number>(rows).fill(0) })
const fitting = (batch: Filling, count: number): number => batch.filled.findIndex((at) => batch.length - at >= count)

function end({ filled, ...batch }: Filling): EvaluationBatch {
  filled.forEach((at, row) => endRow(batch, row, at))
  return batch
}

/** A batch in groups of rows, each of windows of one cluster. */
export interface GroupedBatch extends EvaluationBatch {
  /** The cluster of each group. */
  experts: Int32Array<ArrayBuffer>
}

/**
 * As `evaluationBatches`, but every row has windows of one cluster only, and a batch consists of `groups` groups of rows of one cluster each. Goes through the
 * clusters one after the other; groups that are not needed are padding. `labels`: the cluster of every window of the corpus.
 */
export function* groupedEvaluationBatches(corpus: Corpus, labels: ArrayLike<number>, options: EvaluationOptions & { groups: number }): Generator<GroupedBatch> {
  const { rows, length, groups } = options, part = rows / groups
  if (!Number.isInteger(part)) throw new NichelmError('CONFIG', `${groups} groups do not divide ${rows} rows`, { place: { field: 'groups' } })
  const byCluster = new Map<number, number[]>()
  for (const index of options.windows ? Array.from(options.windows) : Array.from({ length: corpus.windows }, (_, i) => i)) {
    const cluster = labels[index]
    if (cluster === undefined) throw new NichelmError('INPUT', `window ${index} has no cluster: there are ${labels.length}`, { place: { file: corpus.folder } })
    const windows = byCluster.get(cluster)
    if (windows) windows.push(index)
    else byCluster.set(cluster, [index])
  }
  let pending: { cluster: number; batch: EvaluationBatch }[] = []
  for (const [cluster, windows] of [...byCluster].sort(([a], [b]) => a - b))
    for (const batch of evaluationBatches(corpus, { rows: part, length, windows })) {
      pending.push({ cluster, batch })
      if (pending.length < groups) continue
      yield joined(pending, groups, part, length)
      pending = []
    }
  if (pending.length) yield joined(pending, groups, part, length)
}

function joined(parts: readonly { cluster: number; batch: EvaluationBatch }[], groups: number, rows: number, length: number): GroupedBatch {
  const into: GroupedBatch = { ...emptyBatch(groups * rows, length), windows: 0, textBytes: 0, experts: new Int32Array(groups) }
  for (const [group, { cluster, batch }] of parts.entries()) {
    for (const field of ['tokens', 'targets', 'weights', 'starts'] as const) into[field].set(batch[field], group * rows * length)
    for (const field of ['validTargets', 'tokenCount', 'windows', 'textBytes'] as const) into[field] += batch[field]
    into.experts[group] = cluster
  }
  // An unused group needs some expert; its rows are padding.
  into.experts.fill(parts.at(-1)!.cluster, parts.length)
  return into
}
