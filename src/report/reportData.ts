/** What a report shows: plain data, as it is stored in report.json. Losses and entropies are in nats. */
export interface Report {
  title: string
  /** What was done, in a sentence or two. */
  description?: string
  /** When it was made, ISO 8601. */
  date: string
  /** Device, processor, threads, memory, versions, ...: shown as they are. */
  machine: Record<string, Setting>
  /** What was trained with, such as the resolved recipe. */
  settings: Record<string, Setting>
  results: ReportResult[]
  runs: ReportRun[]
  sampling: SamplingFacts[]
  /** What a reader must know, such as a warning. */
  notes?: string[]
}
export type Setting = string | number | boolean | null | undefined | Setting[] | { [key: string]: Setting }

/** One method on one domain. */
export interface ReportResult {
  method: string
  domain: string
  /** On the domain's held-out set, after generic pretraining alone; missing for a method without pretraining. */
  before?: Quality
  /** After fine-tuning on the domain. */
  after?: Quality
  /** On the generic held-out set, before fine-tuning. */
  generic?: Quality
  /** Parameters of the model that is served. */
  parameters: number
  /** `shared`: one pretraining serves all domains. */
  pretraining?: Cost & { shared: boolean }
  specialization?: Cost
}
/** Mean loss a token in nats, its exponential, and bits a byte of text. */
export interface Quality { loss: number; perplexity: number; bitsPerByte: number }
export interface Cost { tokens: number; deviceHours: number; flops: number }

/** One training run. */
export interface ReportRun {
  name: string
  method: string
  /** The domain that it was fine-tuned on, or pretrained for. */
  domain?: string
  stage: 'pretraining' | 'fine-tuning'
  points: LossPoint[]
}
/** Mean loss a token, in nats, after so many tokens of this run. */
export interface LossPoint { step: number; tokens: number; loss: number; kind: 'train' | 'validation' }

/** How the generic set was resampled for a domain. */
export interface SamplingFacts {
  domain: string
  clusters: number
  genericEntropy: number
  domainEntropy: number
  /** Kullback-Leibler divergence of the domain's histogram from the generic one, in nats. */
  divergence: number
  /** Of the importance weights over the generic windows: (sum w)^2 / sum w^2. */
  effectiveSampleSize: number
  genericWindows: number
  /** Share of the domain's windows in its most frequent cluster. */
  topFraction: number
  /** How often the most repeated window is drawn. */
  mostRepeats: number
  /** Share of the domain that lies in clusters without generic windows, and was moved to the others. */
  movedFraction: number
  /** Fraction of the windows in each cluster; both of length `clusters`. */
  genericHistogram: readonly number[]
  domainHistogram: readonly number[]
}

/** The rows of the results in the order of domains and methods as they first appear, and the best value of each column and domain. */
export function byDomain(results: readonly ReportResult[]): { domain: string; rows: ReportResult[] }[] {
  const groups = new Map<string, ReportResult[]>()
  for (const result of results) groups.set(result.domain, [...groups.get(result.domain) ?? [], result])
  return [...groups].map(([domain, rows]) => ({ domain, rows }))
}

/** Tokens, device hours and FLOPs of both stages together. */
export function totalCost({ pretraining, specialization }: ReportResult): Cost {
  const sum = (field: keyof Cost): number => (pretraining?.[field] ?? 0) + (specialization?.[field] ?? 0)
  return { tokens: sum('tokens'), deviceHours: sum('deviceHours'), flops: sum('flops') }
}

/** Exponentially weighted mean of the losses, free of the bias of its start, then thinned to at most `limit` points by the last of each piece. */
export function smoothed(points: readonly LossPoint[], limit = 300): LossPoint[] {
  const decay = 1 - 1 / Math.max(1, points.length / 50)
  let sum = 0, weight = 0
  const means = points.map(point => {
    if (Number.isFinite(point.loss)) {
      sum = decay * sum + (1 - decay) * point.loss
      weight = decay * weight + (1 - decay)
    }
    return { ...point, loss: sum / weight }
  }).filter(point => Number.isFinite(point.loss))
  if (means.length <= limit) return means
  return Array.from({ length: limit }, (_, i) => means[Math.floor((i + 1) * means.length / limit) - 1]!)
}
