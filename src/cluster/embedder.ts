import type { Device, TokenText, WindowTokens } from '../../bindings/index.js'

/** Makes vectors of windows, so that windows about the same things are near each other. Learned once, then fixed. */
export interface Embedder extends Disposable {
  /** The kind, as recipes name it. */
  readonly kind: string
  readonly dimensions: number
  /** Changes whenever the embedder would give other vectors. */
  readonly hash: string
  /** Vectors of length 1, [windows, dimensions]. `text` is what the windows' tokens stand for. */
  embed(device: Device, windows: WindowTokens, text: TokenText): Promise<Float32Array<ArrayBuffer>>
  /** Writes what `open` of its kind reads. */
  save(file: string): void
}
