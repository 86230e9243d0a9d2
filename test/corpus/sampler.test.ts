import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { openCorpus } from '../../src/corpus/corpus.js'
import { uniformSampler } from '../../src/corpus/sampler.js'
import { splitCorpus } from '../../src/corpus/split.js'
import { build, failure, letters, temporaryFolder } from './support.js'

test('every stream goes through all windows once an epoch, in another order each time', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), fc.nat(3), fc.nat(5), (count, seed, nth, epoch) => {
    const draw = uniformSampler(count, seed)
    const order = Array.from({ length: count }, (_, i) => draw(epoch * count + i, nth))
    assert.deepEqual(order.toSorted((a, b) => a - b), Array.from({ length: count }, (_, i) => i))
    if (count > 30) {
      assert.notDeepEqual(order, Array.from({ length: count }, (_, i) => draw((epoch + 1) * count + i, nth)))
      assert.notDeepEqual(order, Array.from({ length: count }, (_, i) => draw(epoch * count + i, nth + 1)))
      assert.notDeepEqual(order, Array.from({ length: count }, (_, i) => uniformSampler(count, seed + 1)(epoch * count + i, nth)))
    }
  }))
})

test('a sampler of chosen windows draws those alone; of none, it is refused', () => {
  const draw = uniformSampler([5, 2, 9], 1)
  assert.deepEqual([0, 1, 2].map((row) => draw(row, 0)).toSorted(), [2, 5, 9])
  assert.throws(() => uniformSampler([], 1), failure('INPUT', /no windows/))
})

test('a split takes whole documents where it can, windows where it cannot', async (t) => {
  const root = temporaryFolder(t)
  const lengths = Array.from({ length: 40 }, (_, i) => 10 + (i * 37) % 150)
  await build(join(root, 'many'), lengths.map((n) => letters(n)))
  using many = openCorpus(join(root, 'many'))
  const documents = (windows: Uint32Array) => new Set(Array.from(windows, (i) => many.window(i).document))
  for (const share of [0.05, 0.1, 0.5]) {
    const { training, validation, byDocument } = splitCorpus(many, share, 1)
    assert.ok(byDocument)
    assert.deepEqual([...training, ...validation].toSorted((a, b) => a - b), Array.from({ length: many.windows }, (_, i) => i))
    assert.equal([...documents(training)].filter((d) => documents(validation).has(d)).length, 0)
    assert.ok(validation.length >= share * many.windows / 2 && validation.length <= 1.5 * share * many.windows + 1, `${validation.length} of ${many.windows}`)
  }
  assert.deepEqual(splitCorpus(many, 0.1, 1), splitCorpus(many, 0.1, 1))
  assert.notDeepEqual(splitCorpus(many, 0.1, 1), splitCorpus(many, 0.1, 2))

  await build(join(root, 'one'), [letters(160)])
  using one = openCorpus(join(root, 'one'))
  const split = splitCorpus(one, 0.1, 1)
  assert.deepEqual([split.byDocument, split.training.length, split.validation.length], [false, 9, 1])
})

test('what cannot be split is refused', async (t) => {
  const folder = join(temporaryFolder(t), 'corpus')
  await build(folder, [letters(16)])
  using corpus = openCorpus(folder)
  assert.throws(() => splitCorpus(corpus, 0.1, 1), failure('INPUT', /has one window/))
  assert.throws(() => splitCorpus(corpus, 1, 1), failure('CONFIG', /between 0 and 1/))
})
