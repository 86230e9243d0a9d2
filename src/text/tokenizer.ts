import { statSync } from 'node:fs'
import { join } from 'node:path'
import { NativeTokenizer, NativeTrainer, type AddedToken, type NativeVocabulary, type Text } from '../../bindings/index.js'
import { fileError, NichelmError } from '../base/errors.js'
import { readText, sha256, writeFileAtomic } from '../base/files.js'
import { BYTE_CHARACTERS, tokenBytes, writtenToken } from './byteAlphabet.js'
import { formatTokenizer, parseTokenizer, type Vocabulary } from './tokenizerFile.js'

export interface TrainOptions {
  /** Tokens at most, the 256 bytes and the special tokens among them; default 32,000. Little text gives fewer. */
  vocabularySize?: number
  /** Pairs that occur less often do not become tokens; default 2. */
  minimumFrequency?: number
  /** They get the first ids; default `<|endoftext|>`. */
  specialTokens?: readonly string[]
  /** Default: all cores. The result does not depend on it. */
  threads?: number
}

export interface EncodeOptions {
  /** Whether special tokens in the text become their ids, as in the Hugging Face library; by default they are text like any other. */
  special?: boolean
}

/** Texts to train on: strings, or anything that has one in `text`. */
export type TextSource = Iterable<string | { text: string }> | AsyncIterable<string | { text: string }>

// Special tokens that end a text, by the habits of GPT-2, Llama and others; the first that a tokenizer has is its end of text.
const END_OF_TEXT = ['<|endoftext|>', '<|end_of_text|>', '</s>', '<eos>', '[EOS]']
const BATCH_CHARACTERS = 1 << 22

/**
 * Byte-level BPE (GPT-2's kind), stored as a Hugging Face tokenizer.json.
 *
 * Any text can be encoded, and `decode(encode(text))` is the text (a lone surrogate becomes U+FFFD).
 */
export class Tokenizer implements Disposable {
  readonly #vocabulary: Vocabulary
  readonly #native: NativeTokenizer
  readonly #ids: Map<string, number>
  #hash: string | undefined
  #byteLengths: Uint32Array | undefined
  /** Ids are below it: as many rows an embedding needs. */
  readonly vocabularySize: number
  /** The id of the special token that ends a text: `<|endoftext|>` or another usual one; undefined if there is none. */
  readonly endOfText: number | undefined

  private constructor(vocabulary: Vocabulary, native = nativeVocabulary(vocabulary)) {
    this.#vocabulary = vocabulary
    this.#native = new NativeTokenizer(native, vocabulary.added)
    this.#ids = new Map(vocabulary.tokens.flatMap((token, id) => (token === undefined ? [] : [[token, id] as const])))
    this.vocabularySize = vocabulary.tokens.length
    this.endOfText = END_OF_TEXT.map((content) => vocabulary.added.find((token) => token.special && token.content === content)?.id).find((id) => id !== undefined)
  }

  /**
   * Trains on all cores while the texts come in; needs memory for the distinct words only.
   *
   * The most frequent pair of neighbouring tokens becomes a token, again and again; ties go to the pair with the lower ids. The result depends on the
   * texts alone, not on their order or the number of threads. Throws USAGE for options that cannot be, INPUT if there is no text.
   */
  static async train(texts: TextSource, options: TrainOptions = {}): Promise<Tokenizer> {
    const { vocabularySize = 32000, minimumFrequency = 2, specialTokens = ['<|endoftext|>'], threads } = options
    if (new Set(specialTokens).size !== specialTokens.length || specialTokens.includes('')) throw new NichelmError('USAGE', 'special tokens must differ from each other and not be empty', { place: { field: 'specialTokens' } })
    using trainer = new NativeTrainer(threads)
    let batch: string[] = [], characters = 0, counting: Promise<void> = Promise.resolve()
    const count = async (): Promise<void> => {
      await counting // one batch is counted while the next is read
      counting = trainer.add(batch)
      counting.catch(() => {}) // reported by the next await
      batch = [], characters = 0
    }
    for await (const item of texts) {
      const text = typeof item === 'string' ? item : item.text
      batch.push(text)
      characters += text.length
      if (characters >= BATCH_CHARACTERS) await count()
    }
    await count()
    await counting
    const native = await trainer.train(vocabularySize, minimumFrequency, specialTokens)
    const tokens: string[] = []
    for (let id = 0, begin = 0; id < native.ends.length; begin = native.ends[id++]!)
      tokens.push(id < specialTokens.length ? specialTokens[id]! : writtenToken(native.tokens.subarray(begin, native.ends[id])))
    for (const special of specialTokens)
      if (tokens.indexOf(special) !== tokens.lastIndexOf(special)) throw new NichelmError('USAGE', `the special token ${JSON.stringify(special)} is also how an ordinary token is written`, { place: { field: 'specialTokens' }, fix: 'Choose a longer one, like <|name|>.' })
    const added = specialTokens.map((content, id): AddedToken => ({ content, id, special: true, normalized: false }))
    return new Tokenizer({ tokens, merges: native.merges, added, postProcessor: null }, native)
  }

  /** Reads a tokenizer.json, or the one in a folder. Throws INPUT if it is missing, no JSON, or of a kind that is not supported. */
  static load(fileOrFolder: string): Tokenizer {
    let file = fileOrFolder
    try {
      if (statSync(fileOrFolder).isDirectory()) file = join(fileOrFolder, 'tokenizer.json')
    } catch (error) { throw fileError(error, fileOrFolder) }
    const text = readText(file)
    let json: unknown
    try { json = JSON.parse(text) } catch (error) {
      throw new NichelmError('INPUT', `is not valid JSON (${(error as Error).message})`, { place: { file }, fix: 'Give a tokenizer.json, such as `nichelm tokenizer train` writes.', cause: error })
    }
    return new Tokenizer(parseTokenizer(json, file))
  }

  /** Writes a tokenizer.json that the Hugging Face library reads and that gives the same ids there. */
  save(file: string): void { writeFileAtomic(file, formatTokenizer(this.#vocabulary)) }

  /** Ids of one text, at once. For much text use encodeBatch. */
  encode(text: Text, options: EncodeOptions = {}): Uint32Array { return this.#native.encode(text, options.special ?? false) }

  /** Ids of each text, on `threads` threads (default: all cores), off the event loop. The arrays are views of one buffer. */
  encodeBatch(texts: readonly Text[], options: EncodeOptions & { threads?: number } = {}): Promise<Uint32Array[]> {
    return this.#native.encodeBatch(texts, options.special ?? false, options.threads)
  }

  /** The text of the ids; bytes that are not UTF-8 (the middle of a character) become U+FFFD. Throws USAGE for an id there is no token of. */
  decode(ids: ArrayLike<number>, options: { skipSpecial?: boolean } = {}): string {
    let wanted = Uint32Array.from(ids)
    if (options.skipSpecial) {
      const special = new Set(this.#vocabulary.added.filter((token) => token.special).map((token) => token.id))
      wanted = wanted.filter((id) => !special.has(id))
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.#native.decode(wanted))
  }

  /** Text of ids as they come, without special tokens and ids that there is no token of: a character is given out once all its bytes are there, so that nothing given out changes later. */
  streamDecoder(): { push(id: number): string; end(): string } {
    const special = new Set(this.#vocabulary.added.filter((token) => token.special).map((token) => token.id)), decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    return { push: (id) => (special.has(id) || id >= this.vocabularySize ? '' : decoder.decode(this.#native.decode(Uint32Array.of(id)), { stream: true })), end: () => decoder.decode() }
  }

  /** The id of a token as the vocabulary writes it ('Ġthe' for ' the'), or of a special token. */
  idOf(token: string): number | undefined { return this.#ids.get(token) }

  /** The token of an id as the vocabulary writes it. */
  tokenOf(id: number): string | undefined { return this.#vocabulary.tokens[id] }

  get specialTokens(): readonly string[] { return this.#vocabulary.added.filter((token) => token.special).map((token) => token.content) }

  /** UTF-8 bytes of text that a token stands for, by id; 0 for special tokens. */
  get byteLengths(): Uint32Array {
    if (!this.#byteLengths) {
      this.#byteLengths = Uint32Array.from(this.#vocabulary.tokens, (token) => (token === undefined ? 0 : tokenBytes(token).length))
      for (const token of this.#vocabulary.added) this.#byteLengths[token.id] = token.special ? 0 : Buffer.byteLength(token.content)
    }
    return this.#byteLengths
  }

  /** SHA-256 of what determines the encoding: tokens with their ids, merge rules, added tokens. */
  get hash(): string {
    const { tokens, merges, added } = this.#vocabulary
    return this.#hash ??= sha256(JSON.stringify([tokens, Array.from(merges), added.map((token) => [token.id, token.content, token.special, token.normalized]).sort(([a], [b]) => Number(a) - Number(b))]))
  }

  /** Frees the native memory now. Encoding and decoding after this throw DISPOSED. */
  dispose(): void { this.#native.dispose() }
  [Symbol.dispose](): void { this.dispose() }
}

function nativeVocabulary({ tokens, merges, added }: Vocabulary): NativeVocabulary {
  const contents = new Map(added.map((token) => [token.id, token.content]))
  const ends = new Uint32Array(tokens.length), parts: Uint8Array[] = []
  let end = 0
  for (const [id, token] of tokens.entries()) {
    const content = contents.get(id)
    const bytes = content !== undefined ? Buffer.from(content) : token !== undefined ? tokenBytes(token) : new Uint8Array()
    parts.push(bytes)
    ends[id] = end += bytes.length
  }
  const byteIds = Uint32Array.from(BYTE_CHARACTERS, (character) => tokens.indexOf(character))
  return { tokens: Buffer.concat(parts), ends, byteIds, merges }
}
