import type { Evidence } from './evidence.js'

export interface ClusterAdvice { clusters: number; why: string }

/** Of the main results of the paper; more were not tried there. */
const MOST = 1024
/** Generic windows that a cluster should hold: fewer are soon repeated. 64 clusters suit some ten thousand windows (docs/clusters.md). */
const WINDOWS_A_CLUSTER = 128

export interface ClusterRequest { domainTokens: number; genericTokens?: number; context: number; evidence: Evidence }

/**
 * How many clusters for slm-is: more match the domain closer, up to where its histogram is badly estimated (about a window of the domain for each cluster, as the paper's 1,024 for 1M tokens)
 * or generic windows would be repeated often. A power of two.
 */
export function clusterAdvice({ domainTokens, genericTokens, context, evidence }: ClusterRequest): ClusterAdvice {
  const limits = [
    { most: MOST, why: 'more were better up to 1,024 in the paper, the most that it tried' },
    { most: domainTokens / context, why: `the domain has some ${Math.round(domainTokens / context).toLocaleString('en')} windows, and with fewer than one for each cluster its histogram is badly estimated` },
    ...genericTokens === undefined ? [] : [{ most: genericTokens / context / WINDOWS_A_CLUSTER, why: `the generic set has some ${Math.round(genericTokens / context).toLocaleString('en')} windows; with fewer than ${WINDOWS_A_CLUSTER} in a cluster they would be repeated often` }],
  ]
  const least = limits.reduce((a, b) => b.most < a.most ? b : a), clusters = Math.max(2, 2 ** Math.round(Math.log2(Math.max(2, least.most))))
  const { tried } = evidence
  // What was measured decides, unless more than was tried is possible and the most that was tried was the best.
  if (tried && tried.best < Math.max(...tried.clusters)) return { clusters: Math.min(tried.best, clusters), why: `${tried.best} were best of ${tried.clusters.join(', ')} in the experiment` }
  return { clusters, why: least.why }
}
