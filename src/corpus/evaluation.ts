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
