import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { availableThreads } from '../../bindings/index.js'
import { assignCorpus, openAssignments } from '../../src/cluster/assignments.js'
import { fitClustering, openClustering } from '../../src/cluster/clustering.js'
import { clusterHistogram } from '../../src/cluster/histogram.js'
import { compareAssignments } from '../../src/sampling/importance.js'
import { build, failure, temporaryFolder } from '../corpus/support.js'
import { byteText as text, openDevice, topicalCorpus } from './support.js'

const embedder = { dimensions: 16 }

test('texts about the same are in the same cluster, others in others; a domain is told by its histogram', async (t) => {
  const device = openDevice(t)
  const { corpus, topics, folder } = await topicalCorpus(t, 400)
  using clustering = await fitClustering({ corpus, text, device, into: join(folder, 'clusters'), clusters: 4, embedder, seed: 3 })
  const generic = await assignCorpus({ clustering, corpus, text, device, into: join(folder, 'generic') })
  assert.equal(generic.labels.length, corpus.windows)
  const clusterOf = new Map(topics.map((topic, i) => [topic, generic.labels[i]!]))
  assert.equal(new Set(clusterOf.values()).size, 4)
  topics.forEach((topic, i) => assert.equal(generic.labels[i], clusterOf.get(topic), `window ${i}`))
  assert.deepEqual(generic.histogram, clusterHistogram(generic.labels, 4))
  assert.ok(Math.abs(generic.histogram.entropy - Math.log(4)) < 1e-9)

  const domain = await topicalCorpus(t, 30, [2])
  const specialization = await assignCorpus({ clustering, corpus: domain.corpus, text, device, into: join(folder, 'domain') })
  assert.equal(specialization.histogram.topCluster, clusterOf.get(2))
  assert.equal(specialization.histogram.topFraction, 1)
  const report = compareAssignments(generic, specialization)
  assert.equal(report.weights[clusterOf.get(2)!], 4)
  assert.equal(report.effectiveSampleSize, 100)

  assert.deepEqual(openAssignments(join(folder, 'domain'), domain.corpus), specialization)
  assert.throws(() => openAssignments(join(folder, 'domain'), corpus), failure('INPUT', /belongs to another corpus/))
  assert.throws(() => compareAssignments(generic, { ...specialization, clustering: 'other' }), failure('INPUT', /two different clusterings/))
})

test('the same clusters whatever the number of threads; others with another seed', async (t) => {
  const { corpus, folder } = await topicalCorpus(t, 300)
  const fit = async (name: string, threads: number, seed: number) => {
    const device = openDevice(t, threads)
    using clustering = await fitClustering({ corpus, text, device, into: join(folder, name), clusters: 9, embedder, seed, sample: 250 })
    assert.equal(clustering.manifest.fit.sample, 250)
    const { labels } = await assignCorpus({ clustering, corpus, text, device, into: join(folder, `${name}-assigned`) })
    return { hash: clustering.hash, labels }
  }
  const one = await fit('one', 1, 1)
  assert.deepEqual(await fit('all', availableThreads(), 1), one)
  assert.notEqual((await fit('seed', 1, 2)).hash, one.hash)
})

test('a clustering that is read again assigns as before', async (t) => {
  const device = openDevice(t), { corpus, folder } = await topicalCorpus(t, 200)
  using first = await fitClustering({ corpus, text, device, into: join(folder, 'clusters'), clusters: 5, embedder })
  using again = openClustering(join(folder, 'clusters'))
  assert.equal(again.hash, first.hash)
  const windows = corpus.readWindows(0, corpus.windows)
  assert.deepEqual(await again.assign(device, windows, text), await first.assign(device, windows, text))
})

test('damaged and missing files of a clustering are told by name', async (t) => {
  const device = openDevice(t), { corpus, folder } = await topicalCorpus(t, 100)
  const into = join(folder, 'clusters')
  const fit = async () => (await fitClustering({ corpus, text, device, into, clusters: 3, embedder, replace: true }))[Symbol.dispose]()
  for (const name of ['embedder.safetensors', 'centroids.safetensors']) {
    await fit()
    const file = join(into, name), bytes = readFileSync(file)
    bytes[bytes.length - 3]! ^= 1
    writeFileSync(file, bytes)
    assert.throws(() => openClustering(into), failure('CORRUPT', new RegExp(name)))
    rmSync(file)
    assert.throws(() => openClustering(into), failure('INPUT', new RegExp(name)))
  }
  await fit()
  const file = join(into, 'clustering.json'), json = JSON.parse(readFileSync(file, 'utf8')) as object
  writeFileSync(file, JSON.stringify({ ...json, clusters: 2 }))
  assert.throws(() => openClustering(into), failure('CORRUPT', /clustering.json: does not fit/))
  writeFileSync(file, JSON.stringify({ ...json, dimensions: 'x' }))
  assert.throws(() => openClustering(into), failure('CORRUPT', /clustering.json: dimensions/))
  rmSync(file)
  assert.throws(() => openClustering(into), failure('INPUT', /clustering.json: no such file/))
})

test('damaged and missing assignments are told by name', async (t) => {
  const device = openDevice(t), { corpus, folder } = await topicalCorpus(t, 100)
  const into = join(folder, 'assigned')
  using clustering = await fitClustering({ corpus, text, device, into: join(folder, 'clusters'), clusters: 3, embedder })
  await assignCorpus({ clustering, corpus, text, device, into })
  const file = join(into, 'assignments.bin'), bytes = readFileSync(file)
  writeFileSync(file, bytes.subarray(0, bytes.length - 2))
  assert.throws(() => openAssignments(into), failure('CORRUPT', /assignments.bin: has been damaged/))
  bytes[7]! ^= 1
  writeFileSync(file, bytes)
  assert.throws(() => openAssignments(into), failure('CORRUPT', /assignments.bin: has been damaged/))
  rmSync(file)
  assert.throws(() => openAssignments(into), failure('INPUT', /assignments.bin: no such file/))
  writeFileSync(join(into, 'assignments.json'), '{}')
  assert.throws(() => openAssignments(into), failure('CORRUPT', /assignments.json: format/))
})

test('what cannot be clustered is refused, and nothing is left', async (t) => {
  const device = openDevice(t), { corpus, folder } = await topicalCorpus(t, 20)
  const into = join(folder, 'clusters'), options = { corpus, text, device, into, embedder }
  await assert.rejects(fitClustering({ ...options, clusters: 21 }), failure('INPUT', /corpus: has 20 windows, too few for 21 clusters/))
  await assert.rejects(fitClustering({ ...options, clusters: 1 }), failure('CONFIG', /^clusters: /))
  await assert.rejects(fitClustering({ ...options, clusters: 4, sample: 3 }), failure('CONFIG', /^sample: /))
  await assert.rejects(fitClustering({ ...options, clusters: 4, embedder: { dimensions: 0 } }), failure('CONFIG', /^dimensions: /))
  assert.throws(() => openClustering(into), failure('INPUT', /no such file/))

  const wordless = join(temporaryFolder(t), 'corpus')
  const { openCorpus } = await import('../../src/corpus/corpus.js')
  await build(wordless, ['. , ; - '.repeat(60)], { context: 32 })
  using punctuation = openCorpus(wordless)
  await assert.rejects(fitClustering({ ...options, corpus: punctuation, clusters: 2 }), failure('INPUT', /no words/))
})
