import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { fileError, NichelmError } from '../base/errors.js'
import { readJson, writeJson } from '../base/files.js'

interface Known { bytes: number; modified: number; sha256: string }

/**
 * SHA-256 of input files, remembered by path, size and time of change, so that a large file is read once only.
 *
 * A stage depends on the content: a copy, a fresh clone or a touched file does not make it run again.
 */
export class Fingerprints {
  readonly #known: Map<string, Known>
  #changed = false

  /** `file`: where the hashes are remembered; lost or damaged, they are computed again. */
  constructor(readonly file: string) {
    let stored: unknown
    try { stored = readJson(file) } catch { stored = {} }
    this.#known = new Map(Object.entries(stored as Record<string, Known>))
  }

  async of(path: string): Promise<string> {
    let bytes: number, modified: number
    try { ({ size: bytes, mtimeMs: modified } = statSync(path)) } catch (error) { throw fileError(error, path) }
    const known = this.#known.get(path)
    if (known?.bytes === bytes && known.modified === modified) return known.sha256
    const hash = createHash('sha256')
    try { for await (const part of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(part as Buffer) } catch (error) { throw fileError(error, path) }
    const sha256 = hash.digest('hex')
    // A file that changes while it is read has no fingerprint.
    const after = statSync(path)
    if (after.size !== bytes || after.mtimeMs !== modified) throw new NichelmError('INPUT', 'changed while it was read', { place: { file: path }, fix: 'Run again when nothing writes to it.' })
    this.#known.set(path, { bytes, modified, sha256 })
    this.#changed = true
    return sha256
  }

  save(): void {
    if (this.#changed) writeJson(this.file, Object.fromEntries([...this.#known].sort(([a], [b]) => a < b ? -1 : 1)))
    this.#changed = false
  }
}
