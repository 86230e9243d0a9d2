import type { HostRows, ModelSession } from '../model/index.js'

/** Rows to evaluate on, with the text that their tokens stand for. */
export interface EvaluationRows extends HostRows { tokenCount: number; textBytes: number }

export interface Likelihood {
  /** Mean negative log-likelihood of a target, nats. */
  nll: number
  perplexity: number
  /** Mean bits for a byte of text: nll / ln 2 · tokens / bytes. Comparable between tokenizers; NaN if the text's size is not known. */
  bitsPerByte: number
  /** Targets that were scored. */
  targets: number
  /** FLOPs of the forward passes, by formula. */
  flops: number
}

/** Scores every target once. Sums are in double and in order, so the result does not depend on how rows are batched, but for rounding in kernels. */
export async function likelihood(session: ModelSession, batches: Iterable<EvaluationRows>, signal?: AbortSignal): Promise<Likelihood> {
  let sum = 0, targets = 0, tokens = 0, bytes = 0, flops = 0
  for (const batch of batches) {
    signal?.throwIfAborted()
    for (const value of await session.evaluate(batch)) sum += value
    for (const weight of batch.weights) if (weight) targets++
    tokens += batch.tokenCount
    bytes += batch.textBytes
    flops += session.forwardFlops
  }
  const nll = sum / targets
  return { nll, perplexity: Math.exp(nll), bitsPerByte: bytes ? (nll / Math.LN2) * (tokens / bytes) : NaN, targets, flops }
}
