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

test('a run has every cluster as often as the target says, and every window of a cluster as often as any other', () => {
  const target = [0.1, 0.6, 0.3, 0, 0, 0, 0]
  for (const rows of [1, 9, 1000, 7001]) for (const nth of [0, 3]) for (const pass of [0, 2]) {
    const draw = importanceSampler(assignments, target, rows, 7)
    const clusters = new Float64Array(7), windows = new Float64Array(assignments.length)
    for (let row = 0; row < rows; row++) {
      const window = draw(pass * rows + row, nth)
      clusters[assignments[window]!]!++
      windows[window]!++
    }
    for (let c = 0; c < 7; c++) {
      assert.ok(Math.abs(clusters[c]! - rows * target[c]!) < 1, `cluster ${c}: ${clusters[c]} of ${rows} rows, not ${rows * target[c]!}`)
      const often = [...assignments.keys()].filter((i) => assignments[i] === c).map((i) => windows[i]!)
      assert.ok(Math.max(0, ...often) - Math.min(Infinity, ...often) <= 1, `cluster ${c}: windows are drawn ${Math.min(...often)} to ${Math.max(...often)} times`)
    }
  }
})

test('any part of a run has the target frequencies, windows in no order', () => {
  const target = [0.1, 0.6, 0.3, 0, 0, 0, 0], rows = 60000, part = 12000, sets: Set<number>[] = []
  const draw = importanceSampler(assignments, target, rows, 11)
  for (let first = 0; first < rows; first += part) {
    const clusters = new Float64Array(7)
    for (let row = first; row < first + part; row++) clusters[assignments[draw(row, 0)]!]!++
    for (let c = 0; c < 3; c++) {
      const sigma = Math.sqrt(target[c]! * (1 - target[c]!) / part)
      assert.ok(Math.abs(clusters[c]! / part - target[c]!) <= 5 * sigma, `cluster ${c} in rows from ${first}: ${clusters[c]! / part}, not ${target[c]}`)
    }
    sets.push(new Set(Array.from({ length: 40 }, (_, i) => draw(first + i, 0))))
  }
  for (let i = 1; i < sets.length; i++) assert.notDeepEqual(sets[i], sets[0])
  // The whole run again is another order.
  assert.notDeepEqual(Array.from({ length: 40 }, (_, row) => draw(row, 0)), Array.from({ length: 40 }, (_, row) => draw(rows + row, 0)))
})

test('a draw depends on seed, row, place and the length of the run alone', () => {
  const target = importanceWeights([143, 285, 285, 0, 284, 0, 0], [1, 2, 3, 0, 4, 0, 0]).target
  const sampler = (seed: number, rows = 5000) => importanceSampler(assignments, target, rows, seed), a = sampler(3), b = sampler(3), c = sampler(4), d = sampler(3, 5001)
  const rows = [5, 0, 5, 1e6, 17], begin = Array.from({ length: 20 }, (_, row) => row)
  assert.deepEqual(rows.map((row) => a(row, 2)), [...rows].reverse().map((row) => b(row, 2)).reverse())
  for (const other of [c, d]) assert.notDeepEqual(begin.map((row) => a(row, 0)), begin.map((row) => other(row, 0)))
  assert.notDeepEqual(begin.map((row) => a(row, 0)), begin.map((row) => a(row, 1)))
})

test('orders of rows and of windows are others for each place in a row, each pass of the run, each cluster, and each pass of a cluster', () => {
  const count = 100, two = Uint16Array.from({ length: 2 * count }, (_, i) => i % 2), all = (rows: number) => Array.from({ length: rows }, (_, row) => row)
  const draw = importanceSampler(two, [1, 1], count, 5) // of each cluster half of its windows
  const clusters = (nth: number, pass: number) => all(count).map((row) => two[draw(pass * count + row, nth)]!)
  const half = (cluster: number, nth: number, pass: number) => new Set(all(count).map((row) => draw(pass * count + row, nth)).filter((i) => two[i] === cluster).map((i) => i >> 1))
  assert.equal(half(0, 0, 0).size, count / 2)
  for (const other of [clusters(1, 0), clusters(0, 1)]) assert.notDeepEqual(other, clusters(0, 0))
  for (const other of [half(1, 0, 0), half(0, 1, 0), half(0, 0, 1)]) assert.notDeepEqual(other, half(0, 0, 0))

  // A cluster whose windows come once, and half of them again: which half is not which come first.
  const one = new Uint16Array(count), long = importanceSampler(one, [1], 1.5 * count, 5), short = importanceSampler(one, [1], count / 2, 5), often = new Uint8Array(count)
  for (const row of all(1.5 * count)) often[long(row, 0)]!++
  const again = new Set(all(count).filter((i) => often[i] === 2))
  assert.equal(again.size, count / 2)
  assert.notDeepEqual(again, new Set(all(count / 2).map((row) => short(row, 0))))
})

test('a target with mass where no window is, or with none, is refused', () => {
  assert.throws(() => importanceSampler(assignments, [0, 0, 0, 1, 0, 0, 0], 10, 1), /cluster 3 .* has no window/)
  assert.throws(() => importanceSampler(assignments, [0, 0, 0, 0, 0, 0, 0], 10, 1), /no cluster to draw from/)
  assert.throws(() => importanceSampler(assignments, [1, 0], 10, 1), /but there are 2 clusters/)
})
