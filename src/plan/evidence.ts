import type { MethodName } from '../model/index.js'
import { PAPER } from '../report/experiment/paper.js'
import { ablation } from '../report/experiment/findings.js'
import type { ExperimentResults } from '../report/experiment/results.js'
import { comparable, viewOf, type View } from '../report/experiment/view.js'
import { readCurve, readSizes, type CurvePoint, type Reading } from './curve.js'

/** Losses after fine-tuning that were measured at one scale of model. */
export interface Evidence {
  kind: 'experiment' | 'paper'
  /** In words: whose results these are, and of what. */
  source: string
  /** Parameters of the served model. */
  served: number
  /** Sizes of the specialization set, tokens. */
  sizes: readonly number[]
  /** By method and size of data, ascending in tokens; slm-nopt: one point. */
  curves: ReadonlyMap<MethodName, ReadonlyMap<number, readonly CurvePoint[]>>
  /** Methods whose loss is only known to be below what the curve says. */
  bounds: ReadonlySet<MethodName>
  /** Tokens trained on in fine-tuning for each token of the domain, by size of data; empty where that was not told. */
  passes: ReadonlyMap<number, number>
  /** Device time of a pretraining token beside slm's, where it was measured. */
  timeFactor: Partial<Record<MethodName, number>>
  /** Of slm-is, slm-pn and slm-mix: how many clusters or experts the curves stand for. */
  clusters: Partial<Record<MethodName, number>>
  /** The numbers of clusters that were tried for slm-is, and the best of them. */
  tried: { clusters: readonly number[]; best: number } | undefined
}

/** Perplexities of the paper become losses against pretraining tokens for each parameter, by its own hours for a billion tokens. */
export function paperEvidence(): Evidence {
  const served = 1e6 * PAPER.parameters[0]!.served, large = 1e6 * PAPER.parameters.find(({ method }) => method === 'llm')!.served, curves = new Map<MethodName, Map<number, CurvePoint[]>>()
  for (const method of ['slm', 'slm-pn', 'slm-mix', 'llm'] as const) {
    const rows = PAPER.equalCost.filter(row => row.method === method), perBillion = PAPER.hoursPerBillion.find(row => row.method === method)!.generic!
    curves.set(method, new Map(PAPER.dataTokens.map((size, i) => [size, rows.map(({ hours, after }) => ({ ratio: 1e9 * hours / perBillion / (method === 'llm' ? large : served), nll: Math.log(after[i]!) }))])))
  }
  // In the paper slm-is is in figures only. It says: the best small model at every size, and with 1M tokens ahead of the large one. That is the least it gains over slm.
  const plain = PAPER.baselines.find(({ method }) => method === 'slm')!.after, largest = PAPER.baselines.find(({ method }) => method === 'llm')!.after
  const gains = plain.map((value, i) => Math.log((i === 0 ? largest[0]! : Math.min(...PAPER.equalCost.filter(({ method }) => method.startsWith('slm')).map(({ after }) => after[i]!))) / value))
  curves.set('slm-is', new Map([...curves.get('slm')!].map(([size, points], i) => [size, points.map(point => ({ ...point, nll: point.nll + gains[i]! }))])))
  const none = PAPER.baselines.find(({ method }) => method === 'slm-nopt')!.after
  curves.set('slm-nopt', new Map(PAPER.dataTokens.map((size, i) => [size, [{ ratio: 0, nll: Math.log(none[i]!) }]])))
  return {
    kind: 'paper', source: `the paper's tables (${PAPER.source}: 126M parameters, nine domains of the Pile)`, served, sizes: PAPER.dataTokens, curves,
    bounds: new Set(['slm-is']), passes: new Map(), timeFactor: {}, clusters: PAPER.clusters, tried: undefined,
  }
}

/** What an experiment measured; undefined if it has no curve of slm to compare with. */
export function experimentEvidence(results: ExperimentResults, file: string): Evidence | undefined {
  const view = viewOf(results), curves = new Map<MethodName, Map<number, CurvePoint[]>>(), clusters: Evidence['clusters'] = {}, passes = new Map<number, number>()
  let served = 0
  for (const size of view.sizes) for (const method of view.methods) {
    // Smaller budgets may have been run on a part of the domains: what is compared is on the same ones.
    const points = comparable(view, view.methods, size).series(method)
    if (!points.length) continue
    const parameters = points[0]!.cells[0]!.parameters.served, known = curves.get(method) ?? new Map<number, CurvePoint[]>()
    known.set(size, points.map(point => ({ ratio: (point.budgetTokens ?? 0) / parameters, nll: point.after!.nll })))
    curves.set(method, known)
    clusters[method] = points[0]!.clusters ?? points[0]!.experts ?? 0
    if (method !== 'slm') continue
    served = parameters
    const trained = points.flatMap(({ cells }) => cells.flatMap(({ cost }) => cost.specialization.parts?.['finetuning']?.tokens ?? []))
    if (trained.length) passes.set(size, trained.reduce((a, b) => a + b) / trained.length / size)
  }
  if (!curves.has('slm') || curves.size < 2) return undefined
  const tries = view.sizes.slice(0, 1).flatMap(size => ablation(view.points, 'slm-is', 'clusters', size).points)
  const best = tries.length ? tries.reduce((a, b) => b.after!.nll < a.after!.nll ? b : a).clusters! : 0
  return {
    kind: 'experiment', source: `the experiment ${results.experiment.name} (${file}: ${Math.round(served).toLocaleString('en')} parameters, ${view.domains.length} domains)`, served, sizes: view.sizes, curves,
    bounds: new Set(), passes, timeFactor: timeFactors(view), clusters, tried: tries.length ? { clusters: tries.map(point => point.clusters!), best } : undefined,
  }
}

/** slm-pn only: the other small models train as slm does. */
function timeFactors({ series, sizes }: View): Evidence['timeFactor'] {
  const hours = (method: MethodName): number | undefined => {
    const { generic } = series(method, sizes[0] ?? 0).at(-1)?.cells[0]?.cost ?? {}, pretraining = generic?.parts?.['pretraining'] ?? generic
    return pretraining && pretraining.tokens > 0 && pretraining.deviceHours > 0 ? pretraining.deviceHours / pretraining.tokens : undefined
  }
  const plain = hours('slm'), projected = hours('slm-pn')
  return plain && projected ? { 'slm-pn': projected / plain } : {}
}

/** The evidence whose served model is nearest in size. */
export const nearest = (all: readonly Evidence[], parameters: number): Evidence =>
  all.reduce((a, b) => Math.abs(Math.log(b.served / parameters)) < Math.abs(Math.log(a.served / parameters)) ? b : a)

/** Expected loss; `parallel`: of this method too little was measured to know its slope, so it is that of slm. */
export interface Expectation extends Reading { parallel: boolean }

/**
 * Loss of a method after fine-tuning on so many tokens, pretrained on `ratio` tokens a parameter. Undefined where the evidence has nothing of the method.
 */
export function expect({ curves, sizes }: Evidence, method: MethodName, ratio: number, tokens: number): Expectation | undefined {
  const own = curves.get(method), plain = curves.get('slm')
  if (!own) return undefined
  let parallel = false
  const found = readSizes(sizes, tokens, size => {
    const points = own.get(size)
    if (!points?.length) return undefined
    if (method === 'slm-nopt') return { nll: points[0]!.nll, outside: 1 }
    const reading = readCurve(points, ratio)
    if (reading) return reading
    const at = plain?.get(size) && readCurve(plain.get(size)!, ratio), there = plain?.get(size) && readCurve(plain.get(size)!, points[0]!.ratio)
    if (!at || !there) return { nll: points[0]!.nll, outside: Math.max(ratio / points[0]!.ratio, points[0]!.ratio / ratio) }
    parallel = true
    return { nll: points[0]!.nll + at.nll - there.nll, outside: at.outside }
  })
  return found && { ...found, parallel }
}
