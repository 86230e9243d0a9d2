import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromBf16, fromF16, toBf16, toF16 } from '../../src/base/half.js'

const all = Uint16Array.from({ length: 65536 }, (_, i) => i)

for (const [name, from, to] of [['bf16', fromBf16, toBf16], ['f16', fromF16, toF16]] as const) {
  test(`${name}: every value survives the way to f32 and back`, () => {
    const values = from(all), back = to(values)
    for (let i = 0; i < 65536; i++) {
      if (Number.isNaN(values[i])) assert.ok(Number.isNaN(from(back.subarray(i, i + 1))[0]))
      else assert.equal(back[i], i)
    }
  })

  test(`${name}: f32 goes to the nearest value, ties to even`, () => {
    const finite = [...all].map(bits => ({ bits, value: from(Uint16Array.of(bits))[0]! })).filter(entry => Number.isFinite(entry.value))
    const sorted = finite.sort((a, b) => a.value - b.value || b.bits - a.bits)
    fc.assert(fc.property(fc.nat(sorted.length - 2), fc.double({ min: 0, max: 1, noNaN: true }), (index, share) => {
      const low = sorted[index]!, high = sorted[index + 1]!
      for (const x of [Math.fround(low.value + (high.value - low.value) * share), Math.fround((low.value + high.value) / 2)]) {
        const got = from(to(Float32Array.of(x)))[0]!
        const near = x - low.value, far = high.value - x
        const want = near < far ? low : far < near ? high : low.bits % 2 === 0 ? low : high
        assert.equal(got, want.value, `${x}`)
      }
    }), { numRuns: 2000 })
  })
}

test('known values', () => {
  assert.deepEqual([...fromF16(Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x3555))], [1, -2, 65504, 2 ** -24, Infinity, 0.333251953125])
  assert.deepEqual([...toF16(Float32Array.of(65519.996, 65520, -1e9, 2 ** -25, 2 ** -24 * 1.5))], [0x7bff, 0x7c00, 0xfc00, 0, 2])
  assert.deepEqual([...toBf16(Float32Array.of(1, 1.00390625, 1.01171875, 3.4e38, Infinity))], [0x3f80, 0x3f80, 0x3f82, 0x7f80, 0x7f80])
})
