import type { MethodName } from '../../model/index.js'
import { METHOD_NAMES } from '../../model/index.js'
import type { Cell, CellCosts, CellQuality, ExperimentResults } from './results.js'

/** Mean over domains: exp of the mean nll, each domain weighing the same, as the paper averages. */
export interface Average { nll: number; perplexity: number; bitsPerByte: number | null; domains: number }

export interface Cost { flops: number; hours: number; tokens: number }

/** One setting of one method at one budget and size of data: its cells differ in domain and seed only. */
export interface Point {
  method: MethodName
  dataTokens: number
  budgetTokens: number | null
  clusters: number | null
  experts: number | null
  choice: Cell['choice']
  /** Settings in which this point differs from another of the same method, data and budget. */
  settings: Record<string, unknown>
  /** Names everything but data and budget: the points of one series have it in common. */
  variant: string
  cells: readonly Cell[]
  /** Domains without a result, of all that were tried at this size. */
  missing: readonly string[]
  /** Missing where a domain is: an average over fewer domains is not comparable. */
  before: Average | undefined
  after: Average | undefined
  generic: Average | undefined
  cost: {
    /** Paid once for all domains. */
    generic: Cost
    /** Paid for each domain: mean over those there are. */
    specialization: Cost
    /** Of pretraining, generic or for the domain. */
    pretraining: Cost
    /** Of everything that the teacher cost; part of generic and specialization. */
    teacher: Cost
  }
  devices: readonly string[]
}

const noCost: Cost = { flops: 0, hours: 0, tokens: 0 }
export const addCost = (a: Cost, b: Cost, times = 1): Cost => ({ flops: a.flops + times * b.flops, hours: a.hours + times * b.hours, tokens: a.tokens + times * b.tokens })
const costOf = (costs: CellCosts | undefined): Cost => costs ? { flops: costs.flops, hours: costs.deviceHours, tokens: costs.tokens } : noCost
const meanCost = (all: readonly Cost[]): Cost => all.reduce((sum, cost) => addCost(sum, cost, 1 / all.length), noCost)

/** total(N) = generic + specialization x N. */
export const totalCost = ({ cost }: Point, domains: number): Cost => addCost(cost.generic, cost.specialization, domains)

/** Training of the small model alone, for one domain, as if the teacher were there for nothing. */
export const studentCost = (point: Point): Cost => addCost(totalCost(point, 1), point.cost.teacher, -1)

function partOf(costs: CellCosts, name: string): Cost { return costOf(costs.parts?.[name]) }

/** Domains that were tried at each size of data: a domain may have too little text for the larger ones. */
export function domainsOf(cells: readonly Cell[]): Map<number, string[]> {
  const found = new Map<number, string[]>()
  for (const { dataTokens, domain } of cells) {
    const domains = found.get(dataTokens) ?? []
    if (!domains.includes(domain)) found.set(dataTokens, [...domains, domain])
  }
  return new Map([...found].sort(([a], [b]) => a - b))
}

/** Groups cells to points, in the order of methods, budgets, clusters, experts, choices and sizes. */
export function pointsOf({ cells }: ExperimentResults): Point[] {
  const domains = domainsOf(cells), groups = new Map<string, Cell[]>()
  for (const cell of cells) {
    const key = JSON.stringify([cell.method, cell.dataTokens, cell.budgetTokens, cell.clusters, cell.experts, cell.choice])
    groups.set(key, [...groups.get(key) ?? [], cell])
  }
  const decisive = new Map<MethodName, string[]>(METHOD_NAMES.map(method => [method, [...new Set([...groups.values()].filter(([cell]) => cell!.method === method).flatMap(differing))].sort()]))
  const points = [...groups.values()].flatMap(group => {
    const keys = decisive.get(group[0]!.method)!, split = new Map<string, Cell[]>()
    for (const cell of group) {
      const key = JSON.stringify(keys.map(name => cell.settings[name] ?? null))
      split.set(key, [...split.get(key) ?? [], cell])
    }
    return [...split.values()].map(members => pointOf(members, keys, domains.get(group[0]!.dataTokens)!))
  })
  const order = (value: number | null): number => value ?? -1, text = (choice: Cell['choice']): number => choice === null ? -1 : CHOICES.indexOf(choice)
  return points.sort((a, b) => METHOD_NAMES.indexOf(a.method) - METHOD_NAMES.indexOf(b.method) || order(a.budgetTokens) - order(b.budgetTokens) || order(a.clusters) - order(b.clusters)
    || order(a.experts) - order(b.experts) || text(a.choice) - text(b.choice) || a.dataTokens - b.dataTokens)
}

export const CHOICES = ['frequent', 'mean', 'best-pretrained', 'best-finetuned'] as const

/** Names of settings that tell cells of one domain and seed apart. What differs between domains alone, such as the steps that were needed, does not. */
function differing(cells: readonly Cell[]): string[] {
  const same = new Map<string, Cell[]>()
  for (const cell of cells) {
    const key = JSON.stringify([cell.domain, cell.seed])
    same.set(key, [...same.get(key) ?? [], cell])
  }
  return [...same.values()].flatMap(twins => [...new Set(twins.flatMap(({ settings }) => Object.keys(settings)))].filter(name => new Set(twins.map(({ settings }) => JSON.stringify(settings[name] ?? null))).size > 1))
}

function pointOf(cells: readonly Cell[], keys: readonly string[], domains: readonly string[]): Point {
  const { method, dataTokens, budgetTokens, clusters, experts, choice, settings } = cells[0]!
  const own = Object.fromEntries(keys.filter(name => settings[name] !== undefined).map(name => [name, settings[name]]))
  const generic = meanCost(cells.map(({ cost }) => costOf(cost.generic))), specialization = meanCost(cells.map(({ cost }) => costOf(cost.specialization)))
  const part = (name: string, of: 'generic' | 'specialization'): Cost => meanCost(cells.map(({ cost }) => partOf(cost[of], name)))
  const teacher = addCost(part('teacher', 'generic'), part('teacher', 'specialization'))
  return {
    method, dataTokens, budgetTokens, clusters, experts, choice, settings: own, cells,
    variant: JSON.stringify([method, clusters, experts, choice, own]),
    missing: domains.filter(domain => !cells.some(cell => cell.domain === domain && cell.after)),
    before: averageOf(cells, 'before', domains), after: averageOf(cells, 'after', domains), generic: averageOf(cells, 'generic', domains, true),
    cost: { generic, specialization, pretraining: addCost(addCost(generic, part('teacher', 'generic'), -1), part('pretraining', 'specialization')), teacher },
    devices: [...new Set(cells.flatMap(({ cost }) => [cost.generic, cost.specialization].filter(({ deviceHours }) => deviceHours > 0).map(({ device }) => device)))],
  }
}

/** A point as it is on some domains only; averages are missing where one of these is. */
export const onDomains = (point: Point, domains: readonly string[]): Point | undefined => {
  const cells = point.cells.filter(({ domain }) => domains.includes(domain))
  return cells.length ? pointOf(cells, Object.keys(point.settings), domains) : undefined
}

/** Points that can be compared: on the same domains. */
export interface Common { domains: readonly string[]; points: Point[] }

/**
 * The domains on which most can be compared: of the sets that points have, the one of the most points, and most of them joined to curves, times the root of the number of domains. Not all cells of an experiment need to be
 * run on all domains, such as ablations; averages over different domains must not stand beside each other. `of`: only sets that this method has, where the comparison is about it.
 */
export function common(points: readonly Point[], of?: MethodName): Common {
  const done = (point: Point): string[] => [...new Set(point.cells.filter(({ after }) => after && Number.isFinite(after.nll)).map(({ domain }) => domain))].sort()
  const sets = new Map(points.filter(({ method }) => of === undefined || method === of).map(done).filter(set => set.length).map(set => [set.join('\n'), set]))
  let best: Common & { score: number } = { domains: [], points: [], score: 0 }
  for (const domains of sets.values()) {
    const there = points.flatMap(point => onDomains(point, domains) ?? []).filter(({ after }) => after), joined = there.length - new Set(there.map(({ variant, dataTokens }) => `${variant} ${dataTokens}`)).size
    const score = (there.length + joined) * Math.sqrt(domains.length)
    if (score > best.score || score === best.score && domains.length > best.domains.length) best = { domains, points: there, score }
  }
  return { domains: best.domains, points: best.points }
}

/** Averages seeds first, then domains. `shared`: the generic set is the same for all domains, so those there are do. */
export function averageOf(cells: readonly Cell[], field: 'before' | 'after' | 'generic', domains: readonly string[], shared = false): Average | undefined {
  const perDomain = domains.flatMap(domain => {
    const found = cells.filter(cell => cell.domain === domain).map(cell => cell[field]).filter((quality): quality is CellQuality => quality !== null && Number.isFinite(quality.nll))
    return found.length ? [{ nll: mean(found.map(({ nll }) => nll)), bits: found.every(({ bitsPerByte }) => bitsPerByte !== null) ? mean(found.map(({ bitsPerByte }) => bitsPerByte!)) : null }] : []
  })
  if (!perDomain.length || !shared && perDomain.length < domains.length) return undefined
  const nll = mean(perDomain.map(domain => domain.nll))
  return { nll, perplexity: Math.exp(nll), bitsPerByte: perDomain.every(({ bits }) => bits !== null) ? mean(perDomain.map(({ bits }) => bits!)) : null, domains: perDomain.length }
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
