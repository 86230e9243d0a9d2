import type { Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { permuted, streamKey } from '../base/random.js'
import type { Corpus } from '../corpus/index.js'
import { evaluateCorpus, evaluateProjected } from '../evaluate/index.js'
import { openProjected, type Precision } from '../model/index.js'
import { deviceName, noCosts, type Costs } from '../train/index.js'

/**
 * Ways of choosing the expert that is fine-tuned, cheapest first: those of arXiv 2402.01093, section 3.4, and of a projected network the mean of all experts'
 * vectors by the domain's histogram, which serves a domain of many clusters (the soup of arXiv 2502.01804).
 */
export const EXPERT_CHOICES = ['frequent', 'mean', 'best-pretrained', 'best-finetuned'] as const
export type ExpertChoice = (typeof EXPERT_CHOICES)[number]

/** The pretrained experts: those of a projected network, or models of a mixture, by cluster. */
export type Experts = { projected: string } | { mixture: ReadonlyMap<number, string> }

export interface ChooseOptions {
  device: Device
  precision: Precision
  experts: Experts
  /** Experts to choose among; default all there are. */
  among?: readonly number[] | undefined
  /** The specialization set; only what may be trained on is looked at: `windows`. */
  corpus: Corpus
  windows?: ArrayLike<number> | undefined
  /** Windows that every expert is tried on at most, drawn at random; default 256. */
  sample?: number | undefined
  seed: number
  signal?: AbortSignal
}

export interface Choice {
  expert: number
  /** Mean negative log-likelihood of the sample by each expert that was tried, nats a token. */
  losses: { expert: number; nll: number }[]
  /** What trying them took. */
  costs: Costs
}

/**
 * Chooses the pretrained expert with the lowest loss on the specialization set before fine-tuning; of several, the first.
 * Throws USAGE if an expert is asked for that was not trained, INPUT if there is none at all or nothing to try them on.
 */
export async function chooseBestPretrained(options: ChooseOptions): Promise<Choice> {
  const { device, precision, experts, corpus, seed, sample = 256, signal } = options
  const projected = 'projected' in experts ? openProjected(experts.projected) : undefined
  const there = 'mixture' in experts ? [...experts.mixture.keys()].sort((a, b) => a - b) : Array.from({ length: projected!.projected.experts }, (_, expert) => expert)
  const among = options.among ?? there
  for (const expert of among)
    if (!there.includes(expert)) throw new NichelmError('USAGE', `expert ${expert} was not trained; there are ${there.join(', ') || 'none'}`, { fix: 'Train it first, or choose among those that are there.' })
  const windows = sampleOf(options.windows ?? Array.from({ length: corpus.windows }, (_, i) => i), sample, seed)
  if (!among.length || !windows.length) throw new NichelmError('INPUT', among.length ? 'there are no windows to try the experts on' : 'there are no experts to choose among', { place: { file: corpus.folder } })
  const began = performance.now(), losses: Choice['losses'] = []
  let flops = 0
  for (const expert of among) {
    const found = projected
      ? await evaluateProjected({ device, precision, model: projected, corpus, experts: expert, windows, ...(signal ? { signal } : {}) })
      : await evaluateCorpus(corpus, { device, precision, model: (experts as { mixture: ReadonlyMap<number, string> }).mixture.get(expert)!, windows, ...(signal ? { signal } : {}) })
    losses.push({ expert, nll: found.nll })
    flops += found.flops
  }
  const best = losses.reduce((a, b) => (b.nll < a.nll ? b : a))
  if (!Number.isFinite(best.nll)) throw new NichelmError('DIVERGED', `expert ${best.expert} gives a loss of ${best.nll}`)
  return { expert: best.expert, losses, costs: { ...noCosts(deviceName(device.describe())), flops, deviceHours: (performance.now() - began) / 3.6e6 } }
}

/** Distinct windows in ascending order. */
function sampleOf(windows: ArrayLike<number>, sample: number, seed: number): number[] {
  const count = Math.min(windows.length, sample), key = streamKey(seed, 'windows to try experts on')
  return Array.from({ length: count }, (_, i) => windows[permuted(key, windows.length, i)]!).sort((a, b) => a - b)
}
