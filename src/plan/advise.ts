import { countModel, type MethodName } from '../model/index.js'
import { compact, percent } from '../report/format.js'
import { tokens as short } from '../report/experiment/words.js'
import { clusterAdvice, type ClusterAdvice } from './clusters.js'
import { allPlans, type MethodPlan, type PlanRequest } from './methods.js'

export interface Warning { code: 'unaffordable' | 'few-tokens' | 'few-steps' | 'repeats' | 'little-data' | 'much-data' | 'beyond' | 'other-scale' | 'bound'; message: string }

export interface Advice {
  /** Every method within the budget. */
  methods: MethodPlan[]
  /** Null if the budget does not even pay fine-tuning. */
  method: MethodName | null
  reason: string
  /** Shares of the whole cost. */
  split: { generic: number; specialization: number } | null
  /** Of slm-is, and of the clusters that slm-pn and slm-mix condition on. */
  clusters: ClusterAdvice | null
  /** Which method for how many domains, all else equal. */
  byDomains: { from: number; to: number | null; method: MethodName }[]
  warnings: Warning[]
  sources: string[]
}

/** Gains below this are worth no trouble: the simpler method is taken. */
const WORTH = 0.01
/** Least trouble first. */
const SIMPLER: readonly MethodName[] = ['slm', 'slm-is', 'slm-pn', 'slm-mix', 'slm-d', 'slm-nopt']
/** Hoffmann et al., arXiv 2203.15556: about as many tokens for each parameter make the best of a training budget. */
const TOKENS_A_PARAMETER = 20
/** Steps below which a run hardly leaves its warm-up; the paper warms up for 1,000. */
const FEW_STEPS = 500
/** Muennighoff et al., arXiv 2305.16264: text repeated up to four times is nearly as good as new. */
const REPEATS = 4
/** How many times beyond the measured range an expectation is a direction only. */
export const FAR = 2
/** Most domains that are looked at. */
const MOST_DOMAINS = 1000

export function advise(request: PlanRequest): Advice {
  const methods = allPlans(request), chosen = chooseFrom(methods), sources = [...new Set(methods.flatMap(({ source }) => source === null ? [] : [source === request.evidence.kind ? request.evidence.source : request.fallback.source]))]
  const clusters = chosen && chosen.method === 'slm-is' ? clusterAdvice({ ...request, context: request.model.context })
    : chosen && (chosen.method === 'slm-pn' || chosen.method === 'slm-mix') ? { clusters: chosen.clusters!, why: `as many as experts; ${chosen.clusters} in ${chosen.source === 'paper' ? 'the paper\'s main results' : 'the experiment'}` } : null
  return {
    methods, method: chosen?.method ?? null, reason: chosen ? reasonOf(chosen, methods, request) : 'Fine-tuning alone takes the whole budget.',
    split: chosen && chosen.total > 0 ? { generic: chosen.generic / chosen.total, specialization: 1 - chosen.generic / chosen.total } : null,
    clusters, byDomains: byDomains(request), warnings: warningsOf(chosen, request), sources,
  }
}

/** The lowest expected loss of what can be served, or a simpler method that comes within a percent of it. */
export function chooseFrom(methods: readonly MethodPlan[]): MethodPlan | undefined {
  const known = methods.filter(({ servable, affordable, nll }) => servable && affordable && nll !== null), least = Math.min(...known.map(({ nll }) => nll!))
  return SIMPLER.map(name => known.find(({ method }) => method === name)).find(plan => plan && plan.nll! <= least + WORTH)
}

function byDomains(request: PlanRequest): Advice['byDomains'] {
  const at = (domains: number): MethodName | undefined => chooseFrom(allPlans({ ...request, domains }))?.method
  const found: Advice['byDomains'] = []
  let domains = 1
  for (let method = at(1); method !== undefined && domains <= MOST_DOMAINS;) {
    // The last count that this method still is the choice for: choices change a few times only, so doubling and halving find each change.
    let low = domains, step = 1
    while (low + step <= MOST_DOMAINS && at(low + step) === method) { low += step; step *= 2 }
    for (; step >= 1; step = Math.floor(step / 2)) if (low + step <= MOST_DOMAINS && at(low + step) === method) low += step
    found.push({ from: domains, to: low >= MOST_DOMAINS ? null : low, method })
    domains = low + 1
    method = domains <= MOST_DOMAINS ? at(domains) : undefined
  }
  return found
}

const beside = (relative: number): string => relative < 1 ? `${percent(1 - relative)} below` : `${percent(relative - 1)} above`

function reasonOf(chosen: MethodPlan, methods: readonly MethodPlan[], { domains }: PlanRequest): string {
  const many = domains === 1 ? 'one domain' : `${domains} domains`, { method, relative } = chosen
  const others = methods.filter(plan => plan.servable && plan.affordable && plan.relative !== null && plan.method !== method && plan.method !== 'slm-nopt' && plan.method !== 'slm')
    .map(plan => `${plan.method} ${beside(plan.relative!)}`)
  const rest = others.length ? ` Within the same budget: ${others.join(', ')}.` : ''
  switch (method) {
    case 'slm-is': return `Pretraining on generic text that is resampled to match the domain gains most, and for ${many} each can be given ${short(chosen.pretrainingTokens!)} tokens of it: perplexity is expected ${chosen.bound ? 'at least ' : ''}${beside(relative!)} slm's.${rest}`
    case 'slm-pn': return `One projected network serves ${many} and costs little for each: perplexity is expected ${beside(relative!)} slm's, with all the pretraining in one run of ${short(chosen.pretrainingTokens!)} tokens.${rest}`
    case 'slm-mix': return `One mixture serves ${many} and costs little for each: perplexity is expected ${beside(relative!)} slm's.${rest}`
    case 'slm': return `No other method is expected to gain more than ${percent(WORTH)} within this budget, and this is the simplest.${rest}`
    case 'slm-nopt': return 'Nothing is left to pretrain with.'
    default: return `Perplexity is expected ${beside(relative!)} slm's.${rest}`
  }
}

function warningsOf(chosen: MethodPlan | undefined, { model, domains, domainTokens, flops, genericTokens, evidence, fallback }: PlanRequest): Warning[] {
  const warnings: Warning[] = [], warn = (code: Warning['code'], message: string): void => void warnings.push({ code, message })
  const { parameters, trainingFlopsPerToken } = countModel(model), from = chosen?.source === fallback.kind ? fallback : evidence
  if (!chosen || chosen.method === 'slm-nopt') warn('unaffordable', `The budget of ${compact(flops)} FLOPs leaves nothing for pretraining once fine-tuning ${domains === 1 ? 'the domain' : `${domains} domains`} is paid.`)
  if (chosen?.tokensPerParameter !== null && chosen !== undefined) {
    const ratio = chosen.tokensPerParameter!, each = chosen.method === 'slm-is' && domains > 1 ? flops / domains : flops
    if (ratio < TOKENS_A_PARAMETER) {
      const better = Math.sqrt(each / (6 * TOKENS_A_PARAMETER))
      warn('few-tokens', `Pretraining sees ${ratio.toPrecision(2)} tokens for each parameter, fewer than about ${TOKENS_A_PARAMETER} (Hoffmann et al., arXiv 2203.15556): for this budget a smaller model, of some ${compact(better)} parameters, would be better than one of ${compact(parameters)}; for this model some ${compact(TOKENS_A_PARAMETER * parameters * trainingFlopsPerToken)} FLOPs.`)
    }
    const experts = chosen.method === 'slm-mix' ? chosen.clusters! : 1, steps = Math.floor(chosen.steps! / experts)
    if (steps < FEW_STEPS) warn('few-steps', `Pretraining takes ${steps.toLocaleString('en')} steps of 32 rows${experts > 1 ? ' for each expert' : ''}: too few for a schedule with warm-up (the paper warms up for 1,000). Take smaller steps, a smaller model or a larger budget.`)
    if (genericTokens !== undefined && chosen.pretrainingTokens! > REPEATS * genericTokens) warn('repeats', `Pretraining on ${short(chosen.pretrainingTokens!)} tokens repeats the ${short(genericTokens)} generic tokens ${(chosen.pretrainingTokens! / genericTokens).toFixed(1)} times; beyond about ${REPEATS} repeats help little (Muennighoff et al., arXiv 2305.16264)${chosen.method === 'slm-is' ? ', and resampling repeats some far more often' : ''}.`)
    if (chosen.outside > FAR) warn('beyond', `The expectation lies ${chosen.outside.toFixed(0)} times beyond the pretraining that was measured: take it as a direction, not as a number.`)
  }
  if (domainTokens < 20 * model.context) warn('little-data', `${short(domainTokens)} tokens are fewer than 20 windows of ${model.context}: the part that says when to stop fine-tuning is hardly more than one or two of them.`)
  const most = Math.max(...from.sizes), fewest = Math.min(...from.sizes)
  if (domainTokens >= 64e6) warn('much-data', 'With so much text of the domain the methods come close to each other (within 3% at 64M tokens in the paper).')
  else if (domainTokens > 2 * most || domainTokens < fewest / 2) warn('beyond', `${short(domainTokens)} tokens of the domain lie outside of what was measured (${short(fewest)} to ${short(most)}): the nearest size is taken.`)
  const scale = Math.max(from.served / parameters, parameters / from.served)
  if (scale > 4) warn('other-scale', `The expectations come from a served model of ${compact(from.served)} parameters, ${scale.toFixed(0)} times ${from.served > parameters ? 'larger' : 'smaller'}: only their order carries over. An experiment on this machine (nichelm experiment) would tell more.`)
  if (chosen?.bound) warn('bound', `Of ${chosen.method} the paper says in tables only that it is the best small model: the expectation is the least that it gains.`)
  return warnings
}
