import assert from 'node:assert/strict'
import { test } from 'node:test'
import { groupedSampler } from '../../src/sampling/experts.js'

const CLUSTERS = 7
const assignments = Uint16Array.from({ length: 4000 }, (_, i) => (i * i) % CLUSTERS) // squares modulo 7: clusters 0, 1, 2, 4
const shape = { steps: 300, batch: 16, accumulate: 2, groups: 4 }

test('a row has windows of the cluster of its group, however the step is computed', () => {
  const { draw, groupsOf } = groupedSampler(assignments, CLUSTERS, shape, 7)
  for (let step = 0; step < shape.steps; step++)
    for (let row = 0; row < shape.batch; row++) {
      const at = step * shape.batch + row, group = Math.floor((row % 8) / 2)
      for (const nth of [0, 1]) assert.equal(assignments[draw(at, nth)], groupsOf(at)[group])
    }
})

test('over a run every cluster has its share of the groups, and every step clusters from all over', () => {
  const { groupsOf } = groupedSampler(assignments, CLUSTERS, shape, 3)
  const found = new Array<number>(CLUSTERS).fill(0), windows = new Array<number>(CLUSTERS).fill(0)
  for (const cluster of assignments) windows[cluster]!++
  for (let step = 0; step < shape.steps; step++) {
    const groups = groupsOf(step * shape.batch)
    assert.ok(new Set(groups).size >= 2, `${groups}`)
    for (const cluster of groups) found[cluster]!++
  }
  for (let c = 0; c < CLUSTERS; c++) assert.ok(Math.abs(found[c]! - (windows[c]! / assignments.length) * shape.steps * shape.groups) <= 1, `cluster ${c}: ${found[c]}`)
})

test('windows of a cluster come once each before any comes again', () => {
  const { draw } = groupedSampler(assignments, CLUSTERS, shape, 1)
  const seen = new Map<number, number>()
  for (let row = 0; row < shape.steps * shape.batch; row++) {
    const window = draw(row, 0)
    seen.set(window, (seen.get(window) ?? 0) + 1)
  }
  // 4,800 rows of 4,000 windows: some clusters begin a second round, none a third.
  assert.ok(Math.max(...seen.values()) <= 2 && seen.size === assignments.length)
})

test('a draw depends on seed, row and place alone', () => {
  const of = (seed: number) => groupedSampler(assignments, CLUSTERS, shape, seed), rows = [5, 0, 5, 4799, 17]
  const a = of(3), b = of(3), c = of(4)
  assert.deepEqual(rows.map((row) => a.draw(row, 2)), rows.reverse().map((row) => b.draw(row, 2)).reverse())
  assert.notDeepEqual(rows.map((row) => a.draw(row, 0)), rows.map((row) => c.draw(row, 0)))
})

test('groups that do not divide the rows are refused', () => {
  assert.throws(() => groupedSampler(assignments, CLUSTERS, { ...shape, groups: 3 }, 1), { code: 'CONFIG' })
  assert.throws(() => groupedSampler([], CLUSTERS, shape, 1), { code: 'INPUT' })
})
