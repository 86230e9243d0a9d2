import { NichelmError } from '../base/errors.js'
import { permuted, streamKey } from '../base/random.js'
import type { DrawWindow } from '../corpus/batch.js'
import { windowsByCluster } from './sampler.js'

/** How rows lie in the steps of a run. */
export interface GroupedRows {
  /** Steps of the run. */
  steps: number
  /** Rows a step, and the parts that they are computed in. */
  batch: number
  accumulate: number
  /** Parts of a step's rows, each of one cluster; they divide batch / accumulate. */
  groups: number
}

export interface GroupedSampler {
  draw: DrawWindow
  /** The clusters of the groups of the step that a row is in, [groups]. */
  groupsOf(row: number): Int32Array
}

/**
 * Draws rows for a projected network: a step's rows are in groups, each of windows of one cluster, and over the run every cluster has as many groups as
 * its share of the windows says.
 *
 * The run's groups are laid along the clusters in proportion to their windows; group g of every step takes its places in the g-th part of that line, in a
 * random order: so each step has clusters from all over the line, which is nearer to the whole set than independent draws. A cluster's windows are taken
 * in a random order, each once before any comes again. There is no state: a row can be drawn again at any time.
 */
export function groupedSampler(assignments: ArrayLike<number>, clusters: number, rows: GroupedRows, seed: number): GroupedSampler {
  const { steps, batch, accumulate, groups } = rows
  if (batch % (accumulate * groups)) throw new NichelmError('CONFIG', `a batch of ${batch} rows in ${accumulate} parts cannot be split into ${groups} groups`, { place: { field: 'groups' } })
  const { first, windows } = windowsByCluster(assignments, clusters)
  if (!windows.length) throw new NichelmError('INPUT', 'there are no windows to draw from')
  const total = steps * groups, part = batch / accumulate, perGroup = part / groups, rowsOfGroup = batch / groups
  // begins[c]: the first place on the line that is cluster c's.
  const begins = Array.from(first, (count) => Math.round((count / windows.length) * total))
  const keys = Array.from({ length: groups }, (_, group) => streamKey(seed, `experts group ${group}`))
  const placeOf = (step: number, group: number): number => group * steps + permuted(keys[group]!, steps, step % steps)
  const clusterAt = (place: number): number => {
    let low = 0, high = clusters - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (begins[middle + 1]! > place) high = middle
      else low = middle + 1
    }
    return low
  }
  const streams = new Map<string, number>() // keys are slow to make: a memo, nothing that changes a draw
  const stream = (name: string): number => {
    const known = streams.get(name) ?? streamKey(seed, name)
    streams.set(name, known)
    return known
  }
  return {
    draw: (row, nth) => {
      const step = Math.floor(row / batch), within = row % batch, micro = Math.floor(within / part), group = Math.floor((within % part) / perGroup)
      const place = placeOf(step, group), cluster = clusterAt(place), count = first[cluster + 1]! - first[cluster]!
      const index = (place - begins[cluster]!) * rowsOfGroup + micro * perGroup + (within % perGroup)
      const key = stream(`experts windows ${cluster} ${nth} ${Math.floor(index / count)}`)
      return windows[first[cluster]! + permuted(key, count, index % count)]!
    },
    groupsOf: (row) => {
      const step = Math.floor(row / batch)
      return Int32Array.from({ length: groups }, (_, group) => clusterAt(placeOf(step, group)))
    },
  }
}
