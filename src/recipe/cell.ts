import type { ExpertChoice } from '../specialize/index.js'
import { expertText } from './experts.js'
import type { Method } from './schema.js'
import type { Setup } from './setup.js'

/** One result to find: a method on one domain with one choice of everything that an experiment varies. */
export interface Cell {
  method: Method
  domain: string
  /** The first so many tokens of the specialization set are used; null: all. */
  dataTokens: number | null
  /** Tokens of generic pretraining, for slm-mix of all experts together; null for slm-nopt. */
  budgetTokens: number | null
  /** Of slm-is. */
  clusters: number | null
  /** Of slm-is: the share of its rows whose windows are chosen by n-grams; 1: all, and there are no clusters. */
  ngrams: number | null
  /** Of slm-pn and slm-mix. */
  experts: number | null
  choice: ExpertChoice | null
  seed: number
  /** Pretrained to this budget alone, with a schedule of its own, instead of being a snapshot of the longest run. */
  ownRun: boolean
}

/** What a method of the matrix depends on; the rest of a cell's choices is null. */
const USES = {
  clusters: (method: Method) => method === 'slm-is',
  experts: (method: Method) => method === 'slm-pn' || method === 'slm-mix',
  budget: (method: Method) => method !== 'slm-nopt',
}

/** A cell with what its method does not use left out, so that equal cells are equal. */
export function plainCell(cell: Cell & { clusters: number; ngrams: number; experts: number; choice: ExpertChoice; budgetTokens: number }): Cell {
  const { method } = cell, budget = USES.budget(method), experts = USES.experts(method)
  return {
    ...cell, budgetTokens: budget ? cell.budgetTokens : null, clusters: USES.clusters(method) && cell.ngrams < 1 ? cell.clusters : null, ngrams: USES.clusters(method) ? cell.ngrams : null,
    experts: experts ? cell.experts : null, choice: experts ? cell.choice : null, ownRun: budget && cell.ownRun,
  }
}

/** A cell as a name, unique in its experiment: slm-is/law/100k/8M/c64/s1. */
export function cellId({ method, domain, dataTokens, budgetTokens, clusters, ngrams, experts, choice, seed, ownRun }: Cell): string {
  return [
    method, domain, dataTokens === null ? 'all' : shortCount(dataTokens), ...(budgetTokens === null ? [] : [`${shortCount(budgetTokens)}${ownRun ? '-own' : ''}`]),
    ...(clusters === null ? [] : [`c${clusters}`]), ...(ngrams ? [`n${ngrams}`] : []), ...(experts === null ? [] : [`e${experts}`]), ...(choice === null ? [] : [choice]), `s${seed}`,
  ].join('/')
}

/** 8M, 100k, 1234. */
export function shortCount(count: number): string {
  for (const [suffix, size] of [['B', 1e9], ['M', 1e6], ['k', 1e3]] as const) {
    if (count >= size && count * 1000 % size === 0) return `${count / size}${suffix}`
  }
  return String(count)
}

/** Peak learning rate of a method's pretraining. */
export const pretrainRate = ({ pretrain, mixture, projected }: Setup, method: Method): number =>
  (method === 'slm-mix' ? mixture.rate : method === 'slm-pn' ? projected.rate : method === 'llm' || method === 'llm-lora' ? pretrain.largeRate : undefined) ?? pretrain.rate

/** Rows of a pretraining step. */
export const pretrainBatch = (setup: Setup, method: Method): number => method === 'slm-mix' ? setup.mixture.batch ?? setup.pretrain.batch : setup.pretrain.batch

/** Steps of warm-up in a run of so many. The runs of a mixture's experts are short, and have a short warm-up. */
export const pretrainWarmup = ({ pretrain: { warmup } }: Setup, method: Method, steps: number): number => method === 'slm-mix' ? Math.min(warmup, Math.floor(steps / 10)) : warmup

/** Steps of pretraining within a budget, of one expert for slm-mix; 0 if it is too small for one. */
export function budgetSteps(setup: Setup, { method, budgetTokens, experts }: Cell): number {
  const tokens = method === 'slm-mix' ? budgetTokens! / experts! : budgetTokens!
  return Math.floor(tokens / (pretrainBatch(setup, method) * setup.context) + 1e-9)
}

/** The pretraining that a cell takes part in: cells with the same key share one run. */
export function runKey(cell: Cell, method: Method = cell.method): string {
  const { domain, dataTokens, clusters, ngrams, experts, seed, ownRun, budgetTokens } = cell
  return JSON.stringify([method, seed, method === 'slm-is' ? [domain, dataTokens, clusters, ngrams] : experts, ownRun ? budgetTokens : null])
}

/** The pretrainings that a method needs. */
export const pretrainedBy = (method: Method, foreignTeacher: boolean): Method[] => {
  if (method === 'slm-nopt') return []
  if (method === 'slm-d') return foreignTeacher ? ['slm'] : ['slm', 'llm']
  return [method === 'llm-lora' ? 'llm' : method]
}

/** A pretraining run as another method of the cell sees it: slm-d uses those of slm and llm. */
export const asMethod = (cell: Cell, method: Method): Cell => method === cell.method ? cell : { ...cell, method, clusters: null, ngrams: null, experts: null, choice: null }

/** For every run its steps, ascending: the last is the run's end, the others are snapshots. */
export function planRuns(setup: Setup, cells: readonly Cell[]): Map<string, number[]> {
  const runs = new Map<string, Set<number>>()
  for (const cell of cells) {
    for (const method of pretrainedBy(cell.method, setup.distill.teacher !== undefined)) {
      const one = asMethod(cell, method), key = runKey(one)
      if (!runs.has(key)) runs.set(key, new Set())
      runs.get(key)!.add(budgetSteps(setup, one))
    }
  }
  return new Map([...runs].map(([key, steps]) => [key, [...steps].sort((a, b) => a - b)]))
}

export const expertsTrained = (setup: Setup, cell: Cell): number[] => {
  const all = Array.from({ length: cell.experts! }, (_, expert) => expert)
  return cell.method === 'slm-mix' ? setup.mixture.experts?.filter(expert => expert < cell.experts!) ?? all : all
}

/** What an error says about a partial mixture. */
export const trainedText = (setup: Setup, cell: Cell): string => expertText(expertsTrained(setup, cell))
