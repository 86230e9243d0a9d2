import type { Device } from './device.js'
import { call } from './native.js'

/** Windows by their tokens, one behind the other. */
export interface WindowTokens { tokens: Uint32Array; lengths: Uint32Array }

/** The bytes of text that tokens stand for: token t is bytes[offsets[t]] .. bytes[offsets[t + 1] - 1]. */
export interface TokenText { bytes: Uint8Array; offsets: Uint32Array }

export interface LsiFitOptions {
  dimensions: number
  /** Most words that are told apart. */
  terms: number
  /** Of the subspace that the decomposition is found in. */
  iterations: number
  /** Directions that are followed beyond `dimensions`. */
  oversampling: number
  seed: number
  /** Words that count for nothing, separated by blanks. */
  stopWords: string
}

/** What latent semantic indexing has learned. */
export interface LsiParameters {
  /** Hashes of the words, ascending. */
  terms: Uint32Array
  /** Inverse document frequency of each. */
  idf: Float32Array
  /** [terms, dimensions] */
  projection: Float32Array
}

/** Learns from windows, off the event loop. Throws INPUT if they hold no words. */
export const lsiFit = (device: Device, windows: WindowTokens, text: TokenText, options: LsiFitOptions): Promise<LsiParameters & { singular: Float64Array }> =>
  call('lsiFit', device.native, windows.tokens, windows.lengths, text.bytes, text.offsets, options)

/** Latent semantic indexing, ready to embed. */
export class LsiEmbedder implements Disposable {
  readonly #native: object
  constructor({ terms, idf, projection }: LsiParameters, dimensions: number) { this.#native = call('lsiCreate', terms, idf, projection, dimensions) }
  /** [windows, dimensions], rows of length 1 (0 for a window that has none of the words), off the event loop. Throws USAGE for a token that `text` does not have. */
  embed(device: Device, windows: WindowTokens, text: TokenText): Promise<Float32Array<ArrayBuffer>> {
    return call('lsiEmbed', device.native, this.#native, windows.tokens, windows.lengths, text.bytes, text.offsets)
  }
  /** Frees the memory now. Use after this throws DISPOSED. */
  dispose(): void { call('lsiDispose', this.#native) }
  [Symbol.dispose](): void { this.dispose() }
}

export interface KmeansOptions {
  clusters: number
  seed: number
  /** At most; default 100. */
  iterations?: number
  /** Stops when the centres' summed squared moves are under this share of the mean variance of a column; default 1e-4. */
  tolerance?: number
  /** Starts, of which the best is kept; default 1. */
  restarts?: number
}

export interface Kmeans {
  /** [clusters, width] */
  centroids: Float32Array<ArrayBuffer>
  /** Each row's nearest centroid. */
  labels: Int32Array
  /** Sum of squared distances to them. */
  inertia: number
  iterations: number
  /** Clusters that fell empty on the way and were begun anew. */
  reseeded: number
}

/** k-means of rows [count, width], off the event loop. Throws USAGE if there are fewer rows than clusters, INPUT if values are not finite. */
export const kmeansFit = (device: Device, rows: Float32Array, width: number, options: KmeansOptions): Promise<Kmeans> =>
  call('kmeansFit', device.native, rows, width, { iterations: 100, tolerance: 1e-4, restarts: 1, ...options })

/** The centroid nearest to each row, and the squared distance to it, off the event loop. */
export const kmeansNearest = (device: Device, rows: Float32Array, width: number, centroids: Float32Array): Promise<{ labels: Int32Array; distances: Float32Array }> =>
  call('kmeansNearest', device.native, rows, width, centroids)
