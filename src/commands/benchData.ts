import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { kmeansFit, packageRoot } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { philox } from '../base/random.js'
import { readDocuments, Tokenizer } from '../text/index.js'
import { define, deviceOptions, interruption, jsonOption, openDevice, print, threadsOption } from './frame.js'
import { textOptions } from './textOptions.js'

export const benchTokenizer = define({
  command: 'tokenizer',
  describe: 'Speed of training a tokenizer and of encoding with it',
  options: {
    text: { ...textOptions.text, demandOption: false, describe: 'Text; default: that of the quickstart' }, field: textOptions.field,
    vocabulary: { type: 'number', minimum: 257, default: 4096, describe: 'Entries of the tokenizer' },
    steps: { type: 'number', minimum: 1, default: 3, describe: 'Passes of encoding to time; the median counts' },
    ...threadsOption, ...jsonOption,
  },
  examples: [['bench tokenizer --text "text/*.jsonl.gz" --vocabulary 32000', 'Megabytes of text a second']],
  run: async ({ text, field, vocabulary, steps, threads, json }) => {
    const texts: string[] = []
    for await (const document of readDocuments(text ?? quickstartText(), { field })) texts.push(document.text)
    const bytes = texts.reduce((sum, item) => sum + Buffer.byteLength(item), 0), began = performance.now()
    using tokenizer = await Tokenizer.train(texts, { vocabularySize: vocabulary, threads })
    const trainSeconds = (performance.now() - began) / 1000, all: number[] = []
    let tokens = 0
    for (let step = 0; step <= steps; step++) {
      interruption.signal.throwIfAborted()
      const start = performance.now()
      tokens = (await tokenizer.encodeBatch(texts, { threads })).reduce((sum, ids) => sum + ids.length, 0)
      if (step > 0) all.push((performance.now() - start) / 1000)
    }
    const encodeSeconds = all.sort((a, b) => a - b)[Math.floor(all.length / 2)]!
    const result = { documents: texts.length, bytes, tokens, vocabulary: tokenizer.vocabularySize, threads, trainSeconds, trainMegabytesPerSecond: bytes / 1e6 / trainSeconds, encodeSeconds, encodeMegabytesPerSecond: bytes / 1e6 / encodeSeconds }
    print(json, result, () => `${(bytes / 1e6).toFixed(1)} MB: training ${result.trainMegabytesPerSecond.toFixed(1)} MB/s (${tokenizer.vocabularySize} tokens), encoding ${result.encodeMegabytesPerSecond.toFixed(1)} MB/s, ${(bytes / tokens).toFixed(2)} bytes a token`)
  },
})

export const benchKmeans = define({
  command: 'kmeans',
  describe: 'Speed of k-means on random vectors of length 1',
  options: {
    rows: { type: 'number', minimum: 1, default: 20000, describe: 'Vectors' },
    width: { type: 'number', minimum: 1, default: 128, describe: 'Dimensions' },
    clusters: { type: 'number', minimum: 1, default: 64, describe: 'Clusters' },
    iterations: { type: 'number', minimum: 1, default: 20, describe: 'Iterations at most' },
    device: deviceOptions.device, ...threadsOption, ...jsonOption,
  },
  examples: [['bench kmeans --rows 100000 --width 128 --clusters 1024', 'Seconds, and the FLOP/s of the distances']],
  run: async ({ rows, width, clusters, iterations: most, device: name, threads, json }) => {
    using device = openDevice({ device: name, threads })
    const vectors = unitVectors(rows, width), peak = await device.peak('f32'), began = performance.now()
    const { iterations } = await kmeansFit(device, vectors, width, { clusters, seed: 1, iterations: most })
    const seconds = (performance.now() - began) / 1000
    // Distances of the start (one cluster after the other, of a few candidates each) are left out: the figure is a lower bound.
    const flopsPerSecond = 2 * rows * width * clusters * iterations / seconds
    const result = { rows, width, clusters, iterations, threads: device.describe().threads, seconds, flopsPerSecond, peakFlopsPerSecond: peak ?? null, peakFraction: peak === undefined ? null : flopsPerSecond / peak }
    print(json, result, () => `${rows} x ${width}, ${clusters} clusters: ${iterations} iterations in ${seconds.toFixed(2)} s, ${(flopsPerSecond / 1e9).toFixed(1)} GFLOP/s of distances`)
  },
})

function unitVectors(rows: number, width: number): Float32Array<ArrayBuffer> {
  const vectors = Float32Array.from({ length: rows * width }, (_, i) => philox(1, i, 0)[0] / 2 ** 31 - 1)
  for (let row = 0; row < rows; row++) {
    const vector = vectors.subarray(row * width, (row + 1) * width), norm = Math.hypot(...vector)
    for (let i = 0; i < width; i++) vector[i]! /= norm
  }
  return vectors
}

function quickstartText(): string[] {
  const folder = join(packageRoot, 'data', 'quickstart')
  if (!existsSync(folder)) throw new NichelmError('USAGE', 'the text to measure with is missing', { fix: 'Give --text.' })
  return [join(folder, 'generic-*.jsonl.gz')]
}
