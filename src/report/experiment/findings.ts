import type { MethodName } from '../../model/index.js'
import { perplexity } from '../format.js'
import { averageOf, CHOICES, common, domainsOf, onDomains, studentCost, totalCost, type Average, type Common, type Point } from './points.js'
import { PAPER } from './paper.js'
import type { ExperimentResults } from './results.js'
import { atEqualCost, atEqualTokens, gain, lastOf, mainVariants, seriesOf, sizesOf } from './series.js'
import { costIn, costWords, lower, onlyOn, quality, tokens, variantWords } from './words.js'

/** `level`: within `SAME`; `partly`: on some sizes of data and not on others; `open`: results are missing. */
export type Verdict = 'held' | 'partly' | 'level' | 'not' | 'open'

/** One of the paper's orderings, beside what was measured. */
export interface Finding {
  /** What the paper says, in a sentence. */
  claim: string
  /** The paper's own figures. */
  paper: string
  verdict: Verdict
  /** What was measured, in sentences, computed from the results. */
  measured: string[]
}

/** Differences below this are no difference: one seed makes as much. */
export const SAME = 0.005

function verdictOf(gains: readonly number[], same = SAME): Verdict {
  if (!gains.length) return 'open'
  if (gains.every(value => value > same)) return 'held'
  if (gains.every(value => value < -same)) return 'not'
  return gains.every(value => Math.abs(value) <= same) ? 'level' : 'partly'
}

interface Context { points: readonly Point[]; sizes: number[]; domains: ReadonlyMap<number, readonly string[]>; series(method: MethodName, dataTokens: number): Point[] }

/** The paper's orderings, each with what these results say of it. Nothing is measured that is not in the results. */
export function findingsOf(results: ExperimentResults, points: readonly Point[]): Finding[] {
  const main = mainVariants(points), context: Context = { points, sizes: sizesOf(points), domains: domainsOf(points.flatMap(({ cells }) => cells)), series: (method, dataTokens) => seriesOf(points, main.get(method), dataTokens) }
  return [
    importance(context), projectedTokens(context), projectedCost(context), mixture(context), noPretraining(context), shrinks(context), bestSmall(context),
    against(context), distillation(context), lora(context), clusters(context), choices(context), broad(results, context),
  ]
}

/** Which domains an average is of, if not of all. */
const part = (domains: readonly string[], all: readonly string[]): string => onlyOn(domains, all) && `, on ${onlyOn(domains, all)}`

interface Pair { size: number; budgetTokens: number | null; a: Average; b: Average; gain: number; domains: number; of: number }

/** `a` and `b` after fine-tuning on each size of data, at the greatest budget that both have: on all domains, or else on those that both have, if there are two at least. */
function pairs({ sizes, series, domains }: Context, a: MethodName, b: MethodName): Pair[] {
  return sizes.flatMap(size => {
    const all = domains.get(size)!, [one, other] = [series(a, size), series(b, size)], found = atEqualTokens(one, other, 'after')
    const pair = (budgetTokens: number | null, a: Average, b: Average): Pair[] => [{ size, budgetTokens, a, b, gain: gain(a, b), domains: a.domains, of: all.length }]
    if (found) return pair(found.a.budgetTokens, found.a.after!, found.b.after!)
    for (const point of [...one].reverse()) {
      const twin = other.find(({ budgetTokens }) => budgetTokens === point.budgetTokens), has = ({ cells }: Point, domain: string): boolean => averageOf(cells, 'after', [domain]) !== undefined
      const common = twin ? all.filter(domain => has(point, domain) && has(twin, domain)) : []
      if (common.length > 1) return pair(point.budgetTokens, averageOf(point.cells, 'after', common)!, averageOf(twin!.cells, 'after', common)!)
    }
    return []
  })
}

const beside = (a: string, b: string, { size, budgetTokens, a: one, b: other, gain: by, domains, of }: Pair): string =>
  `Fine-tuned on ${tokens(size)} tokens, ${a} reaches ${quality(one)}, ${lower(by)} than ${b}'s ${quality(other)}${budgetTokens === null ? '' : `, each after ${tokens(budgetTokens)} tokens of pretraining`}${domains < of ? `, on the ${domains} of ${of} domains that both have` : ''}.`

function importance(context: Context): Finding {
  const found = pairs(context, 'slm-is', 'slm')
  return {
    claim: 'Resampling the generic set (slm-is) beats the plain small model (slm).', paper: 'slm-is with 1,024 clusters is the best small model at every size of data (in figures, not in tables).',
    verdict: verdictOf(found.map(pair => pair.gain)), measured: [...found.map(pair => beside('slm-is', 'slm', pair)), ...withNgrams(context)],
  }
}

/** slm-is with windows chosen by n-grams, which the paper has not, where it was tried on the same domains as slm. */
function withNgrams({ points, domains, series }: Context): string[] {
  return points.flatMap(point => {
    const { method, settings, dataTokens: size, budgetTokens, after: a } = point
    if (method !== 'slm-is' || !settings['ngrams'] || !a) return []
    const b = series('slm', size).find(one => one.budgetTokens === budgetTokens)?.after
    return b && a.domains === b.domains ? [beside(`slm-is (${variantWords(point)})`, 'slm', { size, budgetTokens, a, b, gain: gain(a, b), domains: a.domains, of: domains.get(size)!.length })] : []
  })
}

/** How far the paper's `a` lies below its `b`, by size of data, at so many hours. */
const paperGains = (hours: number, a: MethodName, b: MethodName): number[] => {
  const [one, other] = [a, b].map(method => PAPER.equalCost.find(row => row.hours === hours && row.method === method)!)
  return one!.after.map((value, i) => 1 - value / other!.after[i]!)
}
const paperWords = (hours: number, a: MethodName, b: MethodName): string =>
  `At ${hours} hours of pretraining ${a} is ${paperGains(hours, a, b).map((value, i) => `${lower(value)} at ${tokens(PAPER.dataTokens[i]!)}`).join(', ')} than ${b}.`

function projectedTokens(context: Context): Finding {
  const found = pairs(context, 'slm-pn', 'slm'), size = context.sizes[0]
  const generic = size === undefined ? undefined : atEqualTokens(context.series('slm-pn', size), context.series('slm', size), 'generic')
  const onGeneric = generic ? gain(generic.a.generic!, generic.b.generic!) : undefined
  return {
    claim: 'A projected network (slm-pn) beats the plain small model on the same tokens, on the generic set and on the domains.', paper: paperWords(400, 'slm-pn', 'slm'),
    verdict: found.length ? verdictOf([...onGeneric === undefined ? [] : [onGeneric], ...found.map(pair => pair.gain)]) : 'open',
    measured: [
      ...generic ? [`On the generic set slm-pn reaches ${quality(generic.a.generic!)}, ${lower(onGeneric!)} than slm's ${quality(generic.b.generic!)}, each after ${tokens(generic.a.budgetTokens!)} tokens.`] : [],
      ...found.map(pair => beside('slm-pn', 'slm', pair)),
    ],
  }
}

/** What is compared: a method with the settings that stand for it, or others. */
interface Side { name: string; points: (size: number) => Point[] }

/** Two methods at about the same cost, by hours and by FLOPs: a sentence for each size of data. */
function costSentences({ sizes, domains }: Context, a: Side, b: Side, cost: 'pretraining' | 'total'): { gains: number[]; sentences: string[] } {
  const gains: number[] = []
  const sentences = sizes.flatMap(size => {
    const [of, beside] = [a.points(size), b.points(size)], shared = common([...of, ...beside]), pick = (points: Point[]): Point[] => shared.points.filter(({ variant }) => points.some(point => point.variant === variant))
    const parts = (['hours', 'flops'] as const).flatMap(kind => {
      const found = atEqualCost(pick(of), pick(beside), 'after', point => cost === 'total' ? totalCost(point, 1)[kind] : point.cost.pretraining[kind])
      if (!found) return []
      gains.push(gain(found.a, found.b))
      return [`${lower(gains.at(-1)!)} at about ${costIn(kind, found.cost)} (${perplexity(found.a.perplexity)} against ${perplexity(found.b.perplexity)})`]
    })
    return parts.length ? [`Fine-tuned on ${tokens(size)} tokens, at equal ${cost === 'total' ? 'cost of pretraining and fine-tuning' : 'cost of pretraining'}, ${a.name} is ${parts.join(' and ')} than ${b.name}${part(shared.domains, domains.get(size)!)}.`] : []
  })
  return { gains, sentences }
}

const side = ({ series }: Context, method: MethodName): Side => ({ name: method, points: size => series(method, size) })

function projectedCost(context: Context): Finding {
  const { gains, sentences } = costSentences(context, side(context, 'slm-pn'), side(context, 'slm'), 'pretraining')
  return { claim: 'slm-pn beats slm at equal cost of pretraining too.', paper: paperWords(100, 'slm-pn', 'slm'), verdict: verdictOf(gains), measured: sentences }
}

function mixture(context: Context): Finding {
  const mixture = side(context, 'slm-mix'), projected = side(context, 'slm-pn'), { gains, sentences } = costSentences(context, mixture, side(context, 'slm'), 'total')
  // Other ways of choosing the expert than the one that stands for the mixture.
  const main = context.sizes.flatMap(size => mixture.points(size))[0], others = CHOICES.filter(choice => choice !== main?.choice).map((choice): Side => ({
    name: `slm-mix with ${choice}`, points: size => context.points.filter(point => point.method === 'slm-mix' && point.choice === choice && point.dataTokens === size && point.experts === main?.experts),
  }))
  return {
    claim: 'The hard mixture (slm-mix) beats slm once its pretraining is long enough, and stands beside slm-pn at equal cost.',
    paper: `${paperWords(100, 'slm-mix', 'slm')} ${paperWords(400, 'slm-mix', 'slm')} ${paperWords(400, 'slm-mix', 'slm-pn')}`, verdict: verdictOf(gains),
    measured: [...sentences, ...[mixture, ...others].flatMap(one => costSentences(context, one, projected, 'total').sentences)],
  }
}

function noPretraining({ sizes, series }: Context): Finding {
  const found = sizes.flatMap(size => {
    const [nopt, slm] = [lastOf(series('slm-nopt', size), 'after'), lastOf(series('slm', size), 'after')]
    return nopt && slm ? [{ size, nopt, slm, ratio: Math.exp(nopt.after!.nll - slm.after!.nll) }] : []
  })
  const paper = PAPER.baselines.find(({ method }) => method === 'slm-nopt')!.after.map((value, i) => `${(value / PAPER.baselines[0]!.after[i]!).toFixed(1)} times at ${tokens(PAPER.dataTokens[i]!)}`)
  return {
    claim: 'Without pretraining (slm-nopt) the small model is far worse, less so with more data.', paper: `slm-nopt has the perplexity of slm ${paper.join(', ')}.`,
    verdict: !found.length ? 'open' : found[0]!.ratio > 1.1 ? (found.every(({ ratio }, i) => i === 0 || ratio < found[i - 1]!.ratio) ? 'held' : 'partly') : 'not',
    measured: found.map(({ size, nopt, slm, ratio }) => `On ${tokens(size)} tokens slm-nopt reaches ${quality(nopt.after!)}: ${ratio.toFixed(2)} times the perplexity of slm, ${quality(slm.after!)}.`),
  }
}

function shrinks(context: Context): Finding {
  const rows = (['slm-is', 'slm-pn', 'slm-mix'] as const).flatMap(method => {
    const found = pairs(context, method, 'slm')
    return found.length > 1 ? [{ method, found, falls: found[0]!.gain - found.at(-1)!.gain }] : []
  })
  return {
    claim: 'The lead over slm shrinks as the specialization set grows.', paper: paperWords(400, 'slm-pn', 'slm'), verdict: verdictOf(rows.map(({ falls }) => falls), 0),
    measured: rows.map(({ method, found }) => `${method} beside slm: ${found.map(({ size, gain: by }) => `${lower(by)} at ${tokens(size)}`).join(', ')}.`),
  }
}

const SMALL: readonly MethodName[] = ['slm', 'slm-is', 'slm-pn', 'slm-mix', 'slm-d', 'slm-nopt']

function bestSmall({ sizes, series }: Context): Finding {
  const rows = sizes.flatMap(size => {
    const budget = lastOf(series('slm-is', size), 'after')?.budgetTokens
    const ranked = SMALL.flatMap(method => series(method, size).filter(({ after, budgetTokens }) => after && (budgetTokens === null || budgetTokens === budget))).sort((a, b) => a.after!.nll - b.after!.nll)
    return budget && ranked.length > 1 ? [{ size, budget, ranked }] : []
  })
  const wins = rows.filter(({ ranked }) => ranked[0]!.method === 'slm-is').length
  return {
    claim: 'slm-is is the best small model at every size of data.', paper: 'So in the paper, with 1,024 clusters.', verdict: !rows.length ? 'open' : wins === rows.length ? 'held' : wins ? 'partly' : 'not',
    measured: rows.map(({ size, budget, ranked }) => `Fine-tuned on ${tokens(size)} tokens, pretrained on ${tokens(budget)}: ${ranked.map(({ method, after }) => `${method} ${perplexity(after!.perplexity)}`).join(', ')}.`),
  }
}

function against(context: Context): Finding {
  const found = pairs(context, 'slm-is', 'llm'), cost = (method: MethodName, { size, budgetTokens }: Pair): string => {
    const point = context.series(method, size).find(one => one.budgetTokens === budgetTokens)
    return point ? costWords(totalCost(point, 1)) : 'unknown'
  }
  return {
    claim: 'On the least data, slm-is beats even the larger model (llm).', paper: `So at 1M tokens, for under ${PAPER.importanceHours} hours a domain; the llm is ahead with more data.`,
    verdict: verdictOf(found.slice(0, 1).map(pair => pair.gain)), measured: found.map(pair => `${beside('slm-is', 'the llm', pair)} One domain costs ${cost('slm-is', pair)} against ${cost('llm', pair)}.`),
  }
}

function distillation(context: Context): Finding {
  const { sizes, series, domains } = context, gains: number[] = []
  const measured = sizes.flatMap(size => {
    const shared = common((['slm-d', 'slm', 'slm-pn'] as const).flatMap(method => series(method, size)), 'slm-d'), on = part(shared.domains, domains.get(size)!), of = (method: MethodName): Point[] => shared.points.filter(point => point.method === method)
    const student = (['hours', 'flops'] as const).flatMap(kind => {
      const found = atEqualCost(of('slm-d'), of('slm'), 'after', point => studentCost(point)[kind])
      return found ? [`${lower(gain(found.a, found.b))} at ${costIn(kind, found.cost)}`] : []
    })
    const [one, other] = [lastOf(of('slm-d'), 'after'), lastOf(of('slm-pn'), 'after')]
    const whole = one && other ? [{ d: one, pn: other, by: gain(other.after!, one.after!), cheaper: totalCost(other, 1).flops <= totalCost(one, 1).flops }] : []
    // A result that is better for less needs no equal cost.
    for (const { by, cheaper } of whole) if (cheaper || by < 0) gains.push(by)
    return [
      ...student.length ? [`Fine-tuned on ${tokens(size)} tokens, at equal cost of the student alone, slm-d is ${student.join(' and ')} than slm${on}.`] : [],
      ...whole.map(({ d, pn, by }) => `With the teacher counted slm-d reaches ${quality(d.after!)} for ${costWords(totalCost(d, 1))}; slm-pn, ${lower(by)}, ${quality(pn.after!)} for ${costWords(totalCost(pn, 1))}${on}.`),
    ]
  })
  return { claim: 'Distillation (slm-d) does not beat slm-pn once the teacher is counted.', paper: 'Distillation pays only with a teacher of several hundred hours, and not against slm-pn.', verdict: verdictOf(gains), measured }
}

function lora(context: Context): Finding {
  const found = pairs(context, 'llm-lora', 'llm')
  const near = found.filter(({ a, b, gain: by }) => a.perplexity - b.perplexity <= PAPER.loraLoss || by > -0.03)
  return {
    claim: 'LoRA comes close to fine-tuning all of the llm.', paper: `Within ${PAPER.loraLoss} perplexity.`,
    verdict: !found.length ? 'open' : near.length === found.length ? 'held' : near.length ? 'partly' : 'not', measured: found.map(pair => beside('llm-lora', 'llm', pair)),
  }
}

/** Settings of a method that differ in one number only, at the budget where most of them are, on the domains that they have in common. */
export function ablation(points: readonly Point[], method: MethodName, field: 'clusters' | 'experts', dataTokens: number): Common {
  const own = points.filter(point => point.method === method && point.dataTokens === dataTokens && (point.choice === null || point.choice === 'frequent'))
  return mostOf(own, point => [point.budgetTokens, point.settings], (a, b) => a[field]! - b[field]!)
}

/** Of points that are alike in `key`, the most that can be compared; none if that is one alone. */
function mostOf(points: readonly Point[], key: (point: Point) => unknown, order: (a: Point, b: Point) => number): Common {
  const groups = new Map<string, Point[]>()
  for (const point of points) {
    const name = JSON.stringify(key(point))
    groups.set(name, [...groups.get(name) ?? [], point])
  }
  const found = [...groups.values()].map(group => common(group)).sort((a, b) => b.points.length - a.points.length || b.domains.length - a.domains.length || (b.points[0]?.budgetTokens ?? 0) - (a.points[0]?.budgetTokens ?? 0))[0]
  return found && found.points.length > 1 ? { ...found, points: [...found.points].sort(order) } : { domains: [], points: [] }
}

/** The ways of choosing an expert, all else equal: on all domains that two ways have, and on fewer where more ways can be compared there. */
export function choicesOf(points: readonly Point[], method: MethodName, dataTokens: number): Common[] {
  const own = points.filter(point => point.method === method && point.dataTokens === dataTokens && point.choice), most = mostOf(own, settingsOf, byChoice)
  const alike = most.points[0] ? own.filter(point => JSON.stringify(settingsOf(point)) === JSON.stringify(settingsOf(most.points[0]!))) : []
  const sets = alike.map(({ cells }) => [...new Set(cells.filter(({ after }) => after).map(({ domain }) => domain))]).sort((a, b) => b.length - a.length), found: Common[] = []
  for (const domains of sets) {
    const there = alike.flatMap(point => onDomains(point, domains) ?? []).filter(({ after }) => after)
    if (there.length > Math.max(1, found.at(-1)?.points.length ?? 0)) found.push({ domains, points: there.sort(byChoice) })
  }
  return found
}
const settingsOf = ({ budgetTokens, experts, settings }: Point): unknown => [budgetTokens, experts, settings]
const byChoice = (a: Point, b: Point): number => CHOICES.indexOf(a.choice!) - CHOICES.indexOf(b.choice!)

function clusters({ points, sizes, domains }: Context): Finding {
  const rows = sizes.flatMap(size => { const found = ablation(points, 'slm-is', 'clusters', size); return found.points.length ? [{ size, ...found }] : [] })
  return {
    claim: 'More clusters make slm-is better.', paper: 'So from 16 up to 1,024 clusters.', verdict: verdictOf(rows.map(({ points: found }) => gain(found.at(-1)!.after!, found[0]!.after!))),
    measured: rows.map(({ size, points: found, domains: on }) => `On ${tokens(size)} tokens: ${found.map(point => `${perplexity(point.after!.perplexity)} with ${point.clusters} clusters`).join(', ')}${part(on, domains.get(size)!)}.`),
  }
}

function choices({ points, sizes, domains }: Context): Finding {
  const rows = (['slm-pn', 'slm-mix'] as const).flatMap(method => sizes.flatMap(size => choicesOf(points, method, size).map(found => ({ method, size, ...found }))))
  const paper = PAPER.choice.perplexity
  return {
    claim: 'Choosing the expert by its loss beats taking the most frequent cluster, but not by much.', paper: `Mixture of 64, 1M tokens: ${Object.entries(paper).map(([choice, found]) => `${choice} ${found}`).join(', ')}.`,
    verdict: verdictOf(rows.map(({ points: found }) => gain(found.at(-1)!.after!, found[0]!.after!))),
    measured: rows.map(({ method, size, points: found, domains: on }) => `${method}, ${tokens(size)} tokens: ${found.map(point => `${point.choice} ${perplexity(point.after!.perplexity)} for ${costWords(point.cost.specialization)} a domain`).join('; ')}${part(on, domains.get(size)!)}.`),
  }
}

function broad({ clusterings }: ExperimentResults, { sizes, series }: Context): Finding {
  const claim = 'On the domains that are spread over most clusters, slm-pn and slm-mix do not beat slm.', paper = `So for ${PAPER.broadDomains.join(' and ')}, the two of highest cluster entropy.`
  const size = sizes[0], widest = [...clusterings].sort((a, b) => b.clusters - a.clusters)[0]
  if (size === undefined || !widest || widest.domains.length < 3) return { claim, paper, verdict: 'open', measured: [] }
  const broadest = [...widest.domains].sort((a, b) => b.entropy - a.entropy).slice(0, 2).map(({ domain }) => domain)
  const rows = (['slm-pn', 'slm-mix'] as const).flatMap(method => {
    const found = atEqualTokens(series(method, size), series('slm', size), 'after')
    if (!found) return []
    const others = found.a.cells.map(({ domain }) => domain).filter(domain => !broadest.includes(domain))
    const by = (domains: readonly string[]): number | undefined => {
      const [a, b] = [averageOf(found.a.cells, 'after', domains), averageOf(found.b.cells, 'after', domains)]
      return a && b && gain(a, b)
    }
    const [there, elsewhere] = [by(broadest), by([...new Set(others)])]
    return there === undefined || elsewhere === undefined ? [] : [{ method, there, elsewhere }]
  })
  return {
    claim, paper, verdict: !rows.length ? 'open' : rows.every(({ there }) => there <= SAME) ? 'held' : rows.some(({ there }) => there <= SAME) ? 'partly' : 'not',
    measured: rows.map(({ method, there, elsewhere }) => `${method} beside slm at ${tokens(size)} tokens: ${lower(there)} on ${broadest.join(' and ')} (entropy ${widest.domains.filter(({ domain }) => broadest.includes(domain)).map(({ entropy }) => entropy.toFixed(2)).join(' and ')} nats of ${widest.clusters} clusters), ${lower(elsewhere)} on the others.`),
  }
}
