import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Tokenizer } from '../../src/text/index.js'

test('text that comes token by token holds no broken characters, and is the whole text', async () => {
  using tokenizer = await Tokenizer.train(['naïve café 日本語 😀 the the the'], { vocabularySize: 262, minimumFrequency: 1, threads: 1 })
  fc.assert(fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), (text) => {
    const decoder = tokenizer.streamDecoder(), parts = [...tokenizer.encode(text)].map((id) => decoder.push(id))
    assert.equal(parts.join(''), text)
    assert(!parts.some((part) => part.includes('\ufffd')) || text.includes('\ufffd'))
    assert.equal(decoder.end(), '')
  }))
  // A character that never ends, and bytes that are none, become U+FFFD; special tokens and ids without a token are nothing.
  const decoder = tokenizer.streamDecoder()
  assert.equal(decoder.push(tokenizer.endOfText!) + decoder.push(tokenizer.encode('A')[0]!) + decoder.push(tokenizer.vocabularySize + 5), 'A')
  const face = tokenizer.encode('😀')
  assert.equal(decoder.push(face[0]!), '')
  assert.equal(decoder.end(), '\ufffd')
})
