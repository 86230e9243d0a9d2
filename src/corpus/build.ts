import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { writeJson } from '../base/files.js'
import { cutWindows } from './cut.js'
import type { Encoder } from './encoder.js'
import { throwIfInterrupted, writeFolderAtomic } from './folder.js'
import { MANIFEST_FILE, RECORD_FIELDS, WINDOWS_FILE, type Manifest } from './manifest.js'
import { BinaryWriter, type BinaryType } from './writer.js'

export interface CorpusOptions {
  /** One after the other, never all at once; only `text` is read. */
  documents: AsyncIterable<{ text: string }> | Iterable<{ text: string }>
  tokenizer: Encoder
  /** Most tokens in a window. */
  context: number
  /** Shortest remainder of a document that becomes a window; default 32, or the context if that is less. See `cutWindows`. */
  minimumLength?: number | undefined
  /** Whether the end-of-text token is put behind every document; default true. */
  endOfText?: boolean | undefined
  /** Stops when this many tokens are in windows. */
  maximumTokens?: number | undefined
  /** Where the text came from, for the manifest. */
  source?: string | undefined
  /** The folder to make. */
  into: string
  /** Whether a folder that is there is replaced (when the new one is whole); default false. */
  replace?: boolean | undefined
  /** Size of a token shard in bytes; default 64 MiB. */
  shardBytes?: number | undefined
  /** Called after every batch of documents. */
  onProgress?: ((counts: Manifest['counts']) => void) | undefined
  /** When aborted, the build ends with INTERRUPTED and leaves nothing. */
  signal?: AbortSignal | undefined
}

/** Text of about this many characters is tokenized in one call. */
const BATCH_CHARACTERS = 1 << 21
const BATCH_DOCUMENTS = 4096

/**
 * Tokenizes documents into a corpus folder: token shards, window table, manifest.
 *
 * Throws INPUT if all the windows together are smaller than one full window; CONFIG if lengths do not fit together; RESOURCE if the disk is full. The folder is whole or not there.
 */
export async function buildCorpus(options: CorpusOptions): Promise<Manifest> {
  check(options)
  return writeFolderAtomic(options.into, (folder) => new Builder(options, folder).build(), options.replace)
}

function check({ context, minimumLength = 2, maximumTokens = Infinity, shardBytes = 4, tokenizer, endOfText = true }: CorpusOptions): void {
  const fail = (field: string, what: string) => { throw new NichelmError('CONFIG', what, { place: { field } }) }
  if (!Number.isInteger(context) || context < 2) fail('context', `must be an integer of at least 2 tokens; got ${context}`)
  if (!Number.isInteger(minimumLength) || minimumLength < 2 || minimumLength > context)
    fail('minimumLength', `must be an integer from 2 to the context, ${context}; got ${minimumLength}`)
  if (!(maximumTokens >= context)) fail('maximumTokens', `must be at least one window of ${context}; got ${maximumTokens}`)
  if (!(shardBytes > 0)) fail('shardBytes', `must be positive; got ${shardBytes}`)
  if (endOfText && tokenizer.endOfText === undefined) fail('endOfText', 'the tokenizer has no end-of-text token')
}

class Builder {
  readonly #options: CorpusOptions
  readonly #folder: string
  readonly #minimumLength: number
  readonly #tokenType: BinaryType
  readonly #shardTokens: number
  readonly #windows: BinaryWriter
  readonly #shards: Manifest['shards'] = []
  readonly #counts: Manifest['counts'] = { documents: 0, skippedDocuments: 0, windows: 0, tokens: 0, droppedTokens: 0, textBytes: 0 }
  #shard: BinaryWriter | undefined
  #full = false

  constructor(options: CorpusOptions, folder: string) {
    this.#options = options
    this.#folder = folder
    this.#minimumLength = options.minimumLength ?? Math.min(32, options.context)
    this.#tokenType = options.tokenizer.vocabularySize <= 0x10000 ? 'u16' : 'u32'
    this.#shardTokens = Math.floor((options.shardBytes ?? 64 * 2 ** 20) / (this.#tokenType === 'u16' ? 2 : 4))
    this.#windows = new BinaryWriter(join(folder, WINDOWS_FILE), 'u32')
  }

  async build(): Promise<Manifest> {
    try {
      await this.#read()
      this.#endShard()
      if (this.#counts.tokens < this.#options.context) throw this.#tooSmall()
      return this.#manifest()
    } finally {
      this.#windows[Symbol.dispose]()
      this.#shard?.[Symbol.dispose]()
    }
  }

  /** The next batch is read while the one before is tokenized. */
  async #read(): Promise<void> {
    let pending: Promise<Uint32Array[]> | undefined
    const take = async () => {
      const ids = await pending
      pending = undefined
      for (const document of ids ?? []) if (!this.#full) this.#add(document)
      if (ids) this.#options.onProgress?.({ ...this.#counts })
    }
    for await (const texts of batches(this.#options.documents)) {
      await take()
      if (this.#full) return
      throwIfInterrupted(this.#options.signal)
      pending = this.#options.tokenizer.encodeBatch(texts)
      pending.catch(() => {}) // it is awaited later; the source may fail first
    }
    await take()
    throwIfInterrupted(this.#options.signal)
  }

  #add(ids: Uint32Array): void {
    const { context, tokenizer, endOfText = true, maximumTokens = Infinity } = this.#options
    const counts = this.#counts, document = counts.documents++
    const end = endOfText ? tokenizer.endOfText : undefined
    const length = ids.length + (end === undefined ? 0 : 1)
    let at = 0
    for (const wanted of cutWindows(length, context, this.#minimumLength)) {
      const room = maximumTokens - counts.tokens
      if (room < Math.min(wanted, this.#minimumLength)) {
        this.#full = true
        break
      }
      const count = Math.min(wanted, room)
      this.#addWindow(ids.subarray(at, at + count), at + count > ids.length ? end : undefined, document)
      at += count
    }
    if (at === 0) counts.skippedDocuments++
    if (!this.#full) counts.droppedTokens += length - at
    if (counts.tokens >= maximumTokens) this.#full = true
  }

  /** One window: `ids`, and behind them the end token where the document ends in it. */
  #addWindow(ids: Uint32Array, end: number | undefined, document: number): void {
    const counts = this.#counts, { byteLengths } = this.#options.tokenizer
    const length = ids.length + (end === undefined ? 0 : 1)
    let shard = this.#shard
    if (!shard || (shard.values > 0 && shard.values + length > this.#shardTokens)) {
      this.#endShard()
      shard = this.#shard = new BinaryWriter(join(this.#folder, shardName(this.#shards.length)), this.#tokenType)
    }
    let bytes = 0
    for (let i = 0; i < ids.length; i++) bytes += byteLengths[ids[i]!]!
    if (Number.isNaN(bytes)) throw new NichelmError('INTERNAL', `the tokenizer gave an id that is not in its vocabulary of ${this.#options.tokenizer.vocabularySize}`)
    this.#windows.write([this.#shards.length, shard.values, length, document, bytes])
    shard.write(ids)
    if (end !== undefined) shard.write([end])
    counts.windows++
    counts.tokens += length
    counts.textBytes += bytes
  }

  #endShard(): void {
    if (!this.#shard) return
    this.#shards.push({ file: shardName(this.#shards.length), tokens: this.#shard.values, sha256: this.#shard.end() })
    this.#shard = undefined
  }

  #manifest(): Manifest {
    const { context, tokenizer, endOfText = true, source = '' } = this.#options
    if (this.#windows.values !== RECORD_FIELDS * this.#counts.windows) throw new NichelmError('INTERNAL', 'the window table does not fit the count of windows')
    const manifest: Manifest = {
      format: 'nichelm-corpus', version: 1, context, minimumLength: this.#minimumLength, tokenType: this.#tokenType,
      endOfText: endOfText ? tokenizer.endOfText ?? null : null,
      counts: this.#counts, shards: this.#shards,
      windows: { file: WINDOWS_FILE, sha256: this.#windows.end() },
      tokenizer: { hash: tokenizer.hash, vocabularySize: tokenizer.vocabularySize },
      source,
    }
    writeJson(join(this.#folder, MANIFEST_FILE), manifest)
    return manifest
  }

  #tooSmall(): NichelmError {
    const { documents, tokens } = this.#counts, { source, context } = this.#options
    const what = documents === 0 ? 'there is no text' : `the text is smaller than one window: ${tokens} tokens from ${documents} documents, and a window is ${context}`
    return new NichelmError('INPUT', what, { ...(source ? { place: { file: source } } : {}), fix: 'Give more text, or use a shorter context.' })
  }
}

const shardName = (index: number): string => `tokens-${String(index).padStart(5, '0')}.bin`

async function* batches(documents: CorpusOptions['documents']): AsyncGenerator<string[]> {
  let texts: string[] = [], characters = 0
  for await (const { text } of documents) {
    texts.push(text)
    characters += text.length
    if (characters < BATCH_CHARACTERS && texts.length < BATCH_DOCUMENTS) continue
    yield texts
    texts = []
    characters = 0
  }
  if (texts.length) yield texts
}
