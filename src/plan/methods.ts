import { countMethod, countModel, projectedConfig, type MethodName, type ModelConfig } from '../model/index.js'
import { finetuneRule } from '../specialize/index.js'
import { expect, type Evidence } from './evidence.js'

export interface PlanRequest {
  /** The model that is served. */
  model: ModelConfig
  /** The large model: the teacher of slm-d, and llm, which is shown for comparison where it is larger than what can be served. Without it both are left out. */
  teacher?: ModelConfig
  domains: number
  /** Of each domain. */
  domainTokens: number
  /** For everything together. */
  flops: number
  /** Distinct generic tokens that there are; unlimited if absent. */
  genericTokens?: number
  /** What expectations are taken from, and for methods that it lacks. */
  evidence: Evidence
  fallback: Evidence
}

/** One method within the budget. */
export interface MethodPlan {
  method: MethodName
  /** False for llm: it is larger than the model that can be served. */
  servable: boolean
  /** False where fine-tuning alone takes the budget: nothing is left to pretrain with. */
  affordable: boolean
  /** Of one pretraining: for slm-is one a domain, for slm-mix of all experts together. Null for slm-nopt. */
  pretrainingTokens: number | null
  /** Those tokens for each parameter of the resulting model. */
  tokensPerParameter: number | null
  /** Of one pretraining, at the recipe's batch. */
  steps: number | null
  /** FLOPs: once, for each domain, and in all. */
  generic: number
  specialization: number
  total: number
  /** Clusters of slm-is, experts of slm-pn and slm-mix. */
  clusters: number | null
  /** Expected perplexity after fine-tuning relative to slm within the same budget: 0.9 is 10% lower. Null where nothing is known. */
  relative: number | null
  /** The expectation is the most that it will be. */
  bound: boolean
  /** Where the expectation is from. */
  source: 'experiment' | 'paper' | null
  /** How many times beyond the measured range; 1 within. */
  outside: number
  /** Expected loss, nats, at the scale of the evidence: for comparisons, not a forecast of the number. */
  nll: number | null
}

/** Rows of a step of pretraining and of fine-tuning where nobody says. */
const PRETRAIN_ROWS = 32, FINETUNE_ROWS = 8
/** Most passes over a domain before fine-tuning stops early. */
const PASSES = 16

export const METHODS_PLANNED = ['slm', 'slm-is', 'slm-pn', 'slm-mix', 'slm-d', 'slm-nopt', 'llm'] as const satisfies readonly MethodName[]

/** Tokens of fine-tuning on one domain: as experiments on disk did it, or by the rules of the paper, at most 16 passes. */
export function finetuningTokens({ model, domainTokens, evidence }: PlanRequest): number {
  const sizes = [...evidence.passes.keys()].sort((a, b) => Math.abs(Math.log(a / domainTokens)) - Math.abs(Math.log(b / domainTokens)))
  if (sizes.length) return domainTokens * evidence.passes.get(sizes[0]!)!
  return Math.min(finetuneRule(domainTokens, 1).steps * FINETUNE_ROWS * model.context, PASSES * domainTokens)
}

/** A method within the budget: what pretraining gets once fine-tuning is paid, and what to expect of that. */
export function planOf(method: MethodName, request: PlanRequest): MethodPlan {
  const { teacher, domains, flops, evidence } = request, servable = method !== 'llm', model = servable ? request.model : teacher!, tuned = finetuningTokens(request), experts = evidence.clusters[method] ?? request.fallback.clusters[method] ?? null
  const small = countMethod({ method: 'slm', model }), { servedParameters } = small
  const counts = countMethod({ method, model, ...teacher && servable ? { teacher } : {}, ...method === 'slm-pn' ? { projected: projectedConfig(model, { experts: experts! }), rowsPerGroup: Math.max(1, PRETRAIN_ROWS / 8) } : {} })
  const finetuning = tuned * counts.finetuningFlopsPerToken, large = method === 'slm-d' && teacher ? countMethod({ method: 'llm', model: teacher }) : undefined
  const plan = (tokens: number | null, generic: number, specialization: number, affordable: boolean): MethodPlan => ({
    method, servable, affordable, pretrainingTokens: tokens, tokensPerParameter: tokens === null ? null : tokens / servedParameters,
    steps: tokens === null ? null : Math.floor(tokens / (PRETRAIN_ROWS * model.context)), generic, specialization, total: generic + domains * specialization, clusters: experts || null,
    relative: null, bound: false, source: null, outside: 1, nll: null,
  })
  if (method === 'slm-nopt') return plan(null, 0, finetuning, domains * finetuning <= flops)
  if (method === 'slm-is') {
    const left = flops / domains - finetuning
    return plan(Math.max(0, left) / counts.pretrainingFlopsPerToken!, 0, Math.max(left, 0) + finetuning, left > 0)
  }
  // Student and teacher read the same tokens.
  const each = finetuning + (large ? tuned * large.finetuningFlopsPerToken : 0), left = flops - domains * each
  // What a projected network takes beyond its products shows in its measured time only.
  const perToken = Math.max(counts.pretrainingFlopsPerToken!, small.pretrainingFlopsPerToken! * (evidence.timeFactor[method] ?? 0)) + (large?.pretrainingFlopsPerToken ?? 0)
  return plan(Math.max(0, left) / perToken, Math.max(0, left), each, left > 0)
}

/** Expected losses of plans, relative to slm's within the same budget. */
export function withExpectations(plans: readonly MethodPlan[], request: PlanRequest): MethodPlan[] {
  const { evidence, fallback, domainTokens } = request
  const at = (plan: MethodPlan, from: Evidence, method: MethodName = plan.method) => plan.affordable ? expect(from, method, plan.tokensPerParameter ?? 0, domainTokens) : undefined
  const found = plans.map((plan): MethodPlan => {
    const own = at(plan, evidence), plain = at(plan, evidence, 'slm')
    if (own) return { ...plan, nll: own.nll, outside: own.outside, bound: evidence.bounds.has(plan.method), source: evidence.kind }
    // Another scale's lead over its own slm, at as many tokens for each parameter.
    const other = at(plan, fallback), otherPlain = at(plan, fallback, 'slm')
    if (other && otherPlain && plain) return { ...plan, nll: plain.nll + other.nll - otherPlain.nll, outside: Math.max(plain.outside, other.outside), bound: fallback.bounds.has(plan.method), source: fallback.kind }
    // Of distillation the paper says that it does not pay once the teacher is counted: no lead over slm.
    if (plan.method === 'slm-d' && plain) return { ...plan, nll: plain.nll, outside: plain.outside, source: 'paper' }
    return plan
  })
  // However little it was pretrained, a model is not worse than one that begins with nothing: extrapolated curves end there.
  const worst = found.find(({ method }) => method === 'slm-nopt')?.nll ?? Infinity, capped = found.map(plan => plan.nll === null ? plan : { ...plan, nll: Math.min(plan.nll, worst) })
  const plain = capped.find(({ method }) => method === 'slm')?.nll
  return capped.map(plan => plan.nll === null || plain === null || plain === undefined ? plan : { ...plan, relative: Math.exp(plan.nll - plain) })
}

export function allPlans(request: PlanRequest): MethodPlan[] {
  const { teacher, model } = request, larger = teacher && countModel(teacher).parameters > countModel(model).parameters
  return withExpectations(METHODS_PLANNED.filter(method => method === 'slm-d' ? teacher : method === 'llm' ? larger : true).map(method => planOf(method, request)), request)
}
