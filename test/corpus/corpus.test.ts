import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { openCorpus, verifyCorpus } from '../../src/corpus/corpus.js'
import { build, byteEncoder, failure, letters, temporaryFolder } from './support.js'

async function corpusOf(t: TestContext): Promise<string> {
  const folder = join(temporaryFolder(t), 'corpus')
  await build(folder, [letters(500), letters(33)], { shardBytes: 256 })
  verifyCorpus(folder)
  return folder
}

function change(file: string, at: number): void {
  const bytes = readFileSync(file)
  bytes[at]! ^= 1
  writeFileSync(file, bytes)
}

test('a damaged shard is found when a small corpus is opened, and named', async (t) => {
  const folder = await corpusOf(t)
  change(join(folder, 'tokens-00002.bin'), 17)
  assert.throws(() => openCorpus(folder), failure('CORRUPT', /tokens-00002.bin: has been damaged/))
  assert.throws(() => verifyCorpus(folder), failure('CORRUPT', /tokens-00002.bin: has been damaged/))
  openCorpus(folder, { verify: false })[Symbol.dispose]()
})

test('a shard or a window table that was cut, or grew, is found without checksums', async (t) => {
  for (const file of ['tokens-00001.bin', 'windows.bin']) {
    const folder = await corpusOf(t), path = join(folder, file), bytes = readFileSync(path).length
    truncateSync(path, bytes - 1)
    assert.throws(() => openCorpus(folder, { verify: false }), failure('CORRUPT', new RegExp(`${file}: has ${bytes - 1} bytes, but should have ${bytes}`)))
    writeFileSync(path, Buffer.alloc(bytes + 4))
    assert.throws(() => openCorpus(folder, { verify: false }), failure('CORRUPT', new RegExp(file)))
  }
})

test('damage that opening cannot see is told by what is read', async (t) => {
  const folder = await corpusOf(t)
  change(join(folder, 'tokens-00000.bin'), 2 * 5 + 1) // the high byte: 102 becomes 358
  const table = readFileSync(join(folder, 'windows.bin'))
  table.writeUInt32LE(99, 20 * 3) // window 3 in shard 99
  table.writeUInt32LE(120, 20 * 4 + 4) // window 4 beyond its shard's end
  writeFileSync(join(folder, 'windows.bin'), table)
  using corpus = openCorpus(folder, { verify: false })
  assert.throws(() => corpus.readWindows(0, 1), failure('CORRUPT', /tokens-00000.bin: holds token \d+, but the vocabulary has 257/))
  assert.throws(() => corpus.readWindow(3, new Int32Array(16)), failure('CORRUPT', /windows.bin: names tokens .* of shard 99/))
  assert.throws(() => corpus.readWindow(4, new Int32Array(16)), failure('CORRUPT', /windows.bin: names tokens 120 to/))
  assert.throws(() => corpus.readWindow(1e6, new Int32Array(16)), failure('INTERNAL', /windows 1000000/))
  assert.throws(() => corpus.readWindow(-1, new Int32Array(16)), failure('INTERNAL', /windows -1/))
})

test('missing files and folders are INPUT errors that name them', async (t) => {
  assert.throws(() => openCorpus('nowhere'), failure('INPUT', /nowhere.corpus.json: no such file/))
  for (const file of ['tokens-00001.bin', 'windows.bin', 'corpus.json']) {
    const folder = await corpusOf(t)
    rmSync(join(folder, file))
    assert.throws(() => openCorpus(folder), failure('INPUT', new RegExp(`${file}: no such file`)))
  }
})

test('a manifest that is not one is CORRUPT, and the field is named', async (t) => {
  const folder = await corpusOf(t), file = join(folder, 'corpus.json'), text = readFileSync(file, 'utf8')
  writeFileSync(file, text.slice(0, text.length / 2))
  assert.throws(() => openCorpus(folder), failure('CORRUPT', /corpus.json: is not valid JSON/))
  for (const [field, change] of [['version', { version: 2 }], ['counts.windows', { counts: { ...JSON.parse(text).counts, windows: -1 } }], ['tokenType', { tokenType: 'f32' }]] as const) {
    writeFileSync(file, JSON.stringify({ ...JSON.parse(text), ...change }))
    assert.throws(() => openCorpus(folder), failure('CORRUPT', new RegExp(`corpus.json: ${field}: `)))
  }
})

test('a corpus of another tokenizer is refused', async (t) => {
  const folder = await corpusOf(t)
  openCorpus(folder, { tokenizer: byteEncoder.hash })[Symbol.dispose]()
  assert.throws(() => openCorpus(folder, { tokenizer: 'a'.repeat(64) }), failure('INPUT', /this corpus was built with another tokenizer/))
})

test('a corpus that was closed says so', async (t) => {
  const corpus = openCorpus(await corpusOf(t))
  corpus.dispose()
  corpus.dispose()
  assert.throws(() => corpus.readWindow(0, new Int32Array(16)), failure('DISPOSED', /was closed/))
})

test('a corpus of more shards than are held open is read in any order', async (t) => {
  const folder = join(temporaryFolder(t), 'corpus')
  await build(folder, Array.from({ length: 700 }, (_, i) => letters(4 + i % 12)), { shardBytes: 2 })
  using corpus = openCorpus(folder)
  assert.equal(corpus.manifest.shards.length, 700)
  const before = readdirSync('/proc/self/fd').length
  for (let i = 0; i < 2100; i++) {
    const window = (i * 293) % 700
    assert.equal(corpus.gatherWindows([window]).tokens.length, 5 + window % 12)
  }
  assert.ok(readdirSync('/proc/self/fd').length <= before + 257)
})
