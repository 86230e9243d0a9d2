import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { readDocuments, type Document, type ReadOptions } from '../../src/text/index.js'
import { readLines } from '../../src/text/lines.js'
import { Xxh64 } from '../../src/text/xxh64.js'
import { decompressZstd } from '../../src/text/zstd.js'
import { failure, temporaryFolder } from './shared.js'

const folder = temporaryFolder()
let files = 0
/** A new file with this ending. */
function file(ending: string, content: string | Uint8Array): string {
  const name = join(folder, `${files++}${ending}`)
  writeFileSync(name, content)
  return name
}
async function read(sources: string | string[], options?: ReadOptions): Promise<Document[]> {
  const all: Document[] = []
  for await (const document of readDocuments(sources, options)) all.push(document)
  return all
}
const texts = async (sources: string | string[], options?: ReadOptions): Promise<string[]> => (await read(sources, options)).map(({ text }) => text)
const lines = (...all: string[]): string => all.map((text) => `${JSON.stringify({ text })}\n`).join('')

/** A Zstandard frame of raw blocks (and one of a repeated byte, if asked for), with a checksum. */
function zstdFrame(content: Uint8Array, blockSize = 1000, repeated?: { byte: number; count: number }): Buffer {
  const parts = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x48])]
  const block = (type: number, size: number, body: Uint8Array, last: boolean): void => {
    const header = (last ? 1 : 0) | (type << 1) | (size << 3)
    parts.push(Buffer.from([header & 255, (header >> 8) & 255, header >> 16]), Buffer.from(body))
  }
  for (let at = 0; at < content.length; at += blockSize) block(0, Math.min(blockSize, content.length - at), content.subarray(at, at + blockSize), false)
  if (repeated) block(1, repeated.count, Uint8Array.of(repeated.byte), false)
  block(0, 0, new Uint8Array(), true)
  const hash = new Xxh64()
  hash.update(content)
  if (repeated) hash.update(Buffer.alloc(repeated.count, repeated.byte))
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32LE(Number(hash.digest() & 0xffffffffn))
  return Buffer.concat([...parts, checksum])
}

test('text files: one document each, or one a line', async () => {
  assert.deepEqual(await read(file('.txt', '\ufeffone\n\ntwo\r\n')), [{ text: 'one\n\ntwo\r\n', file: join(folder, '0.txt') }])
  const byLine = file('.TXT', '\ufeffone\r\n\n \ntwo \nthree')
  assert.deepEqual(await read(byLine, { documentPerLine: true }), [{ text: 'one', file: byLine, line: 1 }, { text: 'two ', file: byLine, line: 4 }, { text: 'three', file: byLine, line: 5 }])
})

test('JSON lines, of any field', async () => {
  const name = file('.jsonl', `\ufeff${lines('a\n😀')}\r\n{"text":"b","other":1}\n\n{"text":""}`)
  assert.deepEqual(await read(name), [{ text: 'a\n😀', file: name, line: 1 }, { text: 'b', file: name, line: 3 }, { text: '', file: name, line: 5 }])
  for (const ending of ['.json', '.ndjson']) assert.deepEqual(await texts(file(ending, '{"body":"x"}\n'), { field: 'body' }), ['x'])
})

test('lines come out the same however the bytes are cut', async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.string({ unit: 'binary' }).map((s) => Buffer.from(s).toString().replaceAll(/[\r\n]/g, ' ')), { minLength: 1 }), fc.array(fc.nat(30)), fc.boolean(), async (all, cuts, carriage) => {
    const bytes = Buffer.from(all.join(carriage ? '\r\n' : '\n') + '\n')
    async function* chunks(): AsyncGenerator<Uint8Array> {
      let at = 0
      for (const size of cuts) yield bytes.subarray(at, at += size)
      yield bytes.subarray(at)
    }
    const got: string[] = []
    for await (const line of readLines(chunks(), 'memory')) got.push(line.text)
    all[0] = all[0]!.replace(/^\ufeff/, '')
    assert.deepEqual(got, all)
  }))
})

test('a very long line', async () => {
  const long = 'long words '.repeat(1 << 20)
  assert.deepEqual(await texts(file('.jsonl', lines(long, 'short'))), [long, 'short'])
})

test('gz: also of several members', async () => {
  assert.deepEqual(await texts(file('.jsonl.gz', Buffer.concat([gzipSync(lines('a', 'b')), gzipSync(lines('c'))]))), ['a', 'b', 'c'])
  assert.deepEqual(await texts(file('.txt.gz', gzipSync('text'))), ['text'])
})

test('zst: compressed, raw and repeated blocks, several frames, skippable ones', async () => {
  // By zstd 1.5.4, level 19, with checksum.
  const packed = Buffer.from('KLUv/WSYCyUIACKOKB1gbzqcPEH+IIH9icsHADSmVu4tt5RphkMoCAIVAYBME/DXZjZEM7zxXmgnKiMqH61GpVahs+2zte8ZuzL9uq4ry+8XPtvv9JVKdes6j83bmHWp17+sm15FZ96+le22qW2TKer6Uudi3gZkmoC6iFN4JugS0eEsF4Ij4kyikzyeiXGVCHEQJYoUrmFYTJBzFNIJ1EmQ80yGaNCcoJEqjtRgAk+oEdDc1392A7AzUsgBEmgQ+GcQKAtwgn9/A3l//NDT1N8zn5jXHLc1rejyyJFkEpoUjBObRB2MfG5VyUzKyERSw9EsPaoJ45ZZ3FXLESpKuXThE6FWQZgdtVwlMbVVRLbWZg==', 'base64')
  const want = Array.from({ length: 40 }, (_, i) => `Document ${i}: the quick brown fox jumps over the lazy dog number ${i * i}.`)
  assert.deepEqual(await texts(file('.jsonl.zst', packed)), want)
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5])
  const long = 'x'.repeat(5000)
  assert.deepEqual(await texts(file('.jsonl.zst', Buffer.concat([zstdFrame(Buffer.from(lines('a', long)), 777), skippable, packed, zstdFrame(Buffer.from('{"text":"'), 1000, { byte: 0x41, count: 3 }), zstdFrame(Buffer.from('"}'))]))), ['a', long, ...want, 'AAA'])
})

test('zst comes out the same however the bytes are cut, and never damaged', async () => {
  const content = Buffer.from(lines('first', 'y'.repeat(300), 'last'))
  const frame = zstdFrame(content, 100)
  const decompressed = async (bytes: Uint8Array, size: number): Promise<Buffer> => {
    async function* chunks(): AsyncGenerator<Uint8Array> { for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size) }
    const parts: Uint8Array[] = []
    for await (const part of decompressZstd(chunks(), 'memory')) parts.push(part)
    return Buffer.concat(parts)
  }
  for (const size of [1, 2, 3, 7, 64, 1000]) assert.deepEqual(await decompressed(frame, size), content)
  for (let end = 1; end < frame.length; end++) await assert.rejects(decompressed(frame.subarray(0, end), 64), failure('INPUT', end < 4 ? /cut short/ : /cut short: it ends at byte/))
  for (let at = 0; at < frame.length; at++) {
    const damaged = Buffer.from(frame)
    damaged[at]! ^= 0x04
    // In the descriptor the bit says whether there is a checksum, and in the window's size it does not matter.
    if (at !== 4 && at !== 5) await assert.rejects(decompressed(damaged, 64), failure('INPUT', /damaged|cut short/), `byte ${at}`)
  }
})

test('XXH64 in pieces, with known values', () => {
  const hash = (...parts: string[]): string => {
    const xxh64 = new Xxh64()
    for (const part of parts) xxh64.update(Buffer.from(part))
    return xxh64.digest().toString(16)
  }
  assert.equal(hash(), 'ef46db3751d8e999')
  assert.equal(hash('abc'), '44bc2cf5ad770999')
  assert.equal(hash('Nobody inspects', ' the spammish repetition'), 'fbcea83c8a378bf1')
  fc.assert(fc.property(fc.array(fc.string({ maxLength: 70 })), (parts) => hash(...parts) === hash(parts.join(''))))
})

test('parquet, by row groups, of any column', async () => {
  const want = Array.from({ length: 1000 }, (_, i) => (i % 7 === 0 ? 'the same' : `text ${i} 😀`))
  for (const codec of ['SNAPPY', 'UNCOMPRESSED'] as const) {
    const name = file('.parquet', new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'id', data: want.map((_, i) => i), type: 'INT32' }, { name: 'body', data: want, type: 'STRING' }], rowGroupSize: 300, codec })))
    const documents = await read(name, { field: 'body' })
    assert.deepEqual(documents.map(({ text }) => text), want)
    assert.deepEqual(documents[700], { text: 'the same', file: name, row: 700 })
  }
})

test('folders and patterns: sorted by name, known endings, each file once', async () => {
  const root = join(folder, 'tree')
  mkdirSync(join(root, 'b', 'deep'), { recursive: true })
  mkdirSync(join(root, '.hidden'))
  for (const [name, text] of [['c.txt', 'c'], ['a.jsonl', lines('a')], ['b/deep/2.txt', 'b2'], ['b/10.txt', 'b10'], ['.hidden/x.txt', 'no'], ['.y.txt', 'no'], ['notes.md', 'no']] as const) writeFileSync(join(root, name), text)
  symlinkSync(join(root, 'c.txt'), join(root, 'd.txt'))
  assert.deepEqual(await texts(root), ['a', 'b10', 'b2', 'c', 'c'])
  assert.deepEqual(await texts(join(root, '**/*.txt')), ['b10', 'b2', 'c', 'c'])
  assert.deepEqual(await texts([join(root, 'c.txt'), join(root, '*.{txt,jsonl}'), root]), ['c', 'a', 'c', 'b10', 'b2'])
  writeFileSync(join(root, '[x]*.txt'), 'odd name')
  assert.deepEqual(await texts(join(root, '[x]*.txt')), ['odd name'])
  await assert.rejects(read(join(root, '*.nothing')), failure('INPUT', /\*\.nothing: no file matches/))
  await assert.rejects(read(join(root, '*.md')), failure('INPUT', /none has a known ending/))
  await assert.rejects(read(join(root, 'notes.md')), failure('INPUT', /notes\.md: its ending/))
  mkdirSync(join(root, 'empty'))
  await assert.rejects(read(join(root, 'empty')), failure('INPUT', /empty: there is no text file/))
  await assert.rejects(read([]), failure('INPUT', /no text files/))
})

test('relative names', async () => {
  const code = `const { readDocuments } = await import(${JSON.stringify(new URL('../../src/text/index.js', import.meta.url).href)}); for await (const { file } of readDocuments(['tree/c.txt', 'tree/b', 'tr*/a.jsonl'])) console.log(file)`
  assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: folder, encoding: 'utf8' }), 'tree/c.txt\ntree/b/10.txt\ntree/b/deep/2.txt\ntree/a.jsonl\n')
})

test('what cannot be read is told with file and place', async () => {
  const rejected = (name: string, message: RegExp, options?: ReadOptions, line?: number): Promise<void> => assert.rejects(read(name, options), failure('INPUT', new RegExp(`^${name.replaceAll(/[.\\/]/g, '\\$&')}.*${message.source}`), line))
  await rejected(join(folder, 'missing.txt'), /no such file/)
  await rejected(file('.parquet.gz', ''), /its ending/)
  for (const ending of ['.txt', '.jsonl', '.txt.gz', '.jsonl.zst', '.parquet']) await rejected(file(ending, ''), /the file is empty/)
  await rejected(file('.jsonl', '\n \n'), /no document/)
  await rejected(file('.jsonl.gz', gzipSync('')), /no document/)
  await rejected(file('.jsonl', `${lines('a')}{"text": "cut in the mid`), /ends in the middle of its JSON: is the file cut short\?/, {}, 2)
  await rejected(file('.jsonl', `{\n${lines('a')}`), /ends in the middle of its JSON/, {}, 1)
  await rejected(file('.jsonl', `${lines('a')}{"text": 1}}\n`), /not valid JSON .*position 11/, {}, 2)
  await rejected(file('.json', '[\n{"text":"a"}\n]'), /ends in the middle/, {}, 1)
  await rejected(file('.jsonl', '"text"\n'), /holds no JSON object/, {}, 1)
  await rejected(file('.jsonl', `${lines('a', 'b')}{"body":"c","id":1}\n`), /has no field 'text'; it has 'body', 'id'/, {}, 3)
  await rejected(file('.jsonl', '{"text":null}'), /'text' holds null, not a string/, {}, 1)
  await rejected(file('.jsonl', '{"text":"a"}\n'), /has no field 'toString'/, { field: 'toString' }, 1)
  await rejected(file('.txt', Buffer.from([0x61, 0x62, 0xc3, 0x28, 0x62])), /invalid UTF-8 at byte 2$/)
  await rejected(file('.txt', Buffer.from('long enough \u00e9 \u{1f600}', 'utf8').subarray(0, -1)), /invalid UTF-8 at byte 15$/)
  await rejected(file('.txt', Buffer.from('a\n\xe9t\xe9', 'latin1')), /invalid UTF-8 at byte 0 of the line$/, { documentPerLine: true }, 2)
  await rejected(file('.jsonl', Buffer.concat([Buffer.from(lines('a', 'b')), Buffer.from('{"text":"\xff"}', 'latin1')])), /invalid UTF-8 at byte 9 of the line/, {}, 3)
  const random = Array.from({ length: 5000 }, (_, i) => `${(i * 7919) % 104729}`)
  const gz = gzipSync(lines(...random))
  await rejected(file('.jsonl.gz', gz.subarray(0, gz.length - 5)), /the gz stream is cut short/)
  await rejected(file('.jsonl.gz', gz.subarray(0, gz.length / 2)), /the gz stream is cut short/)
  await rejected(file('.jsonl.gz', gz.fill(0, gz.length / 2, gz.length / 2 + 50)), /damaged|not valid JSON/)
  await rejected(file('.jsonl.gz', lines('a')), /damaged or no gz file/)
  await rejected(file('.jsonl.zst', lines('a')), /no Zstandard frame at byte 0: the file is damaged or no zst file/)
})

test('parquet files that cannot be read are told with column and row', async () => {
  const rejected = (name: string, message: RegExp, options?: ReadOptions): Promise<void> => assert.rejects(read(name, options), failure('INPUT', message))
  const whole = new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'id', data: [1, 2, 3], type: 'INT32' }, { name: 'text', data: ['a', 'b', null], type: 'STRING' }] }))
  const name = file('.parquet', whole)
  await rejected(name, /row 2: 'text' holds nothing/)
  await rejected(name, /has no column 'body'; it has 'id', 'text'/, { field: 'body' })
  await rejected(name, /the column 'id' does not hold text, but INT32/, { field: 'id' })
  await rejected(file('.parquet', whole.subarray(0, whole.length - 9)), /is no Parquet file, or cut short/)
  await rejected(file('.parquet', lines('a')), /is no Parquet file/)
  await rejected(file('.parquet', 'PAR1'), /is no Parquet file/)
  const bytes = new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'text', data: [Buffer.from('fine'), Buffer.from([0x61, 0xff])], type: 'BYTE_ARRAY' }] }))
  await rejected(file('.parquet', bytes), /row 1: invalid UTF-8 at byte 1/)
  const damaged = Uint8Array.from(whole).fill(0xff, 4, 40)
  await rejected(file('.parquet', damaged), /rows 0 to 2 cannot be read|row/)
})
