import type { Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { streamKey, uniform } from '../base/random.js'
import { drawBatch, evaluationBatches, splitCorpus, uniformSampler, type Corpus, type DrawWindow, type WindowReader } from '../corpus/index.js'
import { openHuggingFace, type LoraConfig, type ModelConfig, type Precision } from '../model/index.js'
import { train, type TrainOptions, type TrainProgress, type TrainResult, type TrainSettings } from '../train/index.js'
import { Teaching, type Distillation } from './distill.js'

export interface FinetuneOptions {
  /** The run's folder; see `train`. */
  folder: string
  device: Device
  precision: Precision
  /** Hugging Face folder of the model to begin with, or for slm-nopt the configuration of one that starts at random. */
  model: string | ModelConfig
  /** The specialization set. */
  corpus: Corpus
  /** Share of it that is not trained on, but says when to stop. */
  validationShare: number
  /** Generic text that is mixed in against forgetting: so large a share of the rows (arXiv 2502.06042). */
  replay?: { corpus: Corpus; share: number }
  /** llm-lora: the model stays frozen, these adapters are trained; the result has them merged. */
  lora?: LoraConfig
  /** slm-d: the model learns from a teacher's next-token distributions as well; what is known of the teacher is in the run's teacher.json. */
  distill?: Distillation
  settings: TrainSettings & { patience: number }
  seed: number
  /** Identifies the model and the corpus: a folder that holds another run is refused. */
  identity: unknown
  endOfText?: number
  signal?: AbortSignal
  onProgress?: (progress: TrainProgress) => void
}

/**
 * Fine-tunes a model on a domain, with early stopping on a part of the domain that is set apart, and keeps the best.
 * Rows are as long as the corpus's windows. Never gives back a model that is worse on that part than the one it began with.
 */
export async function finetune(options: FinetuneOptions): Promise<TrainResult> {
  const { corpus, seed, settings, validationShare, identity, model: from, lora, replay, distill, ...rest } = options
  const start: TrainOptions['start'] = typeof from === 'string' ? { model: openHuggingFace(from), ...(lora ? { seed } : {}) } : { seed }
  if (typeof from !== 'string' && lora) throw new NichelmError('CONFIG', 'LoRA needs a model to adapt', { place: { field: 'lora' } })
  if (distill?.cache && replay?.share) throw new NichelmError('CONFIG', "generic text cannot be mixed in where the teacher's distributions are cached: they are of the domain alone", { place: { field: 'replay' }, fix: 'Let the teacher compute along, without a cache.' })
  const { training, validation } = splitCorpus(corpus, validationShare, seed)
  const length = corpus.manifest.context, { reader, draw } = rowSource(corpus, training, replay, seed)
  const config = typeof from === 'string' ? start.model!.config : from, rowsAtOnce = settings.batch / settings.accumulate
  using teaching = distill && new Teaching({ ...rest, distillation: distill, student: config, corpus, rows: rowsAtOnce, length })
  return await train({
    ...rest, settings, length, start, config, ...(teaching ? { distill: teaching.options, prepare: () => teaching.prepare(rest.folder) } : {}),
    ...(lora ? { network: { kind: 'lora' as const, lora } } : {}),
    rows: (first, rows) => (teaching ? teaching.rows(reader, draw, first, rows) : drawBatch(reader, draw, first, { rows, length })),
    validation: () => evaluationBatches(corpus, { rows: rowsAtOnce, length, windows: validation }),
    identity: { finetune: identity, seed, validationShare, ...(replay ? { replay: { share: replay.share, corpus: replay.corpus.hash } } : {}), ...(teaching ? { teacher: teaching.hash, probabilities: distill?.cache ? (distill.cache.probabilities ?? 'f16') : null } : {}) },
  })
}

/** Rows of the domain, and among them rows of generic text; the windows of the generic corpus are numbered behind the domain's. */
function rowSource(corpus: Corpus, training: ArrayLike<number>, replay: FinetuneOptions['replay'], seed: number): { reader: WindowReader; draw: DrawWindow } {
  const own = uniformSampler(training, seed)
  if (!replay || replay.share === 0) return { reader: corpus, draw: own }
  const { share, corpus: generic } = replay
  if (!(share > 0 && share < 1)) throw new NichelmError('CONFIG', `must be at least 0 and below 1; got ${share}`, { place: { field: 'replay' } })
  const key = streamKey(seed, 'replay rows'), other = uniformSampler(generic.windows, seed)
  return {
    reader: { readWindow: (index, into, at, most) => (index < corpus.windows ? corpus.readWindow(index, into, at, most) : generic.readWindow(index - corpus.windows, into, at, most)) },
    draw: (row, nth) => (uniform(key, row, 0) < share ? corpus.windows + other(row, nth) : own(row, nth)),
  }
}
