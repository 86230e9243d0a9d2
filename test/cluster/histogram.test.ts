import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { clusterHistogram, entropy, histogramOf } from '../../src/cluster/histogram.js'

test('histograms count, and say what is most and what is empty', () => {
  assert.deepEqual(clusterHistogram(Uint16Array.of(2, 0, 2, 2, 4, 0), 6), {
    counts: [2, 0, 3, 0, 1, 0], windows: 6, topCluster: 2, topFraction: 0.5, emptyClusters: 3,
    entropy: entropy([2, 3, 1]),
  })
  assert.deepEqual(histogramOf([0, 0]), { counts: [0, 0], windows: 0, topCluster: 0, topFraction: 0, emptyClusters: 2, entropy: 0 })
  assert.equal(histogramOf([3, 7, 7]).topCluster, 1)
  assert.throws(() => clusterHistogram([0, -1], 3), /window 1 is in cluster -1/)
})

test('entropy: log n when all are alike, 0 when all is one, and no scale', () => {
  const near = (got: number, want: number) => assert.ok(Math.abs(got - want) < 1e-12, `${got}, not ${want}`)
  near(entropy(new Array<number>(64).fill(3)), Math.log(64))
  near(entropy([0, 5, 0]), 0)
  near(entropy([1, 3]), 0.25 * Math.log(4) + 0.75 * Math.log(4 / 3))
  fc.assert(fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 100 }), fc.integer({ min: 1, max: 1000 }), (counts, scale) => {
    const h = entropy(counts)
    assert.ok(h >= -1e-12 && h <= Math.log(counts.length) + 1e-12)
    near(entropy(counts.map((n) => n * scale)), h)
  }))
})
