import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, readSync, renameSync, rmSync, statSync, writeSync, fstatSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileError, NichelmError, systemCode } from './errors.js'

/**
 * Makes a folder and those above it that are missing. Node's own recursive mkdir never comes back where the system makes no folders in one that is there, as in
 * /proc. Throws INPUT that names the folder that cannot be made, RESOURCE if the disk is full. `told`: the name that an error gives to the folder itself.
 */
export function makeFolder(folder: string, told = folder): void {
  const missing: string[] = [], last = resolve(folder)
  for (let at = last; !isFolder(at); at = dirname(at)) missing.push(at)
  for (const one of missing.reverse())
    try { mkdirSync(one) } catch (error) {
      // Another process may have been faster.
      if (systemCode(error) === 'EEXIST' && isFolder(one)) continue
      const file = one === last ? told : one
      throw systemCode(error) === 'ENOENT' ? new NichelmError('INPUT', 'the system makes no folder here', { place: { file }, fix: 'Name a folder in another place.', cause: error }) : fileError(error, file, 'make')
    }
}

/** Whether it is a folder. Throws INPUT that names it if it is something else, or may not be looked at. */
function isFolder(path: string): boolean {
  try {
    if (statSync(path).isDirectory()) return true
  } catch (error) {
    // Below a file the system says ENOTDIR: the file itself is told when its turn comes.
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return false
    throw fileError(error, path, 'make')
  }
  throw new NichelmError('INPUT', 'is a file, not a folder', { place: { file: path }, fix: 'Name another folder, or move the file.' })
}

/**
 * Writes a file so that it is either whole or not there: to a temporary name beside it, synced, renamed.
 * `parts` are written one after the other. Throws RESOURCE if the disk is full; what stood there before is then untouched.
 */
export function writeFileAtomic(file: string, parts: string | Uint8Array | Iterable<Uint8Array>): void {
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}.tmp`)
  try {
    makeFolder(dirname(file))
    const handle = openSync(temporary, 'w')
    try {
      for (const part of typeof parts === 'string' ? [Buffer.from(parts)] : parts instanceof Uint8Array ? [parts] : parts)
        for (let at = 0; at < part.byteLength;) at += writeSync(handle, part, at, Math.min(part.byteLength - at, 1 << 30))
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    renameSync(temporary, file)
    syncFolder(dirname(file))
  } catch (error) {
    // Below what is no folder there is nothing to remove, and saying so must not hide why.
    try { rmSync(temporary, { force: true }) } catch { /* the first error tells */ }
    throw fileError(error, file, 'write')
  }
}

/** Makes a rename in the folder last through a power cut. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r')
  try { fsyncSync(handle) } finally { closeSync(handle) }
}

export function readText(file: string): string {
  try { return readFileSync(file, 'utf8') } catch (error) { throw fileError(error, file) }
}

/** Parses a JSON file that nichelm or a tool wrote. Throws INPUT with the file's name if it is missing, CORRUPT if it is not JSON. */
export function readJson(file: string): unknown {
  const text = readText(file)
  try { return JSON.parse(text) } catch (error) {
    throw new NichelmError('CORRUPT', `is not valid JSON (${(error as Error).message})`, { place: { file }, fix: 'Name another file, or make this one again.', cause: error })
  }
}

export const writeJson = (file: string, value: unknown): void => writeFileAtomic(file, `${JSON.stringify(value, null, 2)}\n`)

/** A file open for reads of ranges. */
export class RangeFile implements Disposable {
  #handle: number | undefined
  readonly bytes: number
  constructor(readonly file: string) {
    try {
      this.#handle = openSync(file, 'r')
      this.bytes = fstatSync(this.#handle).size
    } catch (error) { throw fileError(error, file) }
  }
  /** Fills `into` from byte `offset`. Throws CORRUPT if the file ends before. */
  read(into: Uint8Array, offset: number): void {
    if (this.#handle === undefined) throw new NichelmError('DISPOSED', 'was closed', { place: { file: this.file } })
    for (let at = 0; at < into.byteLength;) {
      let got: number
      try { got = readSync(this.#handle, into, at, Math.min(into.byteLength - at, 1 << 30), offset + at) } catch (error) { throw fileError(error, this.file) }
      if (got === 0) throw new NichelmError('CORRUPT', `ends at byte ${this.bytes}, but bytes up to ${offset + into.byteLength} are needed`, { place: { file: this.file } })
      at += got
    }
  }
  [Symbol.dispose](): void {
    if (this.#handle !== undefined) closeSync(this.#handle)
    this.#handle = undefined
  }
}

/** SHA-256 of text or bytes, as hexadecimal digits. */
export const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')
