import { METHOD_NAMES, type MethodName } from '../../model/index.js'
import { domainsOf, pointsOf, type Point } from './points.js'
import type { ExperimentResults } from './results.js'
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
  /** The settings that stand for a method, and in words what is particular to them. */
  series(method: MethodName, dataTokens: number): Point[]
  words(method: MethodName): string
}

export function viewOf(results: ExperimentResults): View {
  const points = pointsOf(results), main = mainVariants(points)
  return {
    results, points, sizes: sizesOf(points), methods: METHOD_NAMES.filter(method => main.has(method)),
    domains: [...new Set([...domainsOf(results.cells).values()].flat())],
    series: (method, dataTokens) => seriesOf(points, main.get(method), dataTokens),
    words: method => { const point = points.find(({ variant }) => variant === main.get(method)); return point ? variantWords(point) : '' },
  }
}
