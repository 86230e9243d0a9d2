import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kmeansFit, kmeansNearest, lsiFit, LsiEmbedder } from '../../bindings/index.js'
import { failure } from '../corpus/support.js'
import { byteText, openDevice } from './support.js'

const options = { dimensions: 2, terms: 10, iterations: 1, oversampling: 2, seed: 0, stopWords: '' }
const windows = (...texts: string[]) => ({
  tokens: Uint32Array.from(Buffer.from(texts.join(''))), lengths: Uint32Array.from(texts, (text) => Buffer.byteLength(text)),
})

/** What a call throws or rejects with. */
const refused = (code: Parameters<typeof failure>[0], message: RegExp, act: () => unknown) => assert.rejects(async () => act(), failure(code, message))

test('wrong arguments are errors that name them, never a crash', async (t) => {
  const device = openDevice(t), text = windows('some words here', 'some words there')
  const wrong = (value: unknown) => value as never
  await refused('USAGE', /not a handle of device/, () => lsiFit(wrong({ native: {} }), text, byteText, options))
  await refused('USAGE', /tokens is a typed array of the wrong kind/, () => lsiFit(device, { ...text, tokens: wrong(new Int32Array(3)) }, byteText, options))
  await refused('USAGE', /lengths must sum to the number of tokens/, () => lsiFit(device, { ...text, lengths: Uint32Array.of(1, 0xffffffff) }, byteText, options))
  await refused('USAGE', /offsets of tokens must rise/, () => lsiFit(device, text, { ...byteText, offsets: Uint32Array.of(0, 300) }, options))
  await refused('USAGE', /offsets of tokens must rise/, () => lsiFit(device, text, { ...byteText, offsets: Uint32Array.of(5, 2, 7) }, options))
  await refused('USAGE', /offsets of tokens must rise/, () => lsiFit(device, text, { ...byteText, offsets: new Uint32Array() }, options))
  await refused('USAGE', /is not in the vocabulary of 2/, () => lsiFit(device, text, { ...byteText, offsets: Uint32Array.of(0, 1, 2) }, options))
  await refused('USAGE', /dimensions must be a whole number/, () => lsiFit(device, text, byteText, { ...options, dimensions: 1.5 }))
  await refused('USAGE', /dimensions and terms must be positive/, () => lsiFit(device, text, byteText, { ...options, terms: 0 }))
  await refused('USAGE', /options must be an object/, () => lsiFit(device, text, byteText, wrong(undefined)))
  await refused('INPUT', /no words/, () => lsiFit(device, windows(), byteText, options))

  await refused('USAGE', /an idf for every term/, () => new LsiEmbedder({ terms: Uint32Array.of(1), idf: new Float32Array(2), projection: new Float32Array(2) }, 2))
  const rows = new Float32Array(12)
  await refused('USAGE', /whole number of `width` columns/, () => kmeansFit(device, rows, 5, { clusters: 2, seed: 0 }))
  await refused('USAGE', /whole number of `width` columns/, () => kmeansFit(device, rows, 0, { clusters: 2, seed: 0 }))
  await refused('USAGE', /5 clusters cannot be made from 4 windows/, () => kmeansFit(device, rows, 3, { clusters: 5, seed: 0 }))
  await refused('USAGE', /must be positive/, () => kmeansFit(device, rows, 3, { clusters: 0, seed: 0 }))
  await refused('INPUT', /not finite/, () => kmeansFit(device, Float32Array.of(1, NaN, 2, 3), 1, { clusters: 2, seed: 0 }))
  await refused('USAGE', /must be a column and a centroid/, () => kmeansNearest(device, rows, 3, new Float32Array()))
  assert.equal((await kmeansNearest(device, new Float32Array(), 3, rows)).labels.length, 0)
})

test('an embedder that was disposed says so', async (t) => {
  const device = openDevice(t), text = windows('some words here', 'some words there')
  const parameters = await lsiFit(device, text, byteText, options)
  const embedder = new LsiEmbedder(parameters, 2)
  const vectors = await embedder.embed(device, text, byteText)
  assert.ok(vectors.every((v, i) => Number.isFinite(v) && (i % 2 === 0 || Math.abs(Math.hypot(v, vectors[i - 1]!) - 1) < 1e-5)))
  embedder.dispose()
  embedder.dispose()
  await refused('DISPOSED', /an embedder was disposed/, () => embedder.embed(device, text, byteText))
})

test('k-means of rows: centroids are means, labels are nearest', async (t) => {
  const device = openDevice(t)
  const rows = Float32Array.from({ length: 60 }, (_, i) => (i % 2 ? 0 : (Math.floor(i / 2) % 3) * 10) + i / 1000)
  const { centroids, labels, inertia } = await kmeansFit(device, rows, 2, { clusters: 3, seed: 4 })
  assert.equal(new Set(labels).size, 3)
  assert.deepEqual((await kmeansNearest(device, rows, 2, centroids)).labels, labels)
  let sum = 0
  for (let i = 0; i < 30; i++) {
    assert.equal(labels[i], labels[i % 3])
    sum += (rows[2 * i]! - centroids[2 * labels[i]!]!) ** 2 + (rows[2 * i + 1]! - centroids[2 * labels[i]! + 1]!) ** 2
  }
  assert.ok(Math.abs(sum - inertia) < 1e-3, `${inertia}, not ${sum}`)
})
