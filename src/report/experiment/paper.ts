import type { MethodName } from '../../model/index.js'

/**
 * The figures of the paper: Grangier, Katharopoulos, Ablin, Hannun, "Need a Small Specialized Language Model? Plan Early!", arXiv 2402.01093 v2, 31 October 2024.
 * Perplexities are macro-averages over nine domains of the Pile; costs are hours of an A100. Everything that nichelm quotes of the paper's results is here, and nowhere else.
 */
export const PAPER = {
  source: 'Grangier et al., arXiv 2402.01093 v2',
  device: 'A100',
  /** Sizes of the specialization set, tokens. */
  dataTokens: [1e6, 8e6, 64e6],
  domains: ['arxiv', 'europarl', 'freelaw', 'gutenberg', 'opensubtitles', 'openwebtext2', 'pubmed-abstracts', 'stackexchange', 'wikipedia'],

  /** After the longest pretraining; `before` without fine-tuning, `after` for each size of the specialization set. */
  baselines: [
    { method: 'slm', before: 33.0, after: [18.2, 14.8, 12.0] },
    { method: 'slm-nopt', before: null, after: [227.1, 45.6, 17.6] },
    { method: 'llm', before: 28.1, after: [14.4, 12.5, 10.0] },
  ] as readonly { method: MethodName; before: number | null; after: readonly number[] }[],

  /** At equal cost of generic pretraining, hours. `generic`: perplexity on the generic held-out set. */
  equalCost: [
    { hours: 100, method: 'slm', generic: 20.51, before: 33.74, after: [19.31, 15.61, 12.37] },
    { hours: 100, method: 'slm-mix', generic: 17.13, before: 34.35, after: [19.82, 15.82, 12.62] },
    { hours: 100, method: 'slm-pn', generic: 18.90, before: 33.44, after: [18.57, 15.58, 12.53] },
    { hours: 100, method: 'llm', generic: 17.00, before: 29.22, after: [17.11, 15.49, 11.55] },
    { hours: 400, method: 'slm', generic: 19.17, before: 36.61, after: [18.22, 14.80, 12.00] },
    { hours: 400, method: 'slm-mix', generic: 15.82, before: 31.04, after: [17.56, 14.42, 11.84] },
    { hours: 400, method: 'slm-pn', generic: 16.90, before: 32.54, after: [17.17, 14.48, 11.86] },
    { hours: 400, method: 'llm', generic: 14.54, before: 28.98, after: [15.03, 13.05, 10.28] },
    { hours: 600, method: 'slm-mix', generic: 15.82, before: 31.03, after: [17.18, 14.21, 11.73] },
    { hours: 600, method: 'slm-pn', generic: 16.53, before: 32.53, after: [16.95, 14.29, 11.74] },
    { hours: 600, method: 'llm', generic: 14.09, before: 28.62, after: [14.50, 12.64, 10.07] },
  ] as readonly { hours: number; method: MethodName; generic: number; before: number; after: readonly number[] }[],

  /** Millions of parameters. */
  parameters: [
    { method: 'slm', experts: null, pretraining: 126, served: 126 },
    { method: 'llm', experts: null, pretraining: 771, served: 771 },
    { method: 'slm-mix', experts: 4, pretraining: 504, served: 126 },
    { method: 'slm-mix', experts: 16, pretraining: 2016, served: 126 },
    { method: 'slm-mix', experts: 64, pretraining: 8064, served: 126 },
    { method: 'slm-mix', experts: 256, pretraining: 32256, served: 126 },
    { method: 'slm-pn', experts: 16, pretraining: 756, served: 126 },
    { method: 'slm-pn', experts: 32, pretraining: 1422, served: 126 },
    { method: 'slm-pn', experts: 64, pretraining: 2770, served: 126 },
  ] as readonly { method: MethodName; experts: number | null; pretraining: number; served: number }[],

  /** Hours for a billion tokens: training on generic text, training on the domain, inference. */
  hoursPerBillion: [
    { method: 'slm', generic: 2.2, specialization: 2.2, inference: 0.61 },
    { method: 'slm-mix', generic: 2.2, specialization: 2.2, inference: 0.61 },
    { method: 'slm-pn', generic: 3.6, specialization: 2.2, inference: 0.61 },
    { method: 'slm-is', generic: null, specialization: 2.2, inference: 0.61 },
    { method: 'llm', generic: 7.7, specialization: 7.7, inference: 2.54 },
  ] as readonly { method: MethodName; generic: number | null; specialization: number; inference: number }[],

  /** Ways to choose the expert: the mixture of 64 experts, 1M tokens. */
  choice: { method: 'slm-mix', experts: 64, dataTokens: 1e6, perplexity: { 'frequent': 17.32, 'best-pretrained': 17.05, 'best-finetuned': 16.98 } as Readonly<Record<string, number>> },

  /** Entropy of the generic set's cluster histogram, nats, by the number of clusters. */
  genericEntropy: { 16: 2.73, 64: 4.07, 256: 5.46, 1024: 6.85 } as Readonly<Record<number, number>>,

  /** Clusters of the main results. */
  clusters: { 'slm-is': 1024, 'slm-pn': 32, 'slm-mix': 16 },

  /** Of slm-is, which the paper shows in figures only: with 1,024 clusters the best small model at every size, and with 1M tokens ahead of the llm, for less than so many hours a domain. */
  importanceHours: 130,
  /** Most that low-rank updates lose against all of the llm, perplexity. */
  loraLoss: 0.5,
  /** The two domains spread most over clusters, where slm-pn and slm-mix do not beat slm. */
  broadDomains: ['openwebtext2', 'wikipedia'],
} as const

/** The size of the paper that stands for one of an experiment's: the same, or else the one of the same rank, since experiments in small scale all sizes down. */
export function paperSize(dataTokens: number, sizes: readonly number[]): number | undefined {
  const same = PAPER.dataTokens.findIndex(size => size === dataTokens)
  if (same >= 0) return same
  if (sizes.some(size => (PAPER.dataTokens as readonly number[]).includes(size))) return undefined
  const rank = [...sizes].sort((a, b) => a - b).indexOf(dataTokens)
  return rank >= 0 && rank < PAPER.dataTokens.length ? rank : undefined
}
