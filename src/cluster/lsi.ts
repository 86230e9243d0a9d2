import { lsiFit, LsiEmbedder, type Device, type LsiParameters, type TokenText, type WindowTokens } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { sha256 } from '../base/files.js'
import { SafetensorsFile, writeSafetensors } from '../base/safetensors.js'
import type { Embedder } from './embedder.js'
import { ENGLISH_STOP_WORDS } from './stopWords.js'

export interface LsiOptions {
  /** Dimensions of the vectors; default 128. 64 to 384 are usual. */
  dimensions?: number | undefined
  /** How many words, the most frequent, are told apart; default 50,000. */
  terms?: number | undefined
  /** Words that count for nothing; default English ones. */
  stopWords?: Iterable<string> | undefined
  seed?: number | undefined
}

/**
 * Latent semantic indexing (Deerwester et al. 1990), for which no model is needed: windows as tf-idf weighted words, projected on the
 * leading singular vectors of a sample. The formulas are in native/cluster/lsi.h.
 */
export class Lsi implements Embedder {
  readonly kind = 'lsi'
  readonly dimensions: number
  readonly hash: string
  readonly #parameters: LsiParameters
  readonly #native: LsiEmbedder

  private constructor(parameters: LsiParameters) {
    const { terms, idf, projection } = parameters
    this.dimensions = projection.length / terms.length
    this.hash = sha256(['lsi 1', ...[terms, idf, projection].map((array) => sha256(new Uint8Array(array.buffer, array.byteOffset, array.byteLength)))].join(' '))
    this.#parameters = parameters
    this.#native = new LsiEmbedder(parameters, this.dimensions)
  }

  /** Learns words, weights and projection from a sample of windows. Throws CONFIG for options that cannot be, INPUT if there are no words. */
  static async fit(device: Device, sample: WindowTokens, text: TokenText, options: LsiOptions = {}): Promise<Lsi> {
    const { dimensions = 128, terms = 50000, seed = 0, stopWords } = options
    for (const [field, value, most] of [['dimensions', dimensions, 4096], ['terms', terms, 1e7]] as const)
      if (!Number.isInteger(value) || value < 1 || value > most) throw new NichelmError('CONFIG', `must be an integer from 1 to ${most}; got ${value}`, { place: { field } })
    const words = stopWords ? [...stopWords].join(' ') : ENGLISH_STOP_WORDS
    const { terms: hashes, idf, projection } = await lsiFit(device, sample, text, { dimensions, terms, seed, stopWords: words, iterations: 4, oversampling: 16 })
    return new Lsi({ terms: hashes, idf, projection })
  }

  /** Reads what `save` wrote. Throws INPUT if it is missing, CORRUPT if it is damaged. */
  static open(file: string): Lsi {
    using tensors = new SafetensorsFile(file)
    tensors.verify()
    const shape = tensors.entry('projection').shape, terms = tensors.entry('terms').shape[0]!
    if (tensors.metadata['kind'] !== 'lsi' || tensors.entry('terms').dtype !== 'U32' || shape.length !== 2 || shape[0] !== terms || shape[1] === 0 || tensors.entry('idf').shape[0] !== terms)
      throw new NichelmError('CORRUPT', 'does not hold an lsi embedder', { place: { file }, fix: 'Fit the clusters again.' })
    return new Lsi({
      terms: tensors.read('terms') as Uint32Array,
      idf: tensors.readF32('idf', { finite: true }),
      projection: tensors.readF32('projection', { finite: true }),
    })
  }

  save(file: string): void {
    const { terms, idf, projection } = this.#parameters, count = terms.length
    writeSafetensors(file, [
      { name: 'terms', dtype: 'U32', shape: [count], data: terms as Uint32Array<ArrayBuffer> },
      { name: 'idf', dtype: 'F32', shape: [count], data: idf as Float32Array<ArrayBuffer> },
      { name: 'projection', dtype: 'F32', shape: [count, this.dimensions], data: projection as Float32Array<ArrayBuffer> },
    ], { metadata: { kind: 'lsi' }, checksums: true })
  }

  embed(device: Device, windows: WindowTokens, text: TokenText): Promise<Float32Array<ArrayBuffer>> {
    return this.#native.embed(device, windows, text)
  }

  dispose(): void { this.#native.dispose() }
  [Symbol.dispose](): void { this.dispose() }
}
