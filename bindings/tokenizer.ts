import { call } from './native.js'

/** A string, or its UTF-8. A lone surrogate of a string is read as U+FFFD; bytes that are not UTF-8 throw INPUT with their offset. */
export type Text = string | Uint8Array

/** A token that is looked for in the text itself, before any other cut. */
export interface AddedToken {
  content: string
  id: number
  /** Looked for only where special tokens are asked for. */
  special: boolean
  /** Looked for after all those that are not. */
  normalized: boolean
}

/** A byte-level vocabulary as the addon takes it. */
export interface NativeVocabulary {
  /** The bytes of all tokens, by id, one after the other. */
  tokens: Uint8Array
  /** Where each token ends in them. An id without a token has none. */
  ends: Uint32Array
  /** The ids of the 256 single bytes. */
  byteIds: Uint32Array
  /** Left, right and merged id of each rule, by rank. */
  merges: Uint32Array
}

class Handle implements Disposable {
  protected readonly native: object
  constructor(native: object) { this.native = native }
  /** Frees the memory now. Use after this throws DISPOSED. */
  dispose(): void { call('tokenizerDispose', this.native) }
  [Symbol.dispose](): void { this.dispose() }
}

export class NativeTokenizer extends Handle {
  constructor(v: NativeVocabulary, added: AddedToken[]) { super(call('tokenizerCreate', v.tokens, v.ends, v.byteIds, v.merges, added)) }
  encode(text: Text, special: boolean): Uint32Array { return call('tokenizerEncode', this.native, text, special) }
  /** On `threads` threads (undefined: all cores), off the event loop. The arrays are views of one buffer. */
  encodeBatch(texts: readonly Text[], special: boolean, threads?: number): Promise<Uint32Array[]> { return call('tokenizerEncodeBatch', this.native, texts, special, threads) }
  /** The bytes of the ids. Throws USAGE for an id there is no token of. */
  decode(ids: Uint32Array): Uint8Array { return call('tokenizerDecode', this.native, ids) }
}

/** Training: texts are counted as they come, then the vocabulary is made from the counts. */
export class NativeTrainer extends Handle {
  constructor(threads?: number) { super(call('trainerCreate', threads)) }
  add(texts: readonly Text[]): Promise<void> { return call('trainerAdd', this.native, texts) }
  /** Throws USAGE if the vocabulary is too small for bytes and special tokens, INPUT if there was no text. */
  train(vocabularySize: number, minimumFrequency: number, specialTokens: readonly string[]): Promise<NativeVocabulary> { return call('trainerTrain', this.native, vocabularySize, minimumFrequency, specialTokens) }
}
