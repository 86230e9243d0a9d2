import type { MethodName } from '../../model/index.js'
import type { Average, Cost, Point } from './points.js'

export type Phase = 'before' | 'after' | 'generic'
export type CostKind = 'hours' | 'flops'

const least = (values: readonly number[]): number => Math.min(...values, Infinity)

/** Sizes of data, least first. */
export const sizesOf = (points: readonly Point[]): number[] => [...new Set(points.map(({ dataTokens }) => dataTokens))].sort((a, b) => a - b)

/** What is seen of one method at one size of data, settings as `variant` has them: budgets rise. */
export const seriesOf = (points: readonly Point[], variant: string | undefined, dataTokens: number): Point[] =>
  points.filter(point => point.variant === variant && point.dataTokens === dataTokens).sort((a, b) => (a.budgetTokens ?? 0) - (b.budgetTokens ?? 0))

/**
 * Which settings stand for each method in comparisons: those with the most complete points, which are those that were run at every budget and size; among equals those with the
 * default choice of expert, then those of the lowest perplexity on the least data.
 */
export function mainVariants(points: readonly Point[]): Map<MethodName, string> {
  const groups = new Map<string, Point[]>(), small = sizesOf(points)[0]
  for (const point of points) groups.set(point.variant, [...groups.get(point.variant) ?? [], point])
  const rank = (members: readonly Point[]): number[] => [
    -members.filter(({ after }) => after).length,
    -members.reduce((sum, { cells }) => sum + cells.length, 0),
    members[0]!.choice === null || members[0]!.choice === 'frequent' ? 0 : 1,
    least(members.filter(({ dataTokens, after }) => dataTokens === small && after).map(({ after }) => after!.nll)),
  ]
  const before = (a: readonly number[], b: readonly number[]): boolean => {
    const at = a.findIndex((value, i) => value !== b[i])
    return at >= 0 && a[at]! < b[at]!
  }
  const chosen = new Map<MethodName, { variant: string; rank: number[] }>()
  for (const [variant, members] of groups) {
    const own = rank(members), { method } = members[0]!, known = chosen.get(method)
    if (!known || before(own, known.rank)) chosen.set(method, { variant, rank: own })
  }
  return new Map([...chosen].map(([method, { variant }]) => [method, variant]))
}

/** A quality at a cost: as it was measured, or between two points. */
export interface Reading { perplexity: number; nll: number; bitsPerByte: number | null; measured: boolean }

/** How near a cost counts as the same: of one reading, and where two methods are compared, whose budgets are the same tokens at somewhat different costs. */
const NEAR = 0.03, ABOUT = 0.1

/** Quality at a cost, linear in the logarithms of cost and perplexity between the neighbours; undefined outside what was measured. */
export function readingAt(points: readonly Point[], phase: Phase, cost: (point: Point) => number, at: number, within = NEAR): Reading | undefined {
  const known = points.flatMap(point => point[phase] && cost(point) > 0 ? [{ x: cost(point), y: point[phase] }] : []).sort((a, b) => a.x - b.x)
  const reading = (nll: number, bitsPerByte: number | null, measured: boolean): Reading => ({ nll, perplexity: Math.exp(nll), bitsPerByte, measured })
  const near = known.filter(({ x }) => Math.abs(x / at - 1) <= within).sort((a, b) => Math.abs(a.x / at - 1) - Math.abs(b.x / at - 1))[0]
  if (near) return reading(near.y.nll, near.y.bitsPerByte, true)
  const above = known.findIndex(({ x }) => x > at)
  if (above <= 0) return undefined
  const [a, b] = [known[above - 1]!, known[above]!], share = Math.log(at / a.x) / Math.log(b.x / a.x)
  const between = (from: number, to: number): number => from + share * (to - from)
  return reading(between(a.y.nll, b.y.nll), a.y.bitsPerByte === null || b.y.bitsPerByte === null ? null : between(a.y.bitsPerByte, b.y.bitsPerByte), false)
}

/** Both series at the greatest cost that both reach, or nearly. */
export function atEqualCost(a: readonly Point[], b: readonly Point[], phase: Phase, cost: (point: Point) => number): { cost: number; a: Reading; b: Reading } | undefined {
  const costs = (points: readonly Point[]): number[] => points.filter(point => point[phase]).map(cost).filter(value => value > 0)
  const at = Math.min(Math.max(...costs(a)), Math.max(...costs(b)))
  if (!Number.isFinite(at) || at <= 0) return undefined
  const [one, other] = [readingAt(a, phase, cost, at, ABOUT), readingAt(b, phase, cost, at, ABOUT)]
  return one && other && { cost: at, a: one, b: other }
}

/** The points of both series at the greatest budget, in tokens, that both have. */
export function atEqualTokens(a: readonly Point[], b: readonly Point[], phase: Phase): { a: Point; b: Point } | undefined {
  for (const point of [...a].reverse()) {
    const other = b.find(({ budgetTokens, [phase]: quality }) => quality && budgetTokens === point.budgetTokens)
    if (point[phase] && other) return { a: point, b: other }
  }
  return undefined
}

export const lastOf = (points: readonly Point[], phase: Phase): Point | undefined => points.filter(point => point[phase]).at(-1)

/** How far the perplexity of `a` lies below that of `b`: 0.1 is 10% lower. */
export const gain = (a: Pick<Average, 'nll'>, b: Pick<Average, 'nll'>): number => 1 - Math.exp(a.nll - b.nll)

export const amount = (cost: Cost, kind: CostKind): number => cost[kind]
