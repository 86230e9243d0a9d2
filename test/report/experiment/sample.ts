import { parseResults, type Cell, type ExperimentResults } from '../../../src/report/experiment/results.js'

const DOMAINS = ['arxiv', 'freelaw', 'gutenberg', 'news', 'opensubtitles', 'parliament', 'pubmed', 'stackexchange', 'wikipedia']
const DEVICE = 'AMD EPYC 9004, 2 threads, avx512bf16'
/** FLOPs of a training token and tokens a second: a small and a large model. */
const SMALL = { flops: 3.1e6, hours: 1 / (40_000 * 3600), parameters: 387_456 }, LARGE = { flops: 1.6e7, hours: 1 / (11_000 * 3600), parameters: 2_300_000 }

type Method = Cell['method']

export interface SampleOptions { domains?: readonly string[]; sizes?: readonly number[]; budgets?: readonly number[]; seed?: number }

/**
 * Results of an experiment with curves of the usual form: loss falls with the logarithm of pretraining, fine-tuning and data, and methods differ as in the paper.
 * Nothing random: the same call gives the same numbers.
 */
export function sampleResults({ domains = DOMAINS, sizes = [100_000, 400_000], budgets = [1e6, 2e6, 4e6, 8e6], seed = 1 }: SampleOptions = {}): ExperimentResults {
  const cells: Cell[] = []
  const quality = (nll: number) => ({ nll, perplexity: Math.exp(nll), bitsPerByte: nll / Math.LN2 / 3.4, targets: 40_000 })
  const costs = (model: typeof SMALL, tokens: number, factor = 1) => ({ tokens, flops: tokens * model.flops * factor, deviceHours: tokens * model.hours * factor, device: DEVICE })
  const none = { tokens: 0, flops: 0, deviceHours: 0, device: DEVICE }
  const add = (...all: (typeof none)[]) => all.reduce((a, b) => ({ tokens: a.tokens + b.tokens, flops: a.flops + b.flops, deviceHours: a.deviceHours + b.deviceHours, device: DEVICE }), none)
  interface Case { method: Method; budget: number | null; size: number; clusters?: number; experts?: number; choice?: Cell['choice']; settings?: Record<string, unknown> }
  const push = ({ method, budget, size, clusters, experts, choice, settings }: Case): void => {
    domains.forEach((domain, i) => {
      const large = method === 'llm' || method === 'llm-lora', model = large ? LARGE : SMALL, broad = i / domains.length
      const start = 4.6 + 0.12 * i - (large ? 0.17 : 0), pretrained = budget === null ? 8 : start - 0.14 * Math.log2(budget / 1e6)
      const less = { 'slm': 0, 'slm-is': 0.30 - 0.15 * broad + 0.012 * Math.log2((clusters ?? 64) / 64), 'slm-pn': 0.10 - 0.09 * broad, 'slm-mix': 0.09 - 0.1 * broad - 0.1 / Math.log2((budget ?? 2) / 5e5), 'slm-d': 0, 'slm-nopt': 0, 'llm': 0, 'llm-lora': 0 }[method]
      const choosing = { 'frequent': 0, 'mean': 0.005, 'best-pretrained': 0.01, 'best-finetuned': 0.015 }[choice ?? 'frequent']
      const before = pretrained - less - choosing
      const tuned = method === 'slm-nopt' ? 6.2 - 0.55 * Math.log2(size / 1e5) + 0.05 * i : before - 0.75 - 0.11 * Math.log2(size / 1e5) + 0.4 * less * (1 + 0.3 * Math.log2(size / 1e5)) - (method === 'slm-d' ? 0.02 : 0) + (method === 'llm-lora' ? 0.015 : 0)
      const factor = method === 'slm-pn' ? 1.2 : 1, pretraining = budget === null ? none : costs(model, budget, factor)
      const finetuning = costs(model, 8 * size, method === 'slm-d' ? 2 : method === 'llm-lora' ? 0.7 : 1)
      const choose = choice === 'best-finetuned' ? costs(model, 8 * size * ((experts ?? 1) - 1)) : choice === 'best-pretrained' ? costs(model, size * (experts ?? 1), 1 / 3) : none
      const teacher = method === 'slm-d' ? { generic: costs(LARGE, 8e6), specialization: costs(LARGE, 8 * size) } : undefined
      const parts = { finetuning, ...method === 'slm-is' ? { pretraining } : {}, ...choice ? { choice: choose } : {}, ...teacher ? { teacher: teacher.specialization } : {} }
      cells.push({
        id: [method, domain, size, budget, clusters, experts, choice].filter(value => value !== undefined && value !== null).join('-'), method, domain, dataTokens: size, budgetTokens: budget,
        clusters: clusters ?? null, experts: experts ?? null, choice: choice ?? null, expert: experts ? i % experts : null, seed,
        settings: { rate: 2e-3, finetuneSteps: 300 + 10 * i, ...settings }, parameters: { pretraining: budget === null ? null : experts ? model.parameters * (method === 'slm-mix' ? experts : 4) : model.parameters, served: model.parameters }, servedFlopsPerToken: model.flops / 3,
        before: budget === null ? null : quality(before), after: quality(tuned), generic: budget === null ? null : quality((large ? 4.55 : 4.75) - 0.13 * Math.log2(budget / 1e6) - (method === 'slm-pn' ? 0.06 : method === 'slm-mix' ? 0.12 : method === 'slm-is' ? -0.4 : 0)),
        cost: { generic: method === 'slm-is' || budget === null ? none : teacher ? { ...add(pretraining, teacher.generic), parts: { pretraining, teacher: teacher.generic } } : pretraining, specialization: { ...add(...Object.values(parts)), parts } },
        curve: Array.from({ length: 8 }, (_, at) => ({ step: 40 * at, tokens: size * at, nll: tuned + 0.05 + (before - tuned) * Math.exp(-at / 1.5) })),
      })
    })
  }
  const last = budgets.at(-1)!
  for (const size of sizes) {
    for (const budget of budgets) {
      for (const method of ['slm', 'llm'] as const) push({ method, budget, size })
      push({ method: 'slm-is', budget, size, clusters: 64 })
      for (const method of ['slm-pn', 'slm-mix'] as const) push({ method, budget, size, experts: 16, choice: 'frequent' })
    }
    for (const budget of budgets.slice(-2)) push({ method: 'slm-d', budget, size, settings: { alpha: 0.9, temperature: 2 } })
    push({ method: 'slm-nopt', budget: null, size })
    push({ method: 'llm-lora', budget: last, size, settings: { rank: 64 } })
    for (const clusters of [16, 256]) push({ method: 'slm-is', budget: last, size, clusters })
    push({ method: 'slm-pn', budget: last, size, experts: 4, choice: 'frequent' })
    for (const choice of ['best-pretrained', 'best-finetuned'] as const) for (const method of ['slm-pn', 'slm-mix'] as const) push({ method, budget: last, size, experts: 16, choice })
  }
  return parseResults({
    experiment: { name: 'The paper in small', description: 'Every method of arXiv 2402.01093 on nine domains, with a small model short of capacity.', model: { preset: 'pico', layers: 2, width: 64 }, budgets, data: sizes, seed },
    machine: { device: DEVICE, memory: '8 GiB', node: 'v22' }, date: '2026-11-23T21:00:00.000Z', cells,
    clusterings: [16, 64, 256].map(clusters => ({
      clusters, genericEntropy: 0.97 * Math.log(clusters),
      domains: domains.map((domain, i) => ({ domain, entropy: (0.35 + 0.055 * i) * Math.log(clusters), topCluster: i % clusters, topFraction: (0.8 - 0.06 * i) / Math.log2(clusters / 4) })),
    })),
  })
}

/** As an experiment short of time has them: the longest budget on all domains, smaller ones and ablations on some, one way of choosing on one, the mixture also for longer. */
export function partialResults(): ExperimentResults {
  const whole = sampleResults({ budgets: [2e6, 4e6, 8e6] }), some = ['freelaw', 'opensubtitles', 'pubmed']
  const kept = ({ method, domain, dataTokens, budgetTokens, clusters, experts, choice }: Cell): boolean => {
    if (experts === 4 || choice === 'best-finetuned' && domain !== 'pubmed') return false
    if (budgetTokens !== null && budgetTokens < 8e6) return ['slm', 'slm-pn', 'llm'].includes(method) && dataTokens === 100_000 && some.includes(domain)
    if (clusters !== null && clusters !== 64) return dataTokens === 100_000 && some.includes(domain)
    return dataTokens === 100_000 || !['llm', 'slm-d', 'llm-lora'].includes(method) || method !== 'llm-lora' && some.includes(domain)
  }
  const longer = sampleResults({ budgets: [32e6], sizes: [100_000] }).cells.filter(({ method, experts, choice }) => method === 'slm-mix' && experts === 16 && choice === 'frequent')
  return { ...whole, cells: [...whole.cells.filter(kept), ...longer] }
}
