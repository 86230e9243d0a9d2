import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { philox, streamKey, uniform } from '../../src/base/random.js'
import { openCorpus, type Corpus } from '../../src/corpus/index.js'
import { importanceSampler, mixedSampler, openSelection, selectByNgrams, sharedRows, writeSelection } from '../../src/sampling/index.js'
import { uniformSampler } from '../../src/corpus/index.js'
import { build, failure, temporaryFolder } from '../corpus/support.js'

/** A text of so many words, drawn from a list. */
function text(words: readonly string[], count: number, seed: number): string {
  return Array.from({ length: count }, (_, i) => words[philox(seed, i, 0)[0] % words.length]).join(' ')
}
const LAW = ['court', 'appeal', 'judge'], SEA = ['ship', 'sail', 'wind', 'wave'], MIXED = [...LAW, ...SEA, 'and', 'of', 'then']

async function corpora(t: TestContext): Promise<{ generic: Corpus; law: Corpus; folder: string }> {
  const folder = temporaryFolder(t)
  await build(join(folder, 'generic'), Array.from({ length: 60 }, (_, i) => text(i % 5 === 0 ? LAW : i % 5 === 1 ? MIXED : SEA, 12, i)))
  await build(join(folder, 'law'), Array.from({ length: 8 }, (_, i) => text(LAW, 12, 1000 + i)))
  return { generic: openCorpus(join(folder, 'generic')), law: openCorpus(join(folder, 'law')), folder }
}

/** The windows of a corpus as lists of tokens. */
function windowsOf(corpus: Corpus): number[][] {
  const { tokens, lengths } = corpus.readWindows(0, corpus.windows)
  let at = 0
  return [...lengths].map(length => [...tokens.subarray(at, at += length)])
}

test('the windows of the greatest weight and noise are chosen, counted by plain text n-grams', async t => {
  const { generic, law } = await corpora(t), draws = 60, repeats = 3, seed = 5
  // So many buckets that no two n-grams of these texts share one: then hashing changes nothing but the number of empty buckets.
  const buckets = 2 ** 24, selection = selectByNgrams(generic, law, { draws, repeats, buckets, seed })
  const ngrams = (window: number[]) => window.flatMap((token, i) => i ? [`${token}`, `${window[i - 1]} ${token}`] : [`${token}`])
  const counted = (windows: number[][]) => {
    const counts = new Map<string, number>()
    let all = buckets
    for (const name of windows.flatMap(ngrams)) { counts.set(name, (counts.get(name) ?? 0) + 1); all++ }
    return (name: string) => Math.log(((counts.get(name) ?? 0) + 1) / all)
  }
  const texts = windowsOf(generic), own = windowsOf(law), p = counted(own), q = counted(texts), key = streamKey(seed, 'n-gram selection')
  const scores = texts.map((window, i) => ngrams(window).reduce((sum, name) => sum + p(name) - q(name), -Math.log(-Math.log(1 - uniform(key, i, 0)))))
  const best = scores.map((score, i) => ({ score, i })).sort((a, b) => b.score - a.score).slice(0, draws / repeats).map(({ i }) => i).sort((a, b) => a - b)
  assert.deepEqual([...selection.windows], best)
  const names = [...new Set([...own, ...texts].flatMap(ngrams))], chosen = counted(best.map(i => texts[i]!))
  const divergence = (other: (name: string) => number) => {
    const all = (buckets - names.length) * Math.exp(p('none')) * (p('none') - other('none'))
    return names.reduce((sum, name) => sum + Math.exp(p(name)) * (p(name) - other(name)), all)
  }
  assert.ok(Math.abs(selection.divergence.generic - divergence(q)) < 1e-9)
  assert.ok(Math.abs(selection.divergence.selected - divergence(chosen)) < 1e-9)
  assert.equal(selection.of, generic.windows)
  assert.deepEqual(selection.warnings, [])
})

test('with few buckets too, the domain\'s own text is found', async t => {
  const { generic, law } = await corpora(t), texts = windowsOf(generic).map(window => Buffer.from(window.filter(token => token < 256)).toString())
  const selection = selectByNgrams(generic, law, { draws: 24, repeats: 1, buckets: 1000, seed: 1 }), lawful = (window: string) => /court|appeal|judge/.test(window) && !/ship|sail|wind|wave/.test(window)
  assert.ok([...selection.windows].filter(i => lawful(texts[i]!)).length >= 22)
  assert.ok(selection.divergence.selected < selection.divergence.generic / 2)
  assert.deepEqual(selection.windows, selectByNgrams(generic, law, { draws: 24, repeats: 1, buckets: 1000, seed: 1 }).windows)
})

test('where all windows are wanted, all are chosen, and a warning says so', async t => {
  const { generic, law } = await corpora(t), { windows, warnings } = selectByNgrams(generic, law, { draws: 10 * generic.windows })
  assert.deepEqual([...windows], Array.from({ length: generic.windows }, (_, i) => i))
  assert.match(warnings.join(), /nothing is left out/)
})

test('options that cannot be, and another tokenizer, are refused', async t => {
  const { generic, law, folder } = await corpora(t)
  for (const [options, field] of [[{ draws: 0 }, 'draws'], [{ draws: 4, repeats: 0 }, 'repeats'], [{ draws: 4, buckets: 1 }, 'buckets']] as const)
    assert.throws(() => selectByNgrams(generic, law, options), failure('CONFIG', new RegExp(`^${field}: must be`)))
  const manifest = join(folder, 'law', 'corpus.json')
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('b'.repeat(64), 'c'.repeat(64)))
  assert.throws(() => selectByNgrams(generic, openCorpus(join(folder, 'law')), { draws: 4 }), failure('INPUT', /another tokenizer/))
})

test('a selection is read as it was written; another corpus\'s, or a damaged one, is refused', async t => {
  const { generic, law, folder } = await corpora(t), into = join(folder, 'selection'), selection = selectByNgrams(generic, law, { draws: 30 })
  await writeSelection(into, generic, selection)
  assert.deepEqual(openSelection(into, generic), selection.windows)
  assert.throws(() => openSelection(into, law), failure('INPUT', /belongs to another corpus/))
  const file = join(into, 'selected.bin'), bytes = readFileSync(file)
  bytes[0]! ^= 1
  writeFileSync(file, bytes)
  assert.throws(() => openSelection(into, generic), failure('CORRUPT', /selected\.bin: has been damaged/))
})

test('a share of the rows, evenly spread, is drawn by the other sampler', () => {
  for (const share of [0.5, 0.25, 0.1, 0.9]) {
    const draw = mixedSampler((row, nth) => 1000 * row + nth, (row, nth) => -1 - (1000 * row + nth), share), seen = Array.from({ length: 200 }, (_, row) => draw(row, 3))
    const own = seen.filter(value => value >= 0), other = seen.filter(value => value < 0)
    assert.equal(other.length, sharedRows(200, share))
    assert.equal(other.length, Math.round(200 * share))
    // Each sees its rows in order, none left out.
    assert.deepEqual(own, own.map((_, row) => 1000 * row + 3))
    assert.deepEqual(other, other.map((_, row) => -1 - (1000 * row + 3)))
    for (let row = 0; row < 200; row += 40) assert.ok(Math.abs(seen.slice(row, row + 40).filter(value => value < 0).length - 40 * share) <= 1)
  }
  const uniformly = uniformSampler([7, 8, 9], 1), clusters = importanceSampler([0, 0, 1], [0.5, 0.5], 10, 1), mixed = mixedSampler(clusters, uniformly, 0.5)
  assert.equal(mixed(1, 0), uniformly(0, 0))
  assert.equal(mixed(2, 0), clusters(1, 0))
  for (const share of [0, 1, NaN]) assert.throws(() => mixedSampler(clusters, uniformly, share), failure('INTERNAL', /between 0 and 1/))
})
