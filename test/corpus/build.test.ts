import assert from 'node:assert/strict'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { buildCorpus } from '../../src/corpus/build.js'
import { openCorpus } from '../../src/corpus/corpus.js'
import { cutWindows } from '../../src/corpus/cut.js'
import { build, byteEncoder, failure, letters, temporaryFolder } from './support.js'

test('windows hold the documents, in order, with their end; remainders that are too short are dropped', async (t) => {
  const folder = join(temporaryFolder(t), 'corpus')
  const texts = ['hé', letters(15), letters(18), letters(40), '', 'z']
  const manifest = await build(folder, texts, { source: 'letters' })
  // with their end: 4 (é is two bytes), 16, 19 = 16 + 3 dropped, 41 = 16 + 16 + 9, 1 (no window), 2
  assert.deepEqual(manifest.counts, { documents: 6, skippedDocuments: 1, windows: 7, tokens: 4 + 16 + 16 + 41 + 2, droppedTokens: 3 + 1, textBytes: 3 + 15 + 16 + 40 + 1 })
  assert.equal(manifest.tokenType, 'u16')
  using corpus = openCorpus(folder, { tokenizer: byteEncoder.hash })
  const windows = Array.from({ length: corpus.windows }, (_, i) => corpus.window(i))
  assert.deepEqual(windows.map((w) => [w.document, w.length, w.textBytes]), [[0, 4, 3], [1, 16, 15], [2, 16, 16], [3, 16, 16], [3, 16, 16], [3, 9, 8], [5, 2, 1]])
  const { tokens, lengths } = corpus.readWindows(3, 3)
  assert.deepEqual([...lengths], [16, 16, 9])
  assert.deepEqual([...tokens], [...Buffer.from(texts[3]!), 256])
  const into = new Int32Array(20).fill(-1)
  assert.equal(corpus.readWindow(0, into, 2), 4)
  assert.deepEqual([...into.subarray(0, 7)], [-1, -1, ...Buffer.from('hé'), 256, -1])
  assert.equal(corpus.readWindow(1, into, 0, 3), 3)
})

test('whatever is read back, in shards of any size, by any way of reading, is what was written', async (t) => {
  const root = temporaryFolder(t)
  let run = 0
  await fc.assert(fc.asyncProperty(fc.array(fc.string({ unit: 'grapheme', maxLength: 60 }), { minLength: 5, maxLength: 30 }), fc.integer({ min: 4, max: 200 }), fc.boolean(), async (strings, shardBytes, endOfText) => {
    const folder = join(root, `corpus-${run++}`)
    const texts = [...strings, letters(50)]
    await build(folder, texts, { shardBytes, endOfText })
    using corpus = openCorpus(folder)
    const want = texts.flatMap((text, document) => {
      const ids = [...Buffer.from(text), ...(endOfText ? [256] : [])]
      let at = 0
      return cutWindows(ids.length, 16, 4).map((length) => ({ document, ids: ids.slice(at, at += length) }))
    })
    assert.equal(corpus.windows, want.length)
    const all = corpus.readWindows(0, corpus.windows)
    assert.deepEqual([...all.tokens], want.flatMap(({ ids }) => ids))
    const backwards = Array.from(want.keys()).reverse()
    assert.deepEqual([...corpus.gatherWindows(backwards).tokens], backwards.flatMap((i) => want[i]!.ids))
    want.forEach(({ document, ids }, i) => {
      const into = new Int32Array(16)
      assert.deepEqual([...into.subarray(0, corpus.readWindow(i, into))], ids)
      assert.equal(corpus.window(i).document, document)
    })
    if (shardBytes < 40) assert.ok(corpus.manifest.shards.length > 1)
  }), { numRuns: 30 })
})

test('cutting: nothing is longer than the context, little is lost', () => {
  fc.assert(fc.property(fc.nat(3000), fc.integer({ min: 2, max: 300 }), fc.integer({ min: 2, max: 300 }), (length, context, minimum) => {
    minimum = Math.min(minimum, context)
    const windows = cutWindows(length, context, minimum), total = windows.reduce((a, b) => a + b, 0)
    assert.ok(windows.every((n) => n >= 2 && n <= context) && total <= length)
    assert.ok(length - total < (windows.length ? minimum : 2))
  }))
})

test('large vocabularies take four bytes a token', async (t) => {
  const folder = join(temporaryFolder(t), 'corpus')
  const tokenizer = { ...byteEncoder, vocabularySize: 70000, endOfText: 69999, byteLengths: new Uint8Array(70000) }
  const manifest = await build(folder, [letters(40)], { tokenizer })
  assert.equal(manifest.tokenType, 'u32')
  using corpus = openCorpus(folder)
  assert.equal(corpus.readWindows(0, 3).tokens.at(-1), 69999)
})

test('a maximum of tokens is kept to the token, and reading stops there', async (t) => {
  let read = 0
  const documents = function* () { for (; ; read++) yield { text: letters(1 << 20) } }
  const manifest = await build(join(temporaryFolder(t), 'corpus'), [], { documents: documents(), maximumTokens: 1003 * 16 + 5 })
  assert.equal(manifest.counts.tokens, 1003 * 16 + 5)
  assert.ok(read < 10)
})

test('the same text gives the same corpus, another tokenizer another', async (t) => {
  const root = temporaryFolder(t), texts = [letters(50), letters(70)]
  const hash = async (name: string, options = {}) => {
    await build(join(root, name), texts, options)
    using corpus = openCorpus(join(root, name))
    return corpus.hash
  }
  const first = await hash('a')
  assert.equal(await hash('b', { source: 'elsewhere' }), first)
  assert.notEqual(await hash('c', { tokenizer: { ...byteEncoder, hash: 'c'.repeat(64) } }), first)
  assert.notEqual(await hash('d', { context: 15 }), first)
})

test('text smaller than one window, or none, is an INPUT error and leaves nothing', async (t) => {
  const root = temporaryFolder(t)
  await assert.rejects(build(join(root, 'corpus'), ['tiny'], { source: 'domain.txt' }), failure('INPUT', /^domain.txt: the text is smaller than one window: 5 tokens from 1 documents, and a window is 16/))
  await assert.rejects(build(join(root, 'corpus'), []), failure('INPUT', /there is no text/))
  assert.deepEqual(fs.readdirSync(root), [])
})

test('settings that do not fit together are CONFIG errors', async (t) => {
  const into = join(temporaryFolder(t), 'corpus'), texts = [letters(99)]
  await assert.rejects(build(into, texts, { context: 1 }), failure('CONFIG', /^context: /))
  await assert.rejects(build(into, texts, { minimumLength: 17 }), failure('CONFIG', /^minimumLength: .* context, 16/))
  await assert.rejects(build(into, texts, { maximumTokens: 15 }), failure('CONFIG', /^maximumTokens: /))
  await assert.rejects(build(into, texts, { tokenizer: { ...byteEncoder, endOfText: undefined } }), failure('CONFIG', /no end-of-text token/))
})

test('whatever fails, nothing half-written is left and an earlier corpus is intact', async (t) => {
  const root = temporaryFolder(t), folder = join(root, 'corpus')
  await build(folder, [letters(50)])
  const before = fs.readFileSync(join(folder, 'corpus.json'), 'utf8')
  const intact = () => {
    assert.deepEqual(fs.readdirSync(root), ['corpus'])
    assert.equal(fs.readFileSync(join(folder, 'corpus.json'), 'utf8'), before)
  }
  await assert.rejects(build(folder, [letters(60)]), failure('INPUT', /is there already, and not empty/))
  intact()
  const broken = async function* () { yield { text: letters(1 << 22) }; throw new Error('the source broke') }
  await assert.rejects(build(folder, [], { documents: broken(), replace: true }), /the source broke/)
  intact()
  const tokenizer = { ...byteEncoder, encodeBatch: () => Promise.reject(new Error('the tokenizer broke')) }
  await assert.rejects(build(folder, [letters(60)], { tokenizer, replace: true }), /the tokenizer broke/)
  intact()
  await assert.rejects(build(folder, [letters(60)], { tokenizer: { ...byteEncoder, encodeBatch: async () => [Uint32Array.of(1, 300, 2)] }, replace: true }), failure('INTERNAL', /not in its vocabulary of 257/))
  intact()
  await build(folder, [letters(60)], { replace: true })
  assert.deepEqual(fs.readdirSync(root), ['corpus'])
  assert.notEqual(fs.readFileSync(join(folder, 'corpus.json'), 'utf8'), before)
})

test('an aborted build ends with INTERRUPTED and leaves nothing', async (t) => {
  const root = temporaryFolder(t), stop = new AbortController()
  const endless = function* () { for (let i = 0; ; i++) { if (i === 3) stop.abort(); yield { text: letters(1 << 21) } } }
  await assert.rejects(build(join(root, 'corpus'), [], { documents: endless(), signal: stop.signal }), failure('INTERRUPTED', /interrupted/))
  assert.deepEqual(fs.readdirSync(root), [])
})

test('what a killed process left behind is tidied up by the next build', async (t) => {
  const root = temporaryFolder(t), dead = 2 ** 22 + 1 // beyond the largest process number
  fs.mkdirSync(join(root, `.corpus.${dead}.tmp`))
  await build(join(root, `.corpus.${dead}.tmp.old`), [letters(50)])
  fs.mkdirSync(join(root, '.corpus.1.tmp')) // process 1 is alive
  await assert.rejects(build(join(root, 'corpus'), ['x'], { replace: true }), failure('INPUT', /smaller than one window/))
  assert.deepEqual(fs.readdirSync(root).sort(), ['.corpus.1.tmp', 'corpus']) // the corpus that had been moved aside is back
  openCorpus(join(root, 'corpus'))[Symbol.dispose]()
})

test('a full disk is a RESOURCE error that names the file, and leaves nothing', async (t) => {
  const root = temporaryFolder(t), { writeSync } = fs
  t.after(() => { fs.writeSync = writeSync; syncBuiltinESMExports() })
  let written = 0
  fs.writeSync = ((handle: number, data: Uint8Array, ...rest: []) => {
    if ((written += data.byteLength) > 1 << 20) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' })
    return writeSync(handle, data, ...rest)
  }) as typeof writeSync
  syncBuiltinESMExports()
  const documents = Array.from({ length: 8 }, () => ({ text: letters(1 << 18) }))
  await assert.rejects(buildCorpus({ documents, tokenizer: byteEncoder, context: 128, into: join(root, 'corpus') }), failure('RESOURCE', /tokens-00000.bin: the disk is full/))
  assert.deepEqual(fs.readdirSync(root), [])
})
