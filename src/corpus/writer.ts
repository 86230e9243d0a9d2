import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { fileError } from '../base/errors.js'

export type BinaryType = 'u16' | 'u32'

const BUFFER_VALUES = 1 << 18

/** Writes little-endian integers to a file, through a buffer, and hashes them as they pass. */
export class BinaryWriter implements Disposable {
  /** Values written so far. */
  values = 0
  readonly #buffer: Uint16Array | Uint32Array
  readonly #hash = createHash('sha256')
  #filled = 0
  #handle: number | undefined

  constructor(readonly file: string, type: BinaryType) {
    this.#buffer = type === 'u16' ? new Uint16Array(BUFFER_VALUES) : new Uint32Array(BUFFER_VALUES)
    try { this.#handle = openSync(file, 'wx') } catch (error) { throw fileError(error, file, 'write') }
  }

  write(values: ArrayLike<number>): void {
    for (let at = 0; at < values.length;) {
      const count = Math.min(values.length - at, BUFFER_VALUES - this.#filled)
      for (let i = 0; i < count; i++) this.#buffer[this.#filled + i] = values[at + i]!
      this.#filled += count
      at += count
      if (this.#filled === BUFFER_VALUES) this.#flush()
    }
    this.values += values.length
  }

  /** Writes the rest, syncs and closes. Gives the SHA-256 of the file. */
  end(): string {
    this.#flush()
    try { if (this.#handle !== undefined) fsyncSync(this.#handle) } catch (error) { throw fileError(error, this.file, 'write') }
    this[Symbol.dispose]()
    return this.#hash.digest('hex')
  }

  #flush(): void {
    const bytes = new Uint8Array(this.#buffer.buffer, 0, this.#filled * this.#buffer.BYTES_PER_ELEMENT)
    this.#filled = 0
    this.#hash.update(bytes)
    try {
      for (let at = 0; at < bytes.byteLength;) at += writeSync(this.#handle!, bytes, at)
    } catch (error) { throw fileError(error, this.file, 'write') }
  }

  [Symbol.dispose](): void {
    if (this.#handle !== undefined) closeSync(this.#handle)
    this.#handle = undefined
  }
}
