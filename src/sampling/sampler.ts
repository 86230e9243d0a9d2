import { NichelmError } from '../base/errors.js'
import { permuted, philox, streamKey } from '../base/random.js'
import type { DrawWindow } from '../corpus/batch.js'

/**
 * Draws generic windows for a run of so many `rows`, so that their clusters have the frequencies `target`.
 *
 * The rows are laid along the clusters in proportion to the target, each cluster's share rounded to whole rows, and taken in a random order; a cluster's
 * windows are gone through in a random order, each once before any comes again. Independent draws would leave out a part e^-r of the windows that are to be
 * drawn r times on average, and repeat others instead: with little text that costs more than the resampling gains on some domains.
 *
 * `assignments` holds every generic window's cluster; `target` is what `importanceWeights` gives: 0 for clusters without a generic window.
 * There is no state: a row can be drawn again at any time; rows beyond the run begin it anew in another order.
 * Throws INTERNAL if the target has mass where there is no window, INPUT if there is nothing to draw from.
 */
export function importanceSampler(assignments: ArrayLike<number>, target: ArrayLike<number>, rows: number, seed: number): DrawWindow {
  if (!Number.isInteger(rows) || rows < 1) throw new NichelmError('INTERNAL', `a run has a whole number of rows; got ${rows}`)
  const { first, windows } = windowsByCluster(assignments, target.length)
  let mass = 0
  for (let c = 0; c < target.length; c++) {
    if (target[c]! > 0 && first[c] === first[c + 1]) throw new NichelmError('INTERNAL', `cluster ${c} is to be drawn, but has no window`)
    mass += target[c]!
  }
  if (!(mass > 0)) throw new NichelmError('INPUT', 'there is no cluster to draw from')
  // starts[c]: the first place along the line of rows that is cluster c's.
  const starts = new Float64Array(target.length + 1)
  for (let c = 0, sum = 0; c < target.length; c++) starts[c + 1] = Math.round(rows * Math.min(1, (sum += target[c]!) / mass))
  const orders = new Keys(nth => streamKey(seed, `importance rows ${nth}`)), passes = new Keys(nth => streamKey(seed, `importance windows ${nth}`))
  return (row, nth) => {
    const place = permuted(orders.of(nth, Math.floor(row / rows)), rows, row % rows), c = above(starts, place) - 1
    const count = first[c + 1]! - first[c]!, at = place - starts[c]!
    return windows[first[c]! + permuted(passes.of(nth, c, Math.floor(row / rows), Math.floor(at / count)), count, at % count)]!
  }
}

/**
 * Draws a share of the rows, evenly spread, by one sampler and the others by another; each sees its own rows counted from 0.
 * Throws INTERNAL for a share that is not between 0 and 1.
 */
export function mixedSampler(draw: DrawWindow, other: DrawWindow, share: number): DrawWindow {
  if (!(share > 0 && share < 1)) throw new NichelmError('INTERNAL', `a share lies between 0 and 1; got ${share}`)
  return (row, nth) => {
    const before = sharedRows(row, share)
    return sharedRows(row + 1, share) > before ? other(before, nth) : draw(row - before, nth)
  }
}

/** How many of the first so many rows a share of them is. */
export const sharedRows = (rows: number, share: number): number => Math.floor(rows * share + 1e-9)

/** Keys of a stream's parts, each made from the stream's own by Philox. */
class Keys {
  readonly #streams = new Map<number, number>() // a memo, nothing that changes a draw
  constructor(readonly make: (nth: number) => number) {}

  of(nth: number, ...parts: number[]): number {
    let key = this.#streams.get(nth)
    if (key === undefined) this.#streams.set(nth, key = this.make(nth))
    for (const part of parts) key = philox(key, part, 0)[0]
    return key
  }
}

/** Windows sorted by cluster: those of cluster c are windows[first[c]] .. windows[first[c + 1] - 1], ascending. */
export function windowsByCluster(assignments: ArrayLike<number>, clusters: number): { first: Uint32Array; windows: Uint32Array } {
  const first = new Uint32Array(clusters + 1)
  for (let i = 0; i < assignments.length; i++) {
    if (!(assignments[i]! < clusters)) throw new NichelmError('CORRUPT', `window ${i} is in cluster ${assignments[i]}, but there are ${clusters} clusters`)
    first[assignments[i]! + 1]!++
  }
  for (let c = 0; c < clusters; c++) first[c + 1]! += first[c]!
  const next = first.slice(), windows = new Uint32Array(assignments.length)
  for (let i = 0; i < assignments.length; i++) windows[next[assignments[i]!]!++] = i
  return { first, windows }
}

/** Index of the first value of an ascending list that is above x. */
function above(ascending: Float64Array, x: number): number {
  let low = 0, high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ascending[middle]! > x) high = middle
    else low = middle + 1
  }
  return low
}
