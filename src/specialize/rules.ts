/** Peak rate and most steps of a fine-tuning. */
export interface FinetuneRule { rate: number; steps: number }

/** Of arXiv 2402.01093, section 4: specialization tokens, share of the pretraining rate, most steps. */
const RULES = [
  { tokens: 1e6, share: 1 / 3, steps: 2000 },
  { tokens: 8e6, share: 1, steps: 4000 },
  { tokens: 64e6, share: 1, steps: 30000 },
] as const

/**
 * How to fine-tune on so many tokens of a domain: a third of the pretraining rate for at most 2,000 steps up to 1M tokens, the whole rate for at most 4,000 at
 * 8M, for at most 30,000 from 64M on. Between these sizes rate and steps go as a power of the size, which is a straight line in the logarithms.
 */
export function finetuneRule(tokens: number, pretrainRate: number): FinetuneRule {
  const last = RULES.length - 1, above = RULES.findIndex((rule) => tokens <= rule.tokens)
  if (above <= 0) {
    const { share, steps } = RULES[above < 0 ? last : 0]!
    return { rate: share * pretrainRate, steps }
  }
  const a = RULES[above - 1]!, b = RULES[above]!, along = Math.log(tokens / a.tokens) / Math.log(b.tokens / a.tokens)
  const between = (from: number, to: number): number => from * (to / from) ** along
  return { rate: between(a.share, b.share) * pretrainRate, steps: Math.round(between(a.steps, b.steps)) }
}
