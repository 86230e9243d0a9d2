import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Arena, Device } from '../../bindings/index.js'
import { addon } from '../../bindings/native.js'
import { EXIT_CODES } from '../../src/base/errors.js'

const FILL = 'nichelm-program 1\nfill y=0:f32:16 value=3\n'
const code = (wanted: string) => (error: unknown) => error instanceof Error && 'code' in error && error.code === wanted
const strange: unknown[] = [undefined, null, true, '', 'x', NaN, Infinity, -Infinity, -1, 0.5, 1e300, 2 ** 53, {}, [], [1], new Float32Array(3), () => 0, Symbol('s'), 1n]

test('every exported function answers strange arguments with an error that has a code, or a result', async () => {
  await fc.assert(fc.asyncProperty(fc.constantFrom(...Object.keys(addon())), fc.array(fc.constantFrom(...strange), { maxLength: 6 }), async (name, values) => {
    try {
      await addon()[name]!(...(values as never[]))
    } catch (error) {
      assert.ok(error instanceof Error && 'code' in error && String(error.code) in EXIT_CODES, `${name}: ${String(error)}`)
    }
  }), { numRuns: 3000 })
})

test('runs queued at once go in order, and survive disposal and writes meanwhile', async () => {
  const device = new Device({ threads: 1 }), arena = new Arena(4096), got = Array.from({ length: 12 }, () => new Float32Array(1))
  const add = device.compile(arena, 'nichelm-program 1\nadd a=0:f32:1 b=64:f32:1 y=0:f32:1\n')
  const runs = got.map((into, i) => device.run(arena, [{ program: add, writes: [64, Float32Array.of(i)] }], [0, into]))
  assert.throws(() => arena.write(0, new Float32Array(1)), code('USAGE'))
  add.dispose()
  add.dispose()
  arena.dispose()
  device.dispose()
  await Promise.all(runs)
  assert.deepEqual(got.map(([x]) => x), got.map((_, i) => (i * (i + 1)) / 2))
  assert.throws(() => device.describe(), code('DISPOSED'))
  await assert.rejects(device.run(arena, []), code('DISPOSED'))
})

test('what is read after a command is what stands there then', async () => {
  using device = new Device({ threads: 1 }), arena = new Arena(4096)
  using add = device.compile(arena, 'nichelm-program 1\nadd a=0:f32:1 b=64:f32:1 y=0:f32:1\n')
  const sums = Array.from({ length: 4 }, () => new Float32Array(1)), last = new Float32Array(1)
  await device.run(arena, sums.map((into, i) => ({ program: add, writes: [64, Float32Array.of(i + 1)], reads: i === 2 ? [] : [0, into] })), [0, last])
  assert.deepEqual([...sums, last].map(([x]) => x), [1, 3, 0, 10, 10])
  await assert.rejects(device.run(arena, [{ program: add, reads: [0] }]), code('USAGE'))
  await assert.rejects(device.run(arena, [{ program: add, reads: [4093, new Float32Array(1)] }]), code('USAGE'))
})

test('arrays that are outside, shared or detached, arenas that are too large, unknown instruction sets', async () => {
  const device = new Device({ threads: 1 }), arena = new Arena(64), program = device.compile(arena, FILL)
  const wrong = (value: unknown) => value as never
  assert.throws(() => new Arena(2 ** 50), (e) => code('RESOURCE')(e) && /MiB are needed, \d+ MiB are available/.test((e as Error).message))
  for (const bytes of [0, -1, 0.5, NaN, Infinity]) assert.throws(() => new Arena(bytes), code('USAGE'))
  assert.throws(() => arena.write(64, new Uint8Array(1)), code('USAGE'))
  assert.throws(() => arena.write(0, new Uint8Array(new SharedArrayBuffer(4)) as never), code('USAGE'))
  await assert.rejects(device.run(arena, [{ program, writes: [0, new Uint8Array(65)] }]), code('USAGE'))
  await assert.rejects(device.run(arena, [{ program, writes: [0] }]), code('USAGE'))
  await assert.rejects(device.run(arena, [{ program }], [60, new Uint8Array(5)]), code('USAGE'))
  const into = new Float32Array(16), run = device.run(arena, [{ program }], [0, into])
  structuredClone(into, { transfer: [into.buffer] })
  await assert.rejects(run, code('USAGE'))
  assert.throws(() => new Device({ isa: 'mmx' }), code('USAGE'))
  for (const threads of [0, -1, 0.5, 100000, NaN]) assert.throws(() => new Device({ threads }), code('USAGE'))
  assert.throws(() => device.compile(wrong(device), FILL), code('USAGE'))
  assert.throws(() => device.peak(wrong('f64')), code('USAGE'))
})
