import { NichelmError } from '../base/errors.js'
import { entropy } from '../cluster/histogram.js'

export interface ImportanceOptions {
  /**
   * How many windows drawn from the generic histogram are added, in thought, to the specialization set; default 0.
   * It pulls badly estimated frequencies of small sets towards the generic ones (a Dirichlet prior).
   */
  smoothing?: number | undefined
  /** How many windows training will draw; for `mostRepeated`. */
  draws?: number | undefined
}

/** The weights of importance sampling by clusters, and how far they can be trusted. */
export interface ImportanceReport {
  /** w(c) = P(c | specialization) / P(c | generic), by cluster; 0 where the generic set has no window. */
  weights: number[]
  /** The distribution over clusters to draw from: the specialization set's, with the mass of empty generic clusters moved to the others. */
  target: number[]
  /** Entropies of the two sets' cluster frequencies as counted, in nats. */
  genericEntropy: number
  specializationEntropy: number
  /** The specialization set's most frequent cluster, and its share. */
  topCluster: number
  topFraction: number
  /** (sum w)² / sum w² over all generic windows (Kish 1965): how many equally weighted windows would vary as little. */
  effectiveSampleSize: number
  /** Kullback-Leibler divergence of the target from the generic frequencies, sum target log(target / generic), in nats. */
  divergence: number
  /** Expected draws of a window of the most repeated cluster, in `draws` draws (0 if not given). */
  mostRepeated: number
  /** The cluster whose windows are repeated most. */
  mostRepeatedCluster: number
  /** Specialization mass that lay in clusters where the generic set has no window, and was moved to the others in proportion. */
  movedMass: number
  /** For people: what in this report should give pause. */
  warnings: string[]
}

/**
 * Importance weights by cluster frequencies (Grangier et al., arXiv 2402.01093, section 2.3), from the counts of windows by cluster in the
 * generic and in the specialization set.
 *
 * Throws INPUT if a set is empty, the numbers of clusters differ, or no cluster has windows of both.
 */
export function importanceWeights(generic: ArrayLike<number>, specialization: ArrayLike<number>, options: ImportanceOptions = {}): ImportanceReport {
  const { smoothing = 0, draws = 0 } = options
  if (generic.length !== specialization.length)
    throw new NichelmError('INPUT', `the generic set has ${generic.length} clusters, the specialization set ${specialization.length}`, { fix: 'Assign both with the same clustering.' })
  if (!(smoothing >= 0)) throw new NichelmError('CONFIG', `smoothing must be 0 or more windows; got ${smoothing}`)
  const g = frequencies(generic, 'generic')
  const counted = frequencies(specialization, 'specialization')
  const windows = sum(specialization), total = sum(generic)
  const p = counted.map((share, c) => (share * windows + smoothing * g[c]!) / (windows + smoothing))

  const kept = p.reduce((mass, share, c) => (g[c]! > 0 ? mass + share : mass), 0)
  if (kept === 0) throw new NichelmError('INPUT', 'no cluster has windows of both the generic and the specialization set', { fix: 'Use fewer clusters, or more generic text.' })
  const lost = p.filter((share, c) => share > 0 && g[c] === 0)
  const movedMass = sum(lost)
  const target = lost.length === 0 ? p : p.map((share, c) => (g[c]! > 0 ? share / kept : 0))
  const weights = target.map((share, c) => (g[c]! > 0 ? share / g[c]! : 0))

  const topCluster = most(counted), mostRepeatedCluster = most(weights)
  const mostRepeated = draws * weights[mostRepeatedCluster]! / total
  const warnings: string[] = []
  if (movedMass > 0)
    warnings.push(`${percent(movedMass)} of the specialization set lies in ${lost.length} cluster${lost.length > 1 ? 's' : ''} without a generic window; its mass was moved to the others in proportion`)
  if (mostRepeated > MANY_REPEATS)
    warnings.push(`windows of cluster ${mostRepeatedCluster} will be drawn about ${mostRepeated.toPrecision(2)} times each; fewer clusters or more generic text would repeat less`)
  return {
    weights, target, topCluster, mostRepeatedCluster, mostRepeated, movedMass, warnings,
    genericEntropy: entropy(g), specializationEntropy: entropy(counted), topFraction: counted[topCluster]!,
    effectiveSampleSize: total ** 2 / sum(weights.map((w, c) => generic[c]! * w * w)),
    divergence: sum(target.map((share, c) => (share > 0 ? share * Math.log(share / g[c]!) : 0))),
  }
}

/** Beyond this many repetitions, scarce text stops to help (arXiv 2605.12715 finds 15 to 20). */
const MANY_REPEATS = 15

function frequencies(counts: ArrayLike<number>, set: string): number[] {
  const total = sum(counts)
  if (!(total > 0)) throw new NichelmError('INPUT', `the ${set} set has no windows`)
  return Array.from(counts, (n) => n / total)
}

function sum(values: ArrayLike<number>): number {
  let total = 0
  for (let i = 0; i < values.length; i++) total += values[i]!
  return total
}

const most = (values: number[]): number => values.reduce((top, value, i) => (value > values[top]! ? i : top), 0)
const percent = (share: number): string => `${(100 * share).toPrecision(2)}%`

/** The part of a corpus's assignments that weights are made from. */
interface Clustered { histogram: { counts: ArrayLike<number> }; clustering: string }

/** `importanceWeights` of two corpora's assignments. Throws INPUT if they are not by the same clustering. */
export function compareAssignments(generic: Clustered, specialization: Clustered, options: ImportanceOptions = {}): ImportanceReport {
  if (generic.clustering !== specialization.clustering)
    throw new NichelmError('INPUT', 'the generic and the specialization set were assigned with two different clusterings', { fix: 'Assign both with the same clustering.' })
  return importanceWeights(generic.histogram.counts, specialization.histogram.counts, options)
}
