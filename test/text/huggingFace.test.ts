/** The Hugging Face library as the oracle: the same ids for the same tokenizer.json. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import type { Tokenizer as HuggingFaceTokenizer } from 'tokenizers'
import { BYTE_CHARACTERS } from '../../src/text/byteAlphabet.js'
import { readDocuments, Tokenizer } from '../../src/text/index.js'
import { anyText, AWKWARD, realText, temporaryFolder, withRealText } from './shared.js'

const huggingFace = (createRequire(import.meta.url)('tokenizers') as typeof import('tokenizers')).Tokenizer
const folder = temporaryFolder()
const story = 'It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness; the year 1775, and naïve cafés. '
const tokenizer = await Tokenizer.train([story.repeat(20), ...AWKWARD, ...AWKWARD], { vocabularySize: 600 })

/** Both readings of a tokenizer: with special tokens in the text, and (without added tokens) as plain text. */
function both(ours: Tokenizer): { special: HuggingFaceTokenizer; plain: HuggingFaceTokenizer } {
  const file = join(folder, 'tokenizer.json')
  ours.save(file)
  const json = JSON.parse(readFileSync(file, 'utf8'))
  return { special: huggingFace.fromFile(file), plain: huggingFace.fromString(JSON.stringify({ ...json, added_tokens: [] })) }
}
const idsOf = async (oracle: HuggingFaceTokenizer, text: string): Promise<number[]> => (await oracle.encode(text)).getIds()

test('awkward texts', async () => {
  const { special, plain } = both(tokenizer)
  for (const text of AWKWARD) {
    assert.deepEqual([...tokenizer.encode(text)], await idsOf(plain, text))
    assert.deepEqual([...tokenizer.encode(text, { special: true })], await idsOf(special, text))
    assert.equal(await special.decode([...tokenizer.encode(text)], false), tokenizer.decode(tokenizer.encode(text)))
  }
})

test('any text', async () => {
  const { special, plain } = both(tokenizer)
  await fc.assert(fc.asyncProperty(anyText, async (text) => {
    assert.deepEqual([...tokenizer.encode(text)], await idsOf(plain, text))
    assert.deepEqual([...tokenizer.encode(text, { special: true })], await idsOf(special, text))
  }), { numRuns: 1000 })
})

test('ids cut anywhere decode alike', async () => {
  const { special } = both(tokenizer)
  const ids = [...tokenizer.encode('naïve 😀 中文 <|endoftext|>', { special: true })]
  for (let end = 0; end <= ids.length; end++)
    for (const skipSpecial of [false, true]) assert.equal(tokenizer.decode(ids.slice(end), { skipSpecial }), await special.decode(ids.slice(end), skipSpecial))
})

test('the class of every character', async () => {
  // Merge rules that join 'a', '1' and '!' with whatever byte follows: they can do so only where the pre-tokenizer does not cut.
  const vocabulary: Record<string, number> = {}
  const merges: string[] = []
  for (const character of BYTE_CHARACTERS) vocabulary[character] = Object.keys(vocabulary).length
  for (const first of ['a', '1', '!'])
    for (const character of BYTE_CHARACTERS) {
      vocabulary[first + character] = Object.keys(vocabulary).length
      merges.push(`${first} ${character}`)
    }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  const json = { version: '1.0', added_tokens: [], normalizer: null, pre_tokenizer: byteLevel, post_processor: null, decoder: byteLevel, model: { type: 'BPE', vocab: vocabulary, merges } }
  const file = join(folder, 'classes.json')
  writeFileSync(file, JSON.stringify(json))
  const ours = Tokenizer.load(file), theirs = huggingFace.fromFile(file)
  // All of the first two planes, and the beginnings and ends of blocks beyond.
  let text = ''
  for (let point = 0; point < 0x110000; point += point < 0x20000 ? 1 : point % 0x100 < 8 || point % 0x100 > 0xf8 ? 1 : 31)
    if (point < 0xd800 || point > 0xdfff) {
      const character = String.fromCodePoint(point)
      text += `a${character}1${character}!${character}`
      if (text.length > 100000) {
        assert.deepEqual([...ours.encode(text)], await idsOf(theirs, text), `characters up to U+${point.toString(16)}`)
        text = ''
      }
    }
  assert.deepEqual([...ours.encode(text)], await idsOf(theirs, text))
})

test('added tokens of all kinds', async () => {
  tokenizer.save(join(folder, 'added.json'))
  const json = JSON.parse(readFileSync(join(folder, 'added.json'), 'utf8'))
  const add = (content: string, special: boolean, normalized: boolean): void => { json.added_tokens.push({ id: 600 + json.added_tokens.length - 1, content, special, normalized, single_word: false, lstrip: false, rstrip: false }) }
  add('<|end', true, false)
  add('of text', false, false)
  add('times', false, true)
  add('<|endoftext|>!', true, true)
  json.post_processor = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true }
  writeFileSync(join(folder, 'added.json'), JSON.stringify(json))
  const ours = Tokenizer.load(join(folder, 'added.json')), theirs = huggingFace.fromFile(join(folder, 'added.json'))
  assert.equal(ours.vocabularySize, 604)
  const part = fc.constantFrom('<|end', 'of text', 'times', '<|endoftext|>', '<|endoftext|>!', ' ', 'the best', '  ', '!', 'of', 'time', '\n')
  await fc.assert(fc.asyncProperty(fc.array(part, { maxLength: 8 }), async (parts) => {
    assert.deepEqual([...ours.encode(parts.join(''), { special: true })], await idsOf(theirs, parts.join('')))
  }), { numRuns: 300 })
  ours.save(join(folder, 'rewritten.json'))
  assert.deepEqual(JSON.parse(readFileSync(join(folder, 'rewritten.json'), 'utf8')).post_processor, json.post_processor)
  assert.equal(Tokenizer.load(join(folder, 'rewritten.json')).hash, ours.hash)
})

test('merges as pairs, ids in another order, a rule given twice', async () => {
  tokenizer.save(join(folder, 'pairs.json'))
  const json = JSON.parse(readFileSync(join(folder, 'pairs.json'), 'utf8'))
  const merges = (json.model.merges as string[]).map((merge) => merge.split(' '))
  json.model.merges = [...merges, merges[3]]
  for (const token of Object.keys(json.model.vocab)) json.model.vocab[token] = 599 - json.model.vocab[token]
  json.added_tokens[0].id = 599
  writeFileSync(join(folder, 'pairs.json'), JSON.stringify(json))
  const ours = Tokenizer.load(join(folder, 'pairs.json')), theirs = huggingFace.fromFile(join(folder, 'pairs.json'))
  for (const text of [story, ...AWKWARD]) assert.deepEqual([...ours.encode(text, { special: true })], await idsOf(theirs, text))
})

test('training by the Hugging Face library gives the same merge rules', async () => {
  // One line: the library trains on lines.
  const text = `${story} ${AWKWARD.filter((part) => !part.includes('\n')).join(' ')}`.repeat(2)
  const corpus = join(folder, 'corpus.txt')
  writeFileSync(corpus, text)
  const { plain } = both(await Tokenizer.train([text], { vocabularySize: 257, minimumFrequency: 1 }))
  plain.train([corpus])
  plain.save(join(folder, 'trained.json'))
  const theirs = JSON.parse(readFileSync(join(folder, 'trained.json'), 'utf8')).model.merges as [string, string][]
  ;(await Tokenizer.train([text], { vocabularySize: 30000, minimumFrequency: 1 })).save(join(folder, 'ours.json'))
  const ours = JSON.parse(readFileSync(join(folder, 'ours.json'), 'utf8')).model.merges as string[]
  assert.ok(ours.length > 300)
  assert.deepEqual(ours, theirs.map((pair) => pair.join(' ')))
})

test('real text, a sample of every file', { ...withRealText }, async () => {
  const trained = await Tokenizer.train(sample(join(realText, 'generic'), 40), { vocabularySize: 8000 })
  const { special } = both(trained)
  let documents = 0
  for await (const { text, file, line } of sample(realText, 200)) {
    const ids = trained.encode(text)
    assert.deepEqual([...ids], await idsOf(special, text), `${file}:${line}`)
    assert.equal(trained.decode(ids), text)
    documents++
  }
  assert.ok(documents > 200)
})

async function* sample(source: string, every: number): AsyncGenerator<{ text: string; file: string; line?: number }> {
  for await (const document of readDocuments(source)) if (document.line! % every === 1) yield document
}
