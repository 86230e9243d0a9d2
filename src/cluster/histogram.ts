/** How many windows fall into each cluster, and what that says. */
export interface Histogram {
  /** Windows by cluster. */
  counts: number[]
  windows: number
  /** Entropy of the cluster frequencies in nats, -sum p log p; log(clusters) if all are alike, 0 if all windows are in one. */
  entropy: number
  /** The cluster with the most windows (of several, the first). */
  topCluster: number
  /** The share of the windows that is in it. */
  topFraction: number
  /** Clusters without a window. */
  emptyClusters: number
}

/** Counts cluster numbers; `clusters` is how many clusters there are. Throws RangeError for a number that is none of them. */
export function clusterHistogram(assignments: ArrayLike<number>, clusters: number): Histogram {
  const counts = new Array<number>(clusters).fill(0)
  for (let i = 0; i < assignments.length; i++) {
    const cluster = assignments[i]!
    if (!(cluster >= 0 && cluster < clusters)) throw new RangeError(`window ${i} is in cluster ${cluster}, but there are ${clusters} clusters`)
    counts[cluster]!++
  }
  return histogramOf(counts)
}

/** The histogram with these counts. */
export function histogramOf(counts: ArrayLike<number>): Histogram {
  const all = Array.from(counts)
  const windows = all.reduce((sum, n) => sum + n, 0)
  const topCluster = all.reduce((top, n, cluster) => (n > all[top]! ? cluster : top), 0)
  return {
    counts: all, windows, entropy: entropy(all), topCluster,
    topFraction: windows ? all[topCluster]! / windows : 0,
    emptyClusters: all.filter((n) => n === 0).length,
  }
}

/** Entropy in nats of the distribution in proportion to `masses`, which need not sum to 1. */
export function entropy(masses: ArrayLike<number>): number {
  const all = Array.from(masses).filter((mass) => mass > 0)
  const total = all.reduce((sum, mass) => sum + mass, 0)
  return all.reduce((sum, mass) => sum - (mass / total) * Math.log(mass / total), 0)
}
