import type { TokenText } from '../../bindings/index.js'
import type { Tokenizer } from '../text/tokenizer.js'
import { tokenBytes } from '../text/byteAlphabet.js'

/** The bytes of text that a tokenizer's tokens stand for; special tokens stand for none. */
export function tokenText(tokenizer: Pick<Tokenizer, 'vocabularySize' | 'byteLengths' | 'tokenOf'>): TokenText {
  const { vocabularySize, byteLengths } = tokenizer
  const parts: Uint8Array[] = [], offsets = new Uint32Array(vocabularySize + 1)
  for (let id = 0; id < vocabularySize; id++) {
    const written = tokenizer.tokenOf(id)
    let bytes = written === undefined || !byteLengths[id] ? new Uint8Array() : tokenBytes(written)
    if (bytes.length !== byteLengths[id]) bytes = Buffer.from(written ?? '') // an added token is written as the text that it is
    parts.push(bytes)
    offsets[id + 1] = offsets[id]! + bytes.length
  }
  return { bytes: new Uint8Array(Buffer.concat(parts)), offsets }
}
