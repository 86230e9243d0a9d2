import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { Tokenizer } from '../../src/text/index.js'
import { anyText, AWKWARD, failure, temporaryFolder } from './shared.js'

const folder = temporaryFolder()
const story = ['It was the best of times, it was the worst of times, ', "it was the age of wisdom, it wasn't the age of foolishness. ", 'Das war im Jahre 1789, im Jahre der Freiheit. '].join('').repeat(5)
const tokenizer = await Tokenizer.train([story, ...AWKWARD], { vocabularySize: 400 })
const { endOfText } = tokenizer

test('decode(encode(x)) is x, for any text', () => {
  for (const text of AWKWARD) assert.equal(tokenizer.decode(tokenizer.encode(text)), text)
  fc.assert(fc.property(anyText, fc.boolean(), (text, special) => tokenizer.decode(tokenizer.encode(text, { special })) === Buffer.from(text).toString()), { numRuns: 500 })
})

test('a batch has the ids of each text, on any number of threads', async () => {
  const texts = [...AWKWARD, story.repeat(3000), '']
  const one = texts.map((text) => tokenizer.encode(text))
  for (const threads of [1, 2, 5]) assert.deepEqual(await tokenizer.encodeBatch(texts, { threads }), one)
  assert.deepEqual(await Promise.all([tokenizer.encodeBatch(texts), tokenizer.encodeBatch(texts, { threads: 2 })]), [one, one])
  assert.deepEqual(await tokenizer.encodeBatch([]), [])
})

test('UTF-8 bytes are text, too; invalid ones are told with their offset', async () => {
  assert.deepEqual(tokenizer.encode(Buffer.from('naïve 😀')), tokenizer.encode('naïve 😀'))
  assert.throws(() => tokenizer.encode(Uint8Array.of(0x61, 0x62, 0xff)), failure('INPUT', /invalid UTF-8 at byte 2$/))
  await assert.rejects(tokenizer.encodeBatch(['fine', Uint8Array.of(0xc3)]), failure('INPUT', /invalid UTF-8 at byte 0 of text 1/))
  assert.throws(() => tokenizer.encode(7 as never), failure('USAGE', /must be a string/))
})

test('special tokens in text are text, unless asked for', () => {
  assert.equal(endOfText, 0)
  assert.ok(!tokenizer.encode('a<|endoftext|>').includes(0))
  assert.deepEqual([...tokenizer.encode('<|endoftext|>', { special: true })], [0])
  assert.equal(tokenizer.decode([0]), '<|endoftext|>')
  assert.equal(tokenizer.decode([...tokenizer.encode('so'), 0], { skipSpecial: true }), 'so')
})

test('lookups: tokens, ids, lengths in bytes', () => {
  assert.equal(tokenizer.vocabularySize, 400)
  assert.deepEqual(tokenizer.specialTokens, ['<|endoftext|>'])
  for (const token of ['<|endoftext|>', '!', 'Ġ', 'Ġthe', 'Ċ']) assert.equal(tokenizer.tokenOf(tokenizer.idOf(token)!), token)
  assert.equal(tokenizer.idOf('no such token'), undefined)
  assert.equal(tokenizer.tokenOf(400), undefined)
  fc.assert(fc.property(anyText, (text) => tokenizer.encode(text).reduce((sum, id) => sum + tokenizer.byteLengths[id]!, 0) === Buffer.byteLength(text)))
  assert.equal(tokenizer.byteLengths[0], 0)
  assert.throws(() => tokenizer.decode([400]), failure('USAGE', /no token 400/))
})

test('training depends on the texts alone', async () => {
  const texts = Array.from({ length: 40 }, (_, i) => `${story} ${i * i} ${AWKWARD[i % AWKWARD.length]}`)
  const options = { vocabularySize: 500, minimumFrequency: 3 }
  async function* later(): AsyncGenerator<{ text: string }> { for (const text of texts.toReversed()) yield { text } }
  const hashes = await Promise.all([Tokenizer.train(texts, { ...options, threads: 1 }), Tokenizer.train(texts, { ...options, threads: 5 }), Tokenizer.train(later(), options)])
  assert.equal(new Set(hashes.map(({ hash }) => hash)).size, 1)
  assert.notEqual((await Tokenizer.train(texts, { ...options, minimumFrequency: 30 })).hash, hashes[0].hash)
})

test('options that cannot be are told', async () => {
  await assert.rejects(Tokenizer.train([story], { vocabularySize: 256 }), failure('USAGE', /at least 257/))
  await assert.rejects(Tokenizer.train([story], { specialTokens: ['<a>', '<a>'] }), failure('USAGE', /differ/))
  await assert.rejects(Tokenizer.train([story], { specialTokens: ['A'] }), failure('USAGE', /"A" is also/))
  for (const threads of [-1, 0, 5000]) await assert.rejects(Tokenizer.train([story], { threads }), failure('USAGE', /threads must be between 1 and 1024, or left out/))
  await assert.rejects(Tokenizer.train([]), failure('INPUT', /no text/))
  await assert.rejects(Tokenizer.train(['', '']), failure('INPUT', /no text/))
  await assert.rejects(Tokenizer.train((function* () { yield story; throw new Error('the reader failed') })()), /the reader failed/)
})

test('other special tokens', async () => {
  const other = await Tokenizer.train([story], { vocabularySize: 300, specialTokens: ['<pad>', '</s>'] })
  assert.equal(other.endOfText, 1)
  assert.deepEqual([...other.encode('<pad></s>', { special: true })], [0, 1])
  assert.equal((await Tokenizer.train([story], { vocabularySize: 300, specialTokens: [] })).endOfText, undefined)
})

test('saved and loaded, it is the same', () => {
  const file = join(folder, 'saved', 'tokenizer.json')
  tokenizer.save(file)
  for (const place of [file, join(folder, 'saved')]) {
    const loaded = Tokenizer.load(place)
    assert.equal(loaded.hash, tokenizer.hash)
    assert.equal(loaded.endOfText, 0)
    for (const text of AWKWARD) assert.deepEqual(loaded.encode(text, { special: true }), tokenizer.encode(text, { special: true }))
    loaded.save(join(folder, 'again.json'))
    assert.equal(readFileSync(join(folder, 'again.json'), 'utf8'), readFileSync(file, 'utf8'))
  }
})

test('a disposed tokenizer says so', async () => {
  const other = await Tokenizer.train([story], { vocabularySize: 300 })
  const pending = other.encodeBatch([story])
  other.dispose()
  assert.equal(other.decode.length, 1)
  assert.equal((await pending).length, 1) // what was begun goes on
  assert.throws(() => other.encode('a'), failure('DISPOSED', /disposed/))
  other.dispose()
})

test('a tokenizer.json of another kind is told, with what is not supported', () => {
  const file = join(folder, 'other', 'tokenizer.json')
  mkdirSync(join(folder, 'other'))
  tokenizer.save(file)
  const good = readFileSync(file, 'utf8')
  type Part = Record<string, unknown>
  const rejected = (change: (json: Record<string, Part> & { added_tokens: Part[]; model: { merges: unknown[]; vocab: Record<string, unknown> } }) => void, message: RegExp): void => {
    const json = JSON.parse(good)
    change(json)
    writeFileSync(file, JSON.stringify(json))
    assert.throws(() => Tokenizer.load(file), failure('INPUT', message))
    assert.throws(() => Tokenizer.load(file), /tokenizer\.json: /)
  }
  rejected((json) => { json.normalizer = { type: 'NFC' } }, /a normalizer \(NFC\) is not supported/)
  rejected((json) => { json.model = { type: 'Unigram' } as never }, /a model of type Unigram/)
  rejected((json) => { json.model = { type: 'BPE' } as never }, /model: must hold/)
  rejected((json) => { json.pre_tokenizer = { type: 'Sequence', pretokenizers: [{ type: 'Split' }, { type: 'ByteLevel' }] } }, /Sequence \(Split, ByteLevel\)/)
  rejected((json) => { json.pre_tokenizer = null as never }, /without the pre-tokenizer ByteLevel/)
  rejected((json) => { json.pre_tokenizer!.add_prefix_space = true }, /add_prefix_space/)
  rejected((json) => { json.pre_tokenizer!.use_regex = false }, /without its pattern/)
  rejected((json) => { json.decoder = { type: 'WordPiece' } }, /a decoder of type WordPiece/)
  rejected((json) => { json.post_processor = { type: 'BertProcessing' } }, /a post-processor of type BertProcessing/)
  rejected((json) => { Object.assign(json.model, { dropout: 0.1 }) }, /dropout/)
  rejected((json) => { Object.assign(json.model, { end_of_word_suffix: '</w>' }) }, /suffix/)
  rejected((json) => { Object.assign(json.model, { ignore_merges: true }) }, /ignore_merges/)
  rejected((json) => { json.added_tokens[0]!.lstrip = true }, /lstrip/)
  rejected((json) => { json.added_tokens[0]!.id = 5 }, /has the id 0 in the vocabulary, but 5 here/)
  rejected((json) => { delete json.model.vocab['Ġ'] }, /no token for the byte 32/)
  rejected((json) => { json.model.vocab['!'] = 2.5 }, /whole number, not 2.5/)
  rejected((json) => { json.model.vocab['!'] = 2 }, /the same id 2/)
  rejected((json) => { json.model.vocab['far'] = 1e9 }, /leave too many out/)
  rejected((json) => { json.model.merges[3] = ['q', 'nosuch'] }, /merges\[3\]: "nosuch" is not in the vocabulary/)
  rejected((json) => { json.model.merges[0] = 'a' }, /merges\[0\]: must be two tokens/)
  writeFileSync(file, good.slice(0, 100))
  assert.throws(() => Tokenizer.load(file), failure('INPUT', /not valid JSON/))
  writeFileSync(file, '[]')
  assert.throws(() => Tokenizer.load(file), failure('INPUT', /not a tokenizer\.json/))
  assert.throws(() => Tokenizer.load(join(folder, 'nowhere')), failure('INPUT', /no such file/))
  mkdirSync(join(folder, 'without'))
  assert.throws(() => Tokenizer.load(join(folder, 'without')), failure('INPUT', /tokenizer\.json: no such file/))
})
