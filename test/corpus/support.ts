import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { buildCorpus, type CorpusOptions } from '../../src/corpus/build.js'
import type { Encoder } from '../../src/corpus/encoder.js'
import { NichelmError, type ErrorCode } from '../../src/base/errors.js'

/** A tokenizer whose tokens are the bytes of UTF-8 text; 256 ends a document. */
export const byteEncoder: Encoder = {
  vocabularySize: 257,
  endOfText: 256,
  hash: 'b'.repeat(64),
  byteLengths: Uint8Array.from({ length: 257 }, (_, id) => (id < 256 ? 1 : 0)),
  encodeBatch: async (texts) => texts.map((text) => Uint32Array.from(Buffer.from(text))),
}

/** A folder for one test, removed after it. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-test-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Builds a corpus of bytes. */
export const build = (into: string, texts: string[], options: Partial<CorpusOptions> = {}) =>
  buildCorpus({ documents: texts.map((text) => ({ text })), tokenizer: byteEncoder, context: 16, minimumLength: 4, into, ...options })

/** For assert.throws and assert.rejects: a NichelmError with this code whose message and fix match. */
export const failure = (code: ErrorCode, message: RegExp) => (error: unknown): boolean => {
  if (!(error instanceof NichelmError)) throw error
  if (error.code !== code || !message.test(error.message)) throw new Error(`${error.code}: ${error.message}`, { cause: error })
  return true
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz'

/** The alphabet over and over, `count` letters of it. */
export const letters = (count: number): string => ALPHABET.repeat(Math.ceil(count / 26)).slice(0, count)
