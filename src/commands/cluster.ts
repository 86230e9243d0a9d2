import { assignCorpus, fitClustering, openClustering, tokenText, type Histogram } from '../cluster/index.js'
import { openCorpus } from '../corpus/index.js'
import { Tokenizer } from '../text/index.js'
import { define, deviceOptions, group, jsonOption, openDevice, print } from './frame.js'

const { device, threads } = deviceOptions
const corpusOptions = {
  corpus: { type: 'string', demandOption: true, describe: 'Corpus folder' },
  tokenizer: { type: 'string', demandOption: true, describe: 'The tokenizer.json that it was built with' },
} as const

const fit = define({
  command: 'fit',
  describe: 'Learn an embedder and clusters from a sample of the generic corpus',
  options: {
    ...corpusOptions,
    embedder: { type: 'string', choices: ['lsi'] as const, default: 'lsi' as const, describe: 'lsi: latent semantic indexing, which needs no model' },
    dimensions: { type: 'number', minimum: 2, default: 128, describe: 'Dimensions of a vector' },
    clusters: { type: 'number', minimum: 2, default: 64, describe: 'Number of clusters' },
    sample: { type: 'number', minimum: 2, default: 20000, describe: 'Windows to learn from' },
    restarts: { type: 'number', minimum: 1, default: 1, describe: 'Starts of k-means, of which the best is kept' },
    seed: { type: 'number', default: 1, describe: 'Seed of sample and start' },
    into: { type: 'string', demandOption: true, describe: 'The folder to make' },
    replace: { type: 'boolean', default: false, describe: 'Replace the folder if it is there, once the new one is whole' },
    device, threads, ...jsonOption,
  },
  examples: [['cluster fit --corpus generic --tokenizer tokenizer.json --clusters 64 --into clusters', 'Clusters of the generic set']],
  run: async ({ corpus: from, tokenizer: vocabulary, embedder: kind, dimensions, clusters, sample, restarts, seed, into, replace, device: name, threads, json }) => {
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using device = openDevice({ device: name, threads })
    using clustering = await fitClustering({ corpus, text: tokenText(tokenizer), device, into, replace, clusters, sample, restarts, seed, embedder: { kind, dimensions } })
    const { hash, fit: facts } = clustering.manifest
    print(json, { folder: into, clusters, dimensions, hash, ...facts }, () => `${into}: ${clusters} clusters of ${facts.sample.toLocaleString('en')} windows, ${dimensions} dimensions, ${facts.iterations} iterations, mean squared distance ${facts.meanSquaredDistance.toFixed(4)}`)
  },
})

const assign = define({
  command: 'assign',
  describe: 'Assign every window of a corpus to its cluster',
  options: {
    ...corpusOptions,
    clusters: { type: 'string', demandOption: true, describe: 'The folder that `cluster fit` made' },
    into: { type: 'string', demandOption: true, describe: 'The folder to make' },
    replace: { type: 'boolean', default: false, describe: 'Replace the folder if it is there, once the new one is whole' },
    device, threads, ...jsonOption,
  },
  examples: [['cluster assign --corpus law --tokenizer tokenizer.json --clusters clusters --into law-clusters', 'A domain\'s histogram over the clusters']],
  run: async ({ corpus: from, tokenizer: vocabulary, clusters, into, replace, device: name, threads, json }) => {
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using clustering = openClustering(clusters)
    using device = openDevice({ device: name, threads })
    const { histogram } = await assignCorpus({ clustering, corpus, text: tokenText(tokenizer), device, into, replace })
    print(json, { folder: into, clusters: clustering.clusters, ...histogram }, () => `${into}: ${describeHistogram(histogram)}`)
  },
})

export const describeHistogram = ({ windows, entropy, topCluster, topFraction, emptyClusters, counts }: Histogram): string =>
  `${windows.toLocaleString('en')} windows in ${counts.length - emptyClusters} of ${counts.length} clusters; entropy ${entropy.toFixed(2)} nats; most frequent cluster ${topCluster} with ${(100 * topFraction).toFixed(1)}%`

export const cluster = group('cluster', 'Clusters of windows', [fit, assign])
