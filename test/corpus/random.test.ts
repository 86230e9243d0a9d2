import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { permuted, philox, streamKey, uniform } from '../../src/base/random.js'

/** Philox 2x32 as the paper writes it, in exact integers. */
function exactPhilox(key: number, x: number, y: number): [number, number] {
  const word = 1n << 32n
  let left = BigInt(x), right = BigInt(y), round = BigInt(key)
  for (let i = 0; i < 10; i++) {
    const product = 0xd256d193n * left
    ;[left, right] = [(product / word) ^ round ^ right, product % word]
    round = (round + 0x9e3779b9n) % word
  }
  return [Number(left), Number(right)]
}

test('philox: the known answers of the Random123 library', () => {
  assert.deepEqual(philox(0, 0, 0), [0xff1dae59, 0x6cd10df2])
  assert.deepEqual(philox(0xffffffff, 0xffffffff, 0xffffffff), [0x2c3f628b, 0xab4fd7ad])
  assert.deepEqual(philox(0x13198a2e, 0x243f6a88, 0x85a308d3), [0xdd7ce038, 0xf62a4c12])
})

test('philox is its formula in exact integers, whatever the words', () => {
  const word = fc.integer({ min: 0, max: 0xffffffff })
  fc.assert(fc.property(word, word, word, (key, x, y) => assert.deepEqual(philox(key, x, y), exactPhilox(key, x, y))))
})

test('uniform: in [0, 1), with the moments of the uniform distribution', () => {
  const draws = Array.from({ length: 40000 }, (_, i) => uniform(17, i, 3))
  assert.ok(draws.every((u) => u >= 0 && u < 1))
  const mean = draws.reduce((a, b) => a + b) / draws.length, square = draws.reduce((a, b) => a + b * b, 0) / draws.length
  assert.ok(Math.abs(mean - 1 / 2) < 5 / Math.sqrt(12 * draws.length), `mean ${mean}`)
  assert.ok(Math.abs(square - 1 / 3) < 5 * Math.sqrt(4 / 45 / draws.length), `mean square ${square}`)
  assert.equal(new Set(draws).size, draws.length)
})

test('permuted is a permutation, and every key gives another', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 0, max: 0xffffffff }), (count, key) => {
    const image = Uint8Array.from({ length: count }, () => 0)
    for (let i = 0; i < count; i++) image[permuted(key, count, i)]!++
    assert.ok(image.every((n) => n === 1))
  }))
  const order = (key: number) => Array.from({ length: 50 }, (_, i) => permuted(key, 50, i)).join()
  assert.equal(new Set(Array.from({ length: 100 }, (_, key) => order(key))).size, 100)
})

test('permuted: each place gets each element about equally often', () => {
  const count = 60, keys = 5000, seen = Array.from({ length: count }, () => new Float64Array(count))
  for (let key = 0; key < keys; key++) for (let i = 0; i < count; i++) seen[i]![permuted(key, count, i)]!++
  const sigma = Math.sqrt(keys / count * (1 - 1 / count))
  for (const row of seen) for (const n of row) assert.ok(Math.abs(n - keys / count) < 6 * sigma, `${n} times, not about ${keys / count}`)
})

test('stream keys differ by seed and by purpose, for seeds beyond 32 bits too', () => {
  const keys = [0, 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1].flatMap((seed) => ['', 'a', 'b', 'windows 0 1', 'windows 1 0'].map((purpose) => streamKey(seed, purpose)))
  assert.equal(new Set(keys).size, keys.length)
})
