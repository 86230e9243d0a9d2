import assert from 'node:assert/strict'
import { test } from 'node:test'
import { importanceWeights } from '../../src/sampling/importance.js'
import { importanceSampler, windowsByCluster } from '../../src/sampling/sampler.js'

const assignments = Uint16Array.from({ length: 997 }, (_, i) => (i * i) % 7) // squares modulo 7: clusters 0, 1, 2, 4

test('windows by cluster: every window once, in its cluster', () => {
  const { first, windows } = windowsByCluster(assignments, 7)
  assert.deepEqual([...windows].sort((a, b) => a - b), [...assignments.keys()])
  for (let c = 0; c < 7; c++)
    for (let i = first[c]!; i < first[c + 1]!; i++) assert.equal(assignments[windows[i]!], c)
})

test('clusters are drawn with the target frequencies, windows of a cluster alike', () => {
  const target = [0.1, 0.6, 0.3, 0, 0, 0, 0], draws = 60000
  const draw = importanceSampler(assignments, target, 7)
  const clusters = new Float64Array(7), windows = new Float64Array(assignments.length)
  for (let i = 0; i < draws; i++) {
    const window = draw(i >> 1, i & 1)
    clusters[assignments[window]!]!++
    windows[window]!++
  }
  for (let c = 0; c < 7; c++) {
    const sigma = Math.sqrt(target[c]! * (1 - target[c]!) / draws)
    assert.ok(Math.abs(clusters[c]! / draws - target[c]!) <= 5 * sigma, `cluster ${c}: ${clusters[c]! / draws}, not ${target[c]}`)
    const members = [...assignments.keys()].filter((i) => assignments[i] === c)
    if (!target[c]) { assert.equal(clusters[c], 0); continue }
    const expected = draws * target[c]! / members.length
    const chiSquare = members.reduce((sum, i) => sum + (windows[i]! - expected) ** 2 / expected, 0)
    assert.ok(Math.abs(chiSquare - members.length) < 5 * Math.sqrt(2 * members.length), `cluster ${c}: chi-square ${chiSquare} of ${members.length} windows`)
  }
})

test('a draw depends on seed, row and place alone', () => {
  const target = importanceWeights([143, 285, 285, 0, 284, 0, 0], [1, 2, 3, 0, 4, 0, 0]).target
  const a = importanceSampler(assignments, target, 3), b = importanceSampler(assignments, target, 3), c = importanceSampler(assignments, target, 4)
  const rows = [5, 0, 5, 1e6, 17]
  assert.deepEqual(rows.map((row) => a(row, 2)), rows.map((row) => b(row, 2)))
  assert.notDeepEqual(Array.from({ length: 20 }, (_, row) => a(row, 0)), Array.from({ length: 20 }, (_, row) => c(row, 0)))
  assert.notDeepEqual(Array.from({ length: 20 }, (_, row) => a(row, 0)), Array.from({ length: 20 }, (_, row) => a(row, 1)))
})

test('a target with mass where no window is, or with none, is refused', () => {
  assert.throws(() => importanceSampler(assignments, [0, 0, 0, 1, 0, 0, 0], 1), /cluster 3 .* has no window/)
  assert.throws(() => importanceSampler(assignments, [0, 0, 0, 0, 0, 0, 0], 1), /no cluster to draw from/)
  assert.throws(() => importanceSampler(assignments, [1, 0], 1), /but there are 2 clusters/)
})
