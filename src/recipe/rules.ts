import { finetuneRule, type FinetuneRule } from '../specialize/index.js'

interface Given {
  rate?: number | undefined
  steps?: number | undefined
  /** Other values for domains of at least so many tokens. */
  bySize?: readonly { tokens: number; rate?: number | undefined; steps?: number | undefined }[]
}

/** Rate and most steps of fine-tuning on a domain of so many tokens: what is given for its size, what is given, or by rule from the rate of pretraining. */
export function finetuneLength(tokens: number, baseRate: number, { rate, steps, bySize = [] }: Given): FinetuneRule {
  const rule = finetuneRule(tokens, baseRate), forSize = [...bySize].sort((a, b) => a.tokens - b.tokens).filter(one => tokens >= one.tokens)
  return {
    rate: forSize.findLast(one => one.rate !== undefined)?.rate ?? rate ?? rule.rate,
    steps: forSize.findLast(one => one.steps !== undefined)?.steps ?? steps ?? rule.steps,
  }
}
