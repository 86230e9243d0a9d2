import type { Device } from '../../bindings/index.js'
import { drawBatch, evaluationBatches, splitCorpus, uniformSampler, type Corpus } from '../corpus/index.js'
import { openHuggingFace, type Precision } from '../model/index.js'
import { train, type TrainProgress, type TrainResult, type TrainSettings } from '../train/index.js'

export interface FinetuneOptions {
  /** The run's folder; see `train`. */
  folder: string
  device: Device
  precision: Precision
  /** Hugging Face folder of the model to begin with. */
  model: string
  /** The specialization set. */
  corpus: Corpus
  /** Share of it that is not trained on, but says when to stop. */
  validationShare: number
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
  const { corpus, seed, settings, validationShare, identity, model: folder, ...rest } = options
  const model = openHuggingFace(folder)
  const { training, validation } = splitCorpus(corpus, validationShare, seed)
  const draw = uniformSampler(training, seed), length = corpus.manifest.context
  return train({
    ...rest, settings, length, config: model.config, start: { model },
    rows: (first, rows) => drawBatch(corpus, draw, first, { rows, length }),
    validation: () => evaluationBatches(corpus, { rows: settings.batch / settings.accumulate, length, windows: validation }),
    identity: { finetune: identity, seed, validationShare },
  })
}
