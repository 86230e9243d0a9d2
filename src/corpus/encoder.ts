/** What a corpus needs of a tokenizer. */
export interface Encoder {
  readonly vocabularySize: number
  /** The id that ends a document; undefined if the tokenizer has none. */
  readonly endOfText: number | undefined
  /** Changes whenever the tokenizer would give other ids. */
  readonly hash: string
  /** UTF-8 bytes of text that a token stands for, by id; 0 for special tokens. */
  readonly byteLengths: ArrayLike<number>
  encodeBatch(texts: string[]): Promise<Uint32Array[]>
}
