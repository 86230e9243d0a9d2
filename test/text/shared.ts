import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import fc from 'fast-check'
import { NichelmError, type ErrorCode } from '../../src/base/errors.js'
import { packageRoot } from '../../bindings/index.js'

/** Real text beside the repository, on machines that have it. */
export const realText = join(packageRoot, '..', 'shared', 'data')
export const withRealText = existsSync(join(realText, 'generic')) ? {} : { skip: 'there is no ../shared/data with real text beside the repository' }

/** A folder that is gone after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-text-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** For assert.throws and assert.rejects: the code, the message, and the line if there is one. */
export const failure = (code: ErrorCode, message: RegExp, line?: number) => (error: unknown): boolean => {
  if (!(error instanceof NichelmError)) throw error
  if (error.code !== code || !message.test(error.message) || (line !== undefined && error.place.line !== line))
    throw new Error(`expected ${code} and ${message}${line === undefined ? '' : ` in line ${line}`}, got ${error.code}: ${error.message}`)
  return true
}

/** What byte-level tokenizers get wrong: runs of white space, contractions, digits of all kinds, combining marks, emoji, controls, special tokens. */
export const AWKWARD = [
  '', ' ', '  ', '\n', 'a', ' a', 'a ', '  a  ', '\t\ta', 'a\n\nb', 'a \n b', '\r\n', 'a\r\n\r\nb', ' \u00a0 x', '\u3000x', '\u2028x\u2029', '\u0085\u001c\u001fa',
  "don't I'll you've we're he'd I'm it's", "DON'T '' 's 'll'll 've' 'r 'l 'tis '", "'sudden ' s", "x's's",
  '3.14 1,000,000 ½ ٣٤٥ Ⅷ ² 一二三 9a a9', 'naïve Ünïcödé e\u0301 a\u0308\u0323 \u0301x', '中文分词没有空格。日本語、カタカナ 한국어 ไทย हिन्दी العربية עברית',
  '😀😃👨‍👩‍👧‍👦🏳️‍🌈 👍🏽 x😀y', '\u0000 a\u0000b', '\ufeffbom', '\ufffd\uffff\u{10ffff}\u{e000}', '<|endoftext|>', 'a<|endoftext|>b', ' <|endoftext|> ', '  <|endoftext|>\n\n<|endoftext|><|endoftext|>x',
  '<|endoftext|', '<<|endoftext|>>', 'code: if (a != b) { return x[i]++; } // ok', '___ ... !!! ?!?', 'a'.repeat(300), ' '.repeat(300) + 'x', 'ab'.repeat(1000), '中'.repeat(500), '\u{1d7d9}\u{1d7da} \u{1f1e6}\u{1f1e7}',
]

/** Text of awkward pieces and of any characters at all. */
export const anyText = fc.array(fc.oneof(
  fc.constantFrom(...AWKWARD.filter((text) => text.length < 40)),
  fc.constantFrom(' ', '  ', '\n', '\t', "'", "'s", "'ll", 'the', ' and', '1', '42', '.', '\u00a0', 'é', '😀', '\u0301', '中'),
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.string({ unit: 'grapheme', maxLength: 8 }),
), { maxLength: 12 }).map((parts) => parts.join(''))
