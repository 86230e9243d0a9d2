/** The corpus as a batch sees it. */
export interface WindowReader {
  readWindow(index: number, into: Int32Array, at: number, most: number): number
}

/** Which window stands at place nth = 0, 1, 2, ... of a row: a pure function, so that any batch can be made again. */
export type DrawWindow = (row: number, nth: number) => number

/**
 * Rows of packed windows, row-major [rows, length].
 *
 * A token's target is the next token of its window; a window's last token has none. Padding is token 0 with weight 0, a document of its own.
 */
export interface Batch {
  rows: number
  length: number
  tokens: Int32Array
  /** The token to predict; 0 where the weight is. */
  targets: Int32Array
  /** 1 where there is a target, else 0; whoever trains divides by the targets of the whole step. */
  weights: Float32Array
  /** Index in the row of the first token of the token's document. */
  starts: Int32Array
  /** Sum of the weights. */
  validTargets: number
  /** Tokens that are no padding. */
  tokenCount: number
}

export interface RowOptions {
  rows: number
  /** Tokens in a row. */
  length: number
  /** Where fewer places are left in a row, no further window begins; default 32, or a quarter of a row if that is less. */
  minimumLength?: number | undefined
}

/**
 * Rows first .. first + rows - 1: each is filled with the windows that are drawn for it, the last of them cut at the row's end.
 *
 * A pure function of `draw` and the row numbers: step s of a training run takes rows from s * rows on, in as many micro-batches as it likes.
 */
export function drawBatch(reader: WindowReader, draw: DrawWindow, first: number, options: RowOptions): Batch {
  const { rows, length, minimumLength = defaultMinimum(length) } = options
  const batch = emptyBatch(rows, length)
  for (let row = 0; row < rows; row++) {
    let at = 0
    for (let nth = 0; length - at >= (nth ? minimumLength : 1); nth++)
      at = place(batch, row, at, reader.readWindow(draw(first + row, nth), batch.tokens, row * length + at, length - at))
    endRow(batch, row, at)
  }
  return batch
}

const defaultMinimum = (length: number): number => Math.max(2, Math.min(32, Math.floor(length / 4)))

/** A batch of padding alone. */
export function emptyBatch(rows: number, length: number): Batch {
  const size = rows * length
  return {
    rows, length, tokens: new Int32Array(size), targets: new Int32Array(size), weights: new Float32Array(size), starts: new Int32Array(size),
    validTargets: 0, tokenCount: 0,
  }
}

/** Makes a window of the `count` tokens that stand in a row from `at` on. Gives the place behind it. */
export function place(batch: Batch, row: number, at: number, count: number): number {
  const first = row * batch.length + at
  batch.starts.fill(at, first, first + count)
  batch.targets.set(batch.tokens.subarray(first + 1, first + count), first)
  batch.weights.fill(1, first, first + count - 1)
  batch.validTargets += count - 1
  batch.tokenCount += count
  return at + count
}

/** Makes padding of what is left of a row. */
export function endRow(batch: Batch, row: number, at: number): void {
  batch.starts.fill(at, row * batch.length + at, (row + 1) * batch.length)
}
