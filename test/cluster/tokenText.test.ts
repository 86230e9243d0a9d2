import assert from 'node:assert/strict'
import { writeFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tokenText } from '../../src/cluster/tokenText.js'
import { Tokenizer } from '../../src/text/index.js'
import { temporaryFolder } from '../corpus/support.js'

test('the bytes of tokens, put together, are the text', async (t) => {
  const sample = 'The cat sat on the mat. Ζεὺς, naïve café, 東京 🐈 — the cat sat again.'
  using trained = await Tokenizer.train(Array.from({ length: 20 }, () => sample), { vocabularySize: 400 })
  const file = join(temporaryFolder(t), 'tokenizer.json')
  trained.save(file)
  // a token that was added later and is no special one
  const json = JSON.parse(readFileSync(file, 'utf8')) as { added_tokens: object[] }
  json.added_tokens.push({ id: trained.vocabularySize, content: 'naïve–', special: false, normalized: false, single_word: false, lstrip: false, rstrip: false })
  writeFileSync(file, JSON.stringify(json))
  using tokenizer = Tokenizer.load(file)
  const { bytes, offsets } = tokenText(tokenizer)
  const textOf = (ids: Uint32Array) => Buffer.concat(Array.from(ids, (id) => bytes.subarray(offsets[id], offsets[id + 1]))).toString()
  for (const text of [sample, 'wholly other words: Ωmega', 'a naïve– b', '\u0000\n\t'])
    assert.equal(textOf(tokenizer.encode(text)), text)
  assert.equal(textOf(Uint32Array.of(tokenizer.endOfText!)), '')
  for (let id = 0; id < tokenizer.vocabularySize; id++) assert.equal(offsets[id + 1]! - offsets[id]!, tokenizer.byteLengths[id])
})
