import { METHOD_NAMES, type MethodName } from '../../model/index.js'
import { common, domainsOf, pointsOf, type Point } from './points.js'
import type { Cell, ClusteringFacts, ExperimentResults } from './results.js'
import { mainVariants, seriesOf, sizesOf } from './series.js'
import { variantWords } from './words.js'

/** What tables and figures are made from. */
export interface View {
  results: ExperimentResults
  points: readonly Point[]
  /** Sizes of the specialization set, least first. */
  sizes: readonly number[]
  /** Methods that there are results of. */
  methods: readonly MethodName[]
  domains: readonly string[]
  /** Where domains were taken whole, the least and the most tokens of one; their mean stands for all. */
  whole: { fewest: number; most: number } | undefined
  /** The settings that stand for a method, and in words what is particular to them. */
  series(method: MethodName, dataTokens: number): Point[]
  words(method: MethodName): string
  /** Domains that were tried at a size. */
  domainsAt(size: number): readonly string[]
}

export function viewOf(given: ExperimentResults): View {
  const results = { ...given, cells: sharedSizes(given.cells), clusterings: oneEach(given.clusterings) }, tried = domainsOf(results.cells)
  const points = pointsOf(results), main = mainVariants(points)
  return {
    results, points, whole: wholeSizes(given.cells, results.cells), sizes: sizesOf(points), methods: METHOD_NAMES.filter(method => main.has(method)),
    domains: [...new Set([...tried.values()].flat())],
    series: (method, dataTokens) => seriesOf(points, main.get(method), dataTokens),
    domainsAt: size => tried.get(size) ?? [],
    words: method => { const point = points.find(({ variant }) => variant === main.get(method)); return point ? variantWords(point) : '' },
  }
}

/** The series of methods at one size of data, on the domains on which most of their points can be compared, or most of one's. */
export function comparable(view: View, methods: readonly MethodName[], dataTokens: number, of?: MethodName): { domains: readonly string[]; series: (method: MethodName) => Point[] } {
  const { domains, points } = common(methods.flatMap(method => view.series(method, dataTokens)), of)
  return { domains, series: method => points.filter(point => point.method === method) }
}

/** One clustering for each number of clusters, and in it each domain once: of its sizes the largest. */
function oneEach(clusterings: readonly ClusteringFacts[]): ClusteringFacts[] {
  const size = (facts: ClusteringFacts['domains'][number]): number => typeof facts['dataTokens'] === 'number' ? facts['dataTokens'] : Infinity
  const first = clusterings.filter(({ clusters }, i) => clusterings.findIndex(other => other.clusters === clusters) === i)
  return first.map(clustering => ({ ...clustering, domains: clustering.domains.filter(facts => clustering.domains.every(other => other === facts || other.domain !== facts.domain || size(other) < size(facts))) }))
}

/**
 * Where each domain was taken whole and so has one size of its own, all count as one size, their mean: nothing could be averaged otherwise.
 */
function sharedSizes(cells: readonly Cell[]): Cell[] {
  const sizes = new Map<string, Set<number>>()
  for (const { domain, dataTokens } of cells) sizes.set(domain, (sizes.get(domain) ?? new Set()).add(dataTokens))
  const own = [...sizes.values()].map(set => [...set])
  if (own.length < 2 || own.some(list => list.length > 1) || new Set(own.flat()).size < own.length) return [...cells]
  const mean = Math.round(own.flat().reduce((a, b) => a + b, 0) / own.length)
  return cells.map(cell => ({ ...cell, dataTokens: mean }))
}

function wholeSizes(given: readonly Cell[], shared: readonly Cell[]): View['whole'] {
  const sizes = given.map(({ dataTokens }) => dataTokens)
  return given.every((cell, i) => cell.dataTokens === shared[i]!.dataTokens) ? undefined : { fewest: Math.min(...sizes), most: Math.max(...sizes) }
}
