import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { clusterHistogram } from '../../src/cluster/histogram.js'
import { importanceWeights } from '../../src/sampling/importance.js'

interface Golden {
  clusters: number; generic: number[]; specialization: number[]; weights: number[]
  generic_entropy_nats: number; specialization_entropy_nats: number
  top_cluster: number; top_fraction: number; effective_sample_size: number
}
const golden = JSON.parse(readFileSync(new URL('../../../test/golden/importance/expected.json', import.meta.url), 'utf8')) as Golden
const generic = clusterHistogram(golden.generic, golden.clusters), specialization = clusterHistogram(golden.specialization, golden.clusters)
const close = (got: number, want: number, what: string) => assert.ok(Math.abs(got - want) <= 1e-12 * Math.max(1, Math.abs(want)), `${what}: ${got}, not ${want}`)

test('the golden weights, entropies, top cluster and effective sample size', () => {
  const report = importanceWeights(generic.counts, specialization.counts)
  golden.weights.forEach((want, c) => close(report.weights[c]!, want, `weight ${c}`))
  close(generic.entropy, golden.generic_entropy_nats, 'generic entropy')
  close(report.genericEntropy, golden.generic_entropy_nats, 'generic entropy')
  close(report.specializationEntropy, golden.specialization_entropy_nats, 'specialization entropy')
  assert.equal(report.topCluster, golden.top_cluster)
  close(report.topFraction, golden.top_fraction, 'top fraction')
  close(specialization.topFraction, golden.top_fraction, 'top fraction')
  close(report.effectiveSampleSize, golden.effective_sample_size, 'effective sample size')
  assert.equal(report.movedMass, 0)
  assert.deepEqual(report.warnings, [])
})

test('mass in empty generic clusters moves to the others in proportion, and a warning says how much', () => {
  const report = importanceWeights([10, 0, 30], [2, 4, 2])
  assert.deepEqual(report.target, [0.5, 0, 0.5])
  assert.deepEqual(report.weights, [2, 0, 0.5 / 0.75])
  assert.equal(report.movedMass, 0.5)
  assert.match(report.warnings[0]!, /50% .* 1 cluster without a generic window/)
  close(report.divergence, 0.5 * Math.log(0.5 / 0.25) + 0.5 * Math.log(0.5 / 0.75), 'divergence')
})

test('repetitions: expected draws of a window of the most repeated cluster', () => {
  const report = importanceWeights([1, 99], [1, 1], { draws: 1000 })
  assert.equal(report.mostRepeatedCluster, 0)
  close(report.mostRepeated, 500, 'draws')
  assert.match(report.warnings[0]!, /cluster 0 will be drawn about 5.0e\+2 times|cluster 0 will be drawn about 500 times/)
})

test('smoothing pulls the target towards the generic frequencies', () => {
  const at = (smoothing: number) => importanceWeights([50, 50], [0, 4], { smoothing })
  assert.equal(at(0).weights[0], 0)
  close(at(4).target[0]!, 0.25, 'target')
  assert.ok(at(1e9).divergence < 1e-6)
})

test('sets that cannot be compared are refused', () => {
  const code = (expected: string) => (error: unknown) => (error as { code: string }).code === expected
  assert.throws(() => importanceWeights([1, 2], [1]), code('INPUT'))
  assert.throws(() => importanceWeights([0, 0], [1, 1]), code('INPUT'))
  assert.throws(() => importanceWeights([1, 1], [0, 0]), code('INPUT'))
  assert.throws(() => importanceWeights([1, 0], [0, 1]), code('INPUT'))
  assert.throws(() => importanceWeights([1, 1], [0, 1], { smoothing: -1 }), code('CONFIG'))
  assert.throws(() => clusterHistogram([0, 2], 2), RangeError)
})

test('whatever the counts: the mean weight over generic windows is 1, and the effective sample is no larger than the set', () => {
  const counts = fc.array(fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 50 })), { minLength: 1, maxLength: 40 })
  fc.assert(fc.property(counts, (pairs) => {
    fc.pre(pairs.some(([g, s]) => g > 0 && s > 0))
    const g = pairs.map(([n]) => n), s = pairs.map(([, n]) => n), total = g.reduce((a, b) => a + b)
    const report = importanceWeights(g, s)
    close(report.weights.reduce((sum, w, c) => sum + w * g[c]!, 0) / total, 1, 'mean weight')
    close(report.target.reduce((a, b) => a + b), 1, 'target mass')
    assert.ok(report.effectiveSampleSize <= total * (1 + 1e-12) && report.effectiveSampleSize > 0)
    assert.ok(report.divergence > -1e-12)
    if (report.movedMass === 0) assert.deepEqual(report.warnings, [])
  }))
})
