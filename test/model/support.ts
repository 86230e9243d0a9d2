import assert from 'node:assert/strict'
import type { HostRows } from '../../src/model/index.js'

/** Relative error in the Euclidean norm; NaN if anything is NaN. */
export function relativeError(got: Float32Array, want: Float32Array): number {
  assert.equal(got.length, want.length)
  let difference = 0, norm = 0
  for (let i = 0; i < got.length; i++) { difference += (got[i]! - want[i]!) ** 2; norm += want[i]! ** 2 }
  return Math.sqrt(difference / norm)
}

/** Rows of token ids, each one document. */
export function batchOf(ids: BigInt64Array, rows: number, length: number): HostRows {
  const tokens = Int32Array.from(ids, Number), targets = new Int32Array(tokens.length), weights = new Float32Array(tokens.length)
  for (let i = 0; i < tokens.length; i++) if ((i + 1) % length) { targets[i] = tokens[i + 1]!; weights[i] = 1 }
  return { rows, length, tokens, targets, weights, starts: new Int32Array(tokens.length) }
}
