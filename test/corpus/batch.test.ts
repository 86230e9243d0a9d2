import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { drawBatch, type Batch, type WindowReader } from '../../src/corpus/batch.js'
import { openCorpus } from '../../src/corpus/corpus.js'
import { evaluationBatches } from '../../src/corpus/evaluation.js'
import { uniformSampler } from '../../src/corpus/sampler.js'
import { build, failure, letters, temporaryFolder } from './support.js'

/** Window i is the tokens 1000 i + 1, 1000 i + 2, ... */
const reader = (lengths: number[]): WindowReader => ({
  readWindow(index, into, at, most) {
    const count = Math.min(most, lengths[index]!)
    for (let i = 0; i < count; i++) into[at + i] = 1000 * index + i + 1
    return count
  },
})

/** What a batch must be, whatever it was made from; gives each row's windows as [start, tokens...]. */
function checked(batch: Batch): number[][][] {
  let valid = 0, real = 0
  const rows: number[][][] = []
  for (let row = 0; row < batch.rows; row++) {
    const at = (array: Int32Array | Float32Array, i: number) => array[row * batch.length + i]!
    const windows: number[][] = []
    for (let i = 0; i < batch.length; i++) {
      const start = at(batch.starts, i), weight = at(batch.weights, i)
      assert.ok(start === i || (start < i && start === at(batch.starts, i - 1)), 'starts name the first token of the document')
      const padding = at(batch.tokens, start) === 0
      if (padding) assert.ok(weight === 0 && at(batch.tokens, i) === 0 && at(batch.targets, i) === 0, 'padding is token 0 of weight 0')
      else if (start === i) windows.push([i, at(batch.tokens, i)])
      else windows.at(-1)!.push(at(batch.tokens, i))
      const last = i + 1 === batch.length || at(batch.starts, i + 1) !== start
      if (!padding) assert.equal(weight, last ? 0 : 1, 'every token of a window has a target but its last')
      if (weight) assert.equal(at(batch.targets, i), at(batch.tokens, i + 1), 'the target is the next token')
      valid += weight
      if (!padding) real++
    }
    rows.push(windows)
  }
  assert.equal(batch.validTargets, valid)
  assert.equal(batch.tokenCount, real)
  return rows
}

test('rows are filled with the drawn windows, the last is cut, short rests are padding', () => {
  const batch = drawBatch(reader([5, 9, 3]), (row, nth) => [0, 1, 2, 2][nth + row]!, 0, { rows: 2, length: 16, minimumLength: 3 })
  assert.deepEqual(checked(batch), [
    [[0, 1, 2, 3, 4, 5], [5, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009]], // 2 places left: padding
    [[0, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009], [9, 2001, 2002, 2003], [12, 2001, 2002, 2003]],
  ])
  const cut = drawBatch(reader([5, 9]), () => 1, 3, { rows: 1, length: 12, minimumLength: 2 })
  assert.deepEqual(checked(cut), [[[0, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009], [9, 1001, 1002, 1003]]])
})

test('a row is the same in any batch', () => {
  const lengths = Array.from({ length: 50 }, (_, i) => 2 + (i * 7) % 30)
  fc.assert(fc.property(fc.nat(1000), fc.integer({ min: 1, max: 8 }), fc.integer({ min: 2, max: 64 }), fc.nat(), (first, rows, length, seed) => {
    const whole = drawBatch(reader(lengths), uniformSampler(50, seed), first, { rows, length })
    checked(whole)
    const one = drawBatch(reader(lengths), uniformSampler(50, seed), first + rows - 1, { rows: 1, length })
    for (const name of ['tokens', 'targets', 'weights', 'starts'] as const)
      assert.deepEqual(whole[name].slice((rows - 1) * length), one[name])
  }))
})

test('evaluation: every window once, whole, in order within a row; all batches of one shape', async (t) => {
  const folder = join(temporaryFolder(t), 'corpus')
  await build(folder, Array.from({ length: 60 }, (_, i) => letters(1 + (i * 11) % 37)))
  using corpus = openCorpus(folder)
  const seen: string[] = []
  let windows = 0, textBytes = 0
  for (const batch of evaluationBatches(corpus, { rows: 3, length: 20 })) {
    assert.equal(batch.tokens.length, 60)
    const rows = checked(batch)
    seen.push(...rows.flat().map(([, ...tokens]) => tokens.join()))
    windows += batch.windows
    textBytes += batch.textBytes
  }
  const want = Array.from({ length: corpus.windows }, (_, i) => corpus.readWindows(i, 1).tokens.join())
  assert.deepEqual(seen.toSorted(), want.toSorted())
  assert.equal(windows, corpus.windows)
  assert.equal(textBytes, corpus.manifest.counts.textBytes)
  const chosen = [...evaluationBatches(corpus, { rows: 1, length: 16, windows: [7, 3] })].flatMap((batch) => checked(batch).flat())
  assert.deepEqual(chosen.map(([, ...tokens]) => tokens.join()), [want[7], want[3]])
})

test('evaluation: a window longer than a row is an INPUT error', async (t) => {
  const folder = join(temporaryFolder(t), 'corpus')
  await build(folder, [letters(30)])
  using corpus = openCorpus(folder)
  assert.throws(() => [...evaluationBatches(corpus, { rows: 1, length: 15 })], failure('INPUT', /window 0 has 16 tokens, but a row has 15/))
})
