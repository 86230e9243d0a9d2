import { statSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, NichelmError } from '../base/errors.js'
import { RangeFile } from '../base/files.js'
import { corpusHash, readManifest, RECORD_BYTES, RECORD_FIELDS, tokenBytes, WINDOWS_FILE, type Manifest } from './manifest.js'
import { verifyFiles } from './verify.js'

/** Where a window lies, and what it is. Offset and length in tokens. */
export interface WindowRecord { shard: number; offset: number; length: number; document: number; textBytes: number }

/** Consecutive or chosen windows, their tokens one behind the other. */
export interface WindowTokens { tokens: Uint32Array; lengths: Uint32Array }

/** Up to this many bytes a corpus is hashed whenever it is opened: some hundredths of a second. */
const VERIFY_AT_OPEN = 64 * 2 ** 20
/** Shards held open at once: a large corpus has more of them than a process may open. */
const OPEN_SHARDS = 256

export interface OpenOptions {
  /** What the corpus must have been built with: a tokenizer's hash. */
  tokenizer?: string | undefined
  /** Whether checksums are compared now; by default where the corpus has 64 MiB or less. Sizes always are. */
  verify?: boolean | undefined
}

/**
 * Opens a corpus folder; windows are read by range, when asked for.
 *
 * Throws INPUT if a file is missing or the corpus was built with another tokenizer; CORRUPT, naming the file, if one has been damaged.
 */
export function openCorpus(folder: string, options: OpenOptions = {}): Corpus {
  const corpus = new Corpus(folder, readManifest(folder))
  try {
    if (options.tokenizer !== undefined) corpus.expectTokenizer(options.tokenizer)
    if (options.verify ?? corpus.bytes <= VERIFY_AT_OPEN) corpus.verify()
  } catch (error) {
    corpus[Symbol.dispose]()
    throw error
  }
  return corpus
}

/** Compares every file's checksum with the manifest. Throws as `openCorpus`. */
export function verifyCorpus(folder: string): void {
  openCorpus(folder, { verify: true })[Symbol.dispose]()
}

export class Corpus implements Disposable {
  /** Identifies the windows and the tokenizer. */
  readonly hash: string
  /** Bytes on disk, without the manifest. */
  readonly bytes: number
  /** The shards read last, in the order of their use. */
  readonly #shards = new Map<number, RangeFile>()
  #disposed = false
  readonly #table: RangeFile
  #scratch = new Uint8Array(0)

  /** Compares the sizes of the files with the manifest; use `openCorpus`. */
  constructor(readonly folder: string, readonly manifest: Manifest) {
    this.hash = corpusHash(manifest)
    this.bytes = manifest.shards.reduce((sum, shard) => sum + expectSize(join(folder, shard.file), shard.tokens * tokenBytes(manifest.tokenType)), 0)
      + expectSize(join(folder, WINDOWS_FILE), manifest.counts.windows * RECORD_BYTES)
    this.#table = new RangeFile(join(folder, WINDOWS_FILE))
  }

  /** How many windows there are. */
  get windows(): number { return this.manifest.counts.windows }
  /** Most tokens in a window. */
  get context(): number { return this.manifest.context }

  expectTokenizer(hash: string): void {
    if (this.manifest.tokenizer.hash === hash) return
    throw new NichelmError('INPUT', `this corpus was built with another tokenizer (${this.manifest.tokenizer.hash.slice(0, 12)}, not ${hash.slice(0, 12)})`, {
      place: { file: this.folder }, fix: 'Build the corpus again with this tokenizer, or use the tokenizer that it was built with.',
    })
  }

  verify(): void { verifyFiles(this.folder, this.manifest) }

  /** The records of windows first .. first + count - 1, five values each: shard, offset, length, document, bytes of text. */
  records(first: number, count: number): Uint32Array {
    if (this.#disposed) throw new NichelmError('DISPOSED', 'this corpus was closed', { place: { file: this.folder } })
    if (!(first >= 0 && count >= 0 && first + count <= this.windows))
      throw new NichelmError('INTERNAL', `windows ${first} to ${first + count - 1} were asked for, but there are ${this.windows}`, { place: { file: this.folder } })
    const records = new Uint32Array(count * RECORD_FIELDS)
    this.#table.read(new Uint8Array(records.buffer), first * RECORD_BYTES)
    return records
  }

  window(index: number): WindowRecord {
    const [shard, offset, length, document, textBytes] = this.records(index, 1) as unknown as [number, number, number, number, number]
    return { shard, offset, length, document, textBytes }
  }

  /** Writes the first tokens of a window, at most `most`, to `into` from `at` on. Gives how many. */
  readWindow(index: number, into: Int32Array | Uint32Array, at = 0, most = into.length - at): number {
    const { shard, offset, length } = this.window(index)
    const count = Math.min(length, most)
    this.#read(shard, offset, count, into, at)
    return count
  }

  /** The tokens of windows first .. first + count - 1. */
  readWindows(first: number, count: number): WindowTokens {
    return this.#gather(this.records(first, count))
  }

  /** The tokens of the windows named, in that order. */
  gatherWindows(indices: ArrayLike<number>): WindowTokens {
    const records = new Uint32Array(indices.length * RECORD_FIELDS)
    for (let i = 0; i < indices.length; i++) records.set(this.records(indices[i]!, 1), i * RECORD_FIELDS)
    return this.#gather(records)
  }

  /** Neighbours that lie one behind the other in a shard are read in one go. */
  #gather(records: Uint32Array): WindowTokens {
    const count = records.length / RECORD_FIELDS
    const lengths = Uint32Array.from({ length: count }, (_, i) => records[i * RECORD_FIELDS + 2]!)
    const tokens = new Uint32Array(lengths.reduce((sum, length) => sum + length, 0))
    for (let i = 0, at = 0; i < count;) {
      const shard = records[i * RECORD_FIELDS]!, offset = records[i * RECORD_FIELDS + 1]!
      let run = 0
      do run += lengths[i++]!
      while (i < count && records[i * RECORD_FIELDS] === shard && records[i * RECORD_FIELDS + 1] === offset + run)
      this.#read(shard, offset, run, tokens, at)
      at += run
    }
    return { tokens, lengths }
  }

  #read(shard: number, offset: number, count: number, into: Int32Array | Uint32Array, at: number): void {
    const { shards, tokenType, tokenizer: { vocabularySize } } = this.manifest
    if (!(offset + count <= (shards[shard]?.tokens ?? 0)))
      throw new NichelmError('CORRUPT', `names tokens ${offset} to ${offset + count} of shard ${shard}, which do not exist`, { place: { file: join(this.folder, WINDOWS_FILE) }, fix: 'Build the corpus again.' })
    const size = tokenBytes(tokenType), bytes = count * size
    if (this.#scratch.byteLength < bytes) this.#scratch = new Uint8Array(Math.max(bytes, size * this.context))
    const raw = this.#scratch.subarray(0, bytes)
    const file = this.#shard(shard)
    file.read(raw, offset * size)
    const ids = tokenType === 'u16' ? new Uint16Array(raw.buffer, 0, count) : new Uint32Array(raw.buffer, 0, count)
    let highest = 0
    for (let i = 0; i < count; i++) {
      const id = ids[i]!
      into[at + i] = id
      if (id > highest) highest = id
    }
    if (highest >= vocabularySize)
      throw new NichelmError('CORRUPT', `holds token ${highest}, but the vocabulary has ${vocabularySize}`, { place: { file: file.file }, fix: 'Build the corpus again.' })
  }

  #shard(index: number): RangeFile {
    const file = this.#shards.get(index) ?? new RangeFile(join(this.folder, this.manifest.shards[index]!.file))
    this.#shards.delete(index)
    this.#shards.set(index, file)
    if (this.#shards.size > OPEN_SHARDS) {
      const [oldest, unused] = this.#shards.entries().next().value!
      unused[Symbol.dispose]()
      this.#shards.delete(oldest)
    }
    return file
  }

  /** Closes the files. Reading after this throws DISPOSED; doing it twice does nothing. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    for (const file of this.#shards.values()) file[Symbol.dispose]()
    this.#table[Symbol.dispose]()
  }
  [Symbol.dispose](): void { this.dispose() }
}

/** The file's size. Throws CORRUPT if it is another than the manifest's. */
function expectSize(file: string, expected: number): number {
  let bytes: number
  try { bytes = statSync(file).size } catch (error) { throw fileError(error, file) }
  if (bytes !== expected) throw new NichelmError('CORRUPT', `has ${bytes} bytes, but should have ${expected}`, { place: { file }, fix: 'Build the corpus again.' })
  return bytes
}
