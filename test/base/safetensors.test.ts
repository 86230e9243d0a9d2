import assert from 'node:assert/strict'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { NichelmError, type ErrorCode } from '../../src/base/errors.js'
import { DTYPES, SafetensorsFile, writeSafetensors, type Dtype, type TensorToWrite } from '../../src/base/safetensors.js'
import { temporaryFolder } from './temporary.js'

const golden = join(import.meta.dirname, '../../../test/golden')

function refused(action: () => unknown, code: ErrorCode, ...says: string[]): void {
  assert.throws(action, (error: unknown) => {
    assert.ok(error instanceof NichelmError, String(error))
    assert.equal(error.code, code, error.message)
    for (const part of says) assert.ok(error.message.includes(part), `"${error.message}" does not say "${part}"`)
    return true
  })
}

/** A file with this header and this many bytes of data. */
function fileWith(file: string, header: unknown, dataBytes: number): string {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header)), start = Buffer.alloc(8)
  start.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(file, Buffer.concat([start, text, Buffer.alloc(dataBytes)]))
  return file
}

const tensor = (dtype: Dtype = 'F32') => fc.record({
  dtype: fc.constant(dtype), shape: fc.array(fc.nat(4), { maxLength: 4 }), seed: fc.nat(1000),
}).map(({ dtype, shape, seed }) => {
  const count = shape.reduce((a, b) => a * b, 1), array = new DTYPES[dtype](count)
  const bytes = new Uint8Array(array.buffer)
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 37 + seed) & 255
  return { dtype, shape, data: array }
})
const tensors = fc.uniqueArray(
  fc.tuple(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 6 }), fc.constantFrom('__proto__', 'constructor', '7', 'h.0.mlp.up')), fc.oneof(...(Object.keys(DTYPES) as Dtype[]).map(tensor))),
  { selector: ([name]) => name, maxLength: 6 },
).map(list => list.map(([name, rest]): TensorToWrite => ({ name, ...rest })))

test('what is written is read again, with and without checksums, whole and by ranges', () => {
  using folder = temporaryFolder()
  const file = folder.file('a.safetensors')
  fc.assert(fc.property(tensors, fc.boolean(), fc.dictionary(fc.string().filter(key => !key.startsWith('sha256')), fc.string()), (list, checksums, metadata) => {
    writeSafetensors(file, list, { checksums, metadata })
    using read = new SafetensorsFile(file)
    assert.deepEqual(new Set(read.names), new Set(list.map(({ name }) => name)))
    for (const [key, value] of Object.entries(metadata)) assert.equal(read.metadata[key], value)
    assert.equal(read.verify(), checksums ? list.length : 0)
    for (const { name, dtype, shape, data } of list) {
      assert.ok(typeof data !== 'function')
      assert.deepEqual([read.entry(name).dtype, read.entry(name).shape], [dtype, shape])
      assert.deepEqual(read.read(name), data)
      const start = Math.floor(data.length / 3), count = Math.floor(data.length / 2)
      assert.deepEqual(read.read(name, { start, count }), data.slice(start, start + count))
    }
  }), { numRuns: 200 })
})

test('the header is padded, so that the data is aligned to 8 bytes', () => {
  using folder = temporaryFolder()
  for (const name of ['a', 'ab', 'abc', 'abcd']) {
    writeSafetensors(folder.file(name), [{ name, dtype: 'F32', shape: [1], data: Float32Array.of(1) }])
    using read = new SafetensorsFile(folder.file(name))
    assert.equal(read.entry(name).offset % 8, 0)
  }
})

test('a file cut short anywhere is refused', () => {
  using folder = temporaryFolder()
  writeSafetensors(folder.file('a'), [{ name: 'x', dtype: 'F32', shape: [3], data: Float32Array.of(1, 2, 3) }, { name: 'y', dtype: 'U8', shape: [2], data: Uint8Array.of(1, 2) }], { checksums: true })
  const whole = readFileSync(folder.file('a'))
  for (let length = 0; length < whole.length; length++) {
    writeFileSync(folder.file('b'), whole.subarray(0, length))
    refused(() => new SafetensorsFile(folder.file('b')), 'CORRUPT', folder.file('b'))
  }
  writeFileSync(folder.file('b'), Buffer.concat([whole, Buffer.of(0)]))
  refused(() => new SafetensorsFile(folder.file('b')), 'CORRUPT', '1 bytes after its last tensor')
})

test('every single flipped bit of a file with checksums is found', () => {
  using folder = temporaryFolder()
  writeSafetensors(folder.file('a'), [{ name: 'x', dtype: 'F32', shape: [3, 1], data: Float32Array.of(1, 2, 3) }, { name: 'y', dtype: 'BF16', shape: [2], data: Uint16Array.of(1, 2) }],
    { checksums: true, metadata: { step: '12' } })
  const whole = readFileSync(folder.file('a'))
  for (let bit = 0; bit < whole.length * 8; bit++) {
    whole[bit >> 3]! ^= 1 << (bit & 7)
    writeFileSync(folder.file('b'), whole)
    whole[bit >> 3]! ^= 1 << (bit & 7)
    assert.throws(() => { using read = new SafetensorsFile(folder.file('b')); read.verify() }, (error: unknown) => error instanceof NichelmError, `bit ${bit}`)
  }
})

test('a damaged tensor is named', () => {
  using folder = temporaryFolder()
  writeSafetensors(folder.file('a'), ['x', 'y'].map(name => ({ name, dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) })), { checksums: true })
  const bytes = readFileSync(folder.file('a'))
  bytes[bytes.length - 1]! ^= 1
  writeFileSync(folder.file('a'), bytes)
  using read = new SafetensorsFile(folder.file('a'))
  refused(() => read.verify(), 'CORRUPT', folder.file('a'), 'y: does not match its checksum')
})

test('headers that cannot be are refused, naming the tensor', () => {
  using folder = temporaryFolder()
  const file = folder.file('a')
  const one = (changed: object, dataBytes = 8) => fileWith(file, { w: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...changed } }, dataBytes)
  for (const [changed, says] of [
    [{ dtype: 'F31' }, 'w: has unknown type "F31"'],
    [{ dtype: 'toString' }, 'w: has unknown type "toString"'],
    [{ dtype: undefined }, 'w: has unknown type undefined'],
    [{ shape: [3] }, 'w: F32 [3] needs 12 bytes, but has 8'],
    [{ shape: [-2] }, 'w: has shape [-2]'],
    [{ shape: [1.5] }, 'w: has shape [1.5]'],
    [{ shape: 2 }, 'w: has shape 2'],
    [{ shape: [2 ** 40, 2 ** 40] }, 'w: F32'],
    [{ data_offsets: [8, 0] }, 'w: has offsets [8,0]'],
    [{ data_offsets: [0] }, 'w: has offsets [0]'],
    [{ data_offsets: [0, 16], shape: [4] }, 'it was cut short'],
    [{ data_offsets: [4, 8], shape: [1] }, 'w: begins at byte 4 of the data, where 0 was expected'],
  ] as const) refused(() => new SafetensorsFile(one(changed)), 'CORRUPT', file, says)
  refused(() => new SafetensorsFile(one({ dtype: 'F8_E4M3' })), 'INPUT', 'F8_E4M3')
  refused(() => new SafetensorsFile(one({}, 9)), 'CORRUPT', '1 bytes after its last tensor')
  for (const header of ['[]', '3', 'null', '{"w":', '{"w":3}', '{"__metadata__":{"a":1}}', '\ufeff{}']) refused(() => new SafetensorsFile(fileWith(file, header, 0)), 'CORRUPT', file)
  const two = { data_offsets: [0, 8], dtype: 'F32', shape: [2] }
  refused(() => new SafetensorsFile(fileWith(file, { a: two, b: two }, 8)), 'CORRUPT', 'begins at byte 0 of the data, where 8 was expected')
  writeFileSync(file, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x7b, 0x7d]))
  refused(() => new SafetensorsFile(file), 'CORRUPT', file)
  refused(() => new SafetensorsFile(folder.file('missing')), 'INPUT', 'no such file')
})

test('what cannot be written is refused, and the earlier file stays', () => {
  using folder = temporaryFolder()
  const file = folder.file('a'), good: TensorToWrite = { name: 'x', dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) }
  writeSafetensors(file, [good])
  const before = readFileSync(file)
  refused(() => writeSafetensors(file, [good, good]), 'USAGE', 'x')
  refused(() => writeSafetensors(file, [{ ...good, shape: [3] }]), 'USAGE', 'does not fit F32 [3]')
  refused(() => writeSafetensors(file, [good, { ...good, name: 'y', data: () => { throw new NichelmError('DEVICE', 'lost') } }]), 'DEVICE')
  refused(() => writeSafetensors(file, [{ ...good, data: new Float64Array(2) }]), 'USAGE', 'does not fit F32 [2]')
  refused(() => writeSafetensors(file, [{ ...good, name: '__metadata__' }]), 'USAGE')
  refused(() => writeSafetensors(file, [good], { metadata: { sha256: '' } }), 'USAGE')
  assert.deepEqual(readFileSync(file), before)
  assert.deepEqual(readdirSync(folder.path), ['a'])
})

test('readF32 converts, and finds what is not finite', () => {
  using folder = temporaryFolder()
  writeSafetensors(folder.file('a'), [
    { name: 'f64', dtype: 'F64', shape: [2], data: Float64Array.of(0.1, -2) },
    { name: 'bf16', dtype: 'BF16', shape: [2], data: Uint16Array.of(0x3f80, 0xc000) },
    { name: 'f16', dtype: 'F16', shape: [2], data: () => Uint16Array.of(0x3c00, 0x7e00) },
    { name: 'ids', dtype: 'I64', shape: [1], data: BigInt64Array.of(1n) },
  ], { checksums: true })
  using read = new SafetensorsFile(folder.file('a'))
  assert.equal(read.verify(), 4)
  assert.deepEqual(read.readF32('f64'), Float32Array.of(0.1, -2))
  assert.deepEqual(read.readF32('bf16', { finite: true }), Float32Array.of(1, -2))
  assert.deepEqual(read.readF32('f16'), Float32Array.of(1, NaN))
  refused(() => read.readF32('f16', { finite: true }), 'CORRUPT', 'f16: holds NaN at element 1')
  refused(() => read.readF32('ids'), 'INPUT', 'ids: holds I64')
  refused(() => read.read('none'), 'INPUT', 'has no tensor "none"; it has f64, bf16')
  refused(() => read.read('f64', { start: 1, count: 2 }), 'USAGE', 'f64')
  read[Symbol.dispose]()
  refused(() => read.read('f64'), 'DISPOSED')
})

test('reads what Hugging Face wrote, and writes the same bytes of data', () => {
  using folder = temporaryFolder()
  const source = join(golden, 'gpt2-tiny/model.safetensors')
  using read = new SafetensorsFile(source)
  const config = JSON.parse(readFileSync(join(golden, 'gpt2-tiny/config.json'), 'utf8')) as Record<string, number>
  const [name] = read.names.filter(name => name.endsWith('wte.weight'))
  assert.deepEqual(read.entry(name!).shape, [config['vocab_size'], config['n_embd']])
  assert.ok(read.readF32(name!, { finite: true }).some(value => value !== 0))
  writeSafetensors(folder.file('copy'), read.names.map(name => ({ ...read.entry(name), data: () => read.read(name) })), { metadata: { ...read.metadata } })
  using copy = new SafetensorsFile(folder.file('copy'))
  assert.deepEqual(copy.names, read.names)
  for (const name of read.names) assert.deepEqual(copy.read(name), read.read(name))
})
