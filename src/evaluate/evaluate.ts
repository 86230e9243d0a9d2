import type { Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { evaluationBatches, type Corpus } from '../corpus/index.js'
import { ModelSession, openHuggingFace, type HostRows, type Precision, type StoredModel } from '../model/index.js'
import { likelihood, type Likelihood } from '../train/index.js'

export interface EvaluateOptions { device: Device; precision: Precision; model: StoredModel | string; signal?: AbortSignal }

async function withSession<Result>(options: EvaluateOptions, shape: { rows: number; length: number; logits?: boolean }, body: (session: ModelSession) => Promise<Result>): Promise<Result> {
  const model = typeof options.model === 'string' ? openHuggingFace(options.model) : options.model
  const { context } = model.config
  if (shape.length > context) throw new NichelmError('INPUT', `rows of ${shape.length} tokens are longer than the model's context of ${context}`, { fix: `Use rows of at most ${context} tokens.` })
  using session = new ModelSession(options.device, { config: model.config, precision: options.precision, ...shape })
  for (const { name, values } of model.parameters()) session.write('values', name, values)
  await session.refresh()
  return await body(session)
}

/**
 * Perplexity and bits per byte of a model on a corpus's windows (all, if not told which), each seen alone.
 * `rows`: how many rows are computed at once.
 */
export async function evaluateCorpus(corpus: Corpus, options: EvaluateOptions & { rows?: number; windows?: ArrayLike<number> | undefined }): Promise<Likelihood> {
  const length = corpus.manifest.context, rows = options.rows ?? Math.max(1, Math.floor(8192 / length))
  return withSession(options, { rows, length }, (session) => likelihood(session, evaluationBatches(corpus, { rows, length, windows: options.windows }), options.signal))
}

/** Raw token ids, row-major [rows, length]; each row is one document. */
export interface TokenRows { rows: number; length: number; ids: ArrayLike<number | bigint> }

/**
 * Next-token loss of a model on rows of token ids, each row one document of length - 1 targets. `onLogits` receives the logits of each row
 * in order, [length, vocabulary] f32.
 */
export async function evaluateTokens(tokens: TokenRows, options: EvaluateOptions & { onLogits?: (row: number, logits: Float32Array<ArrayBuffer>) => void }): Promise<Likelihood> {
  const { rows: total, length } = tokens
  if (total < 1 || length < 2) throw new NichelmError('INPUT', `there must be at least one row of two tokens; got ${total} of ${length}`)
  const rows = Math.min(total, options.onLogits ? 1 : Math.max(1, Math.floor(8192 / length)))
  return withSession(options, { rows, length, logits: options.onLogits !== undefined }, async (session) => {
    const batches = rowBatches(tokens, rows)
    const result = await likelihood(session, batches, options.signal)
    if (options.onLogits) for (let row = 0; row < total; row++) options.onLogits(row, await session.logits(batches[row]!))
    return result
  })
}

function rowBatches({ rows: total, length, ids }: TokenRows, rows: number): (HostRows & { tokenCount: number; textBytes: number })[] {
  return Array.from({ length: Math.ceil(total / rows) }, (_, batch) => {
    const first = batch * rows, count = Math.min(rows, total - first), size = rows * length
    const tokens = new Int32Array(size), targets = new Int32Array(size), weights = new Float32Array(size)
    for (let i = 0; i < count * length; i++) {
      tokens[i] = Number(ids[first * length + i])
      if ((i + 1) % length) { targets[i] = Number(ids[first * length + i + 1]); weights[i] = 1 }
    }
    return { rows, length, tokens, targets, weights, starts: new Int32Array(size), tokenCount: count * length, textBytes: 0 }
  })
}
