import { NichelmError } from '../base/errors.js'
import { streamKey, uniform } from '../base/random.js'
import type { DrawWindow } from '../corpus/batch.js'

/**
 * Draws generic windows so that their clusters have the frequencies `target`: a cluster from the target, then one of its windows, all alike.
 *
 * `assignments` holds every generic window's cluster; `target` is what `importanceWeights` gives: 0 for clusters without a generic window.
 * There is no state: a row can be drawn again at any time. Throws INTERNAL if the target has mass where there is no window.
 */
export function importanceSampler(assignments: ArrayLike<number>, target: ArrayLike<number>, seed: number): DrawWindow {
  const { first, windows } = windowsByCluster(assignments, target.length)
  const cumulative = new Float64Array(target.length)
  let mass = 0, last = -1
  for (let c = 0; c < target.length; c++) {
    if (target[c]! > 0) {
      if (first[c] === first[c + 1]) throw new NichelmError('INTERNAL', `cluster ${c} is to be drawn, but has no window`)
      last = c
    }
    cumulative[c] = mass += target[c]!
  }
  if (last < 0) throw new NichelmError('INPUT', 'there is no cluster to draw from')
  const clusterKey = streamKey(seed, 'importance cluster'), windowKey = streamKey(seed, 'importance window')
  return (row, nth) => {
    const c = Math.min(last, above(cumulative, uniform(clusterKey, row, nth) * mass))
    const count = first[c + 1]! - first[c]!
    return windows[first[c]! + Math.floor(uniform(windowKey, row, nth) * count)]!
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
