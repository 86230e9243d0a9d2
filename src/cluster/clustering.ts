import { join } from 'node:path'
import { z } from 'zod'
import { kmeansFit, kmeansNearest, type Device, type TokenText, type WindowTokens } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { readJson, sha256, writeJson } from '../base/files.js'
import { permuted, streamKey } from '../base/random.js'
import { SafetensorsFile, writeSafetensors } from '../base/safetensors.js'
import type { Corpus } from '../corpus/corpus.js'
import { writeFolderAtomic } from '../corpus/folder.js'
import type { Embedder } from './embedder.js'
import { Lsi, type LsiOptions } from './lsi.js'

const CLUSTERING_FILE = 'clustering.json', EMBEDDER_FILE = 'embedder.safetensors', CENTROIDS_FILE = 'centroids.safetensors'

const schema = z.strictObject({
  format: z.literal('nichelm-clustering'),
  version: z.literal(1),
  /** Identifies embedder and centroids. */
  hash: z.string(),
  embedder: z.strictObject({ kind: z.literal('lsi'), hash: z.string() }),
  clusters: z.number().int().min(1),
  dimensions: z.number().int().min(1),
  fit: z.strictObject({
    /** Hash of the corpus that the sample is from. */
    corpus: z.string(),
    /** Windows in the sample. */
    sample: z.number(),
    seed: z.number(),
    /** Mean squared distance of the sample's vectors to their centroids. */
    meanSquaredDistance: z.number(),
    iterations: z.number(),
    reseeded: z.number(),
  }),
})
type ClusteringManifest = z.infer<typeof schema>

export interface ClusteringOptions {
  /** The generic corpus; a sample of its windows is what embedder and centroids are learned from. */
  corpus: Corpus
  /** What the corpus's tokens stand for: `tokenText(tokenizer)`. */
  text: TokenText
  device: Device
  /** The folder to make. */
  into: string
  /** Whether a folder that is there is replaced; default false. */
  replace?: boolean | undefined
  /** Number of clusters; default 64. */
  clusters?: number | undefined
  /** Windows in the sample, at most; default 20,000. */
  sample?: number | undefined
  embedder?: { kind?: 'lsi' } & LsiOptions | undefined
  seed?: number | undefined
  /** k-means starts, of which the best is kept; default 1. */
  restarts?: number | undefined
}

/**
 * Learns an embedder and k-means centroids from a sample of a corpus's windows, and writes them to a folder.
 *
 * Throws INPUT if the corpus has fewer windows than clusters, or no words; CONFIG for settings that cannot be.
 */
export async function fitClustering(options: ClusteringOptions): Promise<Clustering> {
  const { corpus, text, device, into, replace, clusters = 64, sample = 20000, seed = 0, restarts = 1 } = options
  if (!Number.isInteger(clusters) || clusters < 2) throw new NichelmError('CONFIG', `must be an integer of at least 2; got ${clusters}`, { place: { field: 'clusters' } })
  if (!(sample >= clusters)) throw new NichelmError('CONFIG', `must be at least the number of clusters, ${clusters}; got ${sample}`, { place: { field: 'sample' } })
  if (corpus.windows < clusters)
    throw new NichelmError('INPUT', `has ${corpus.windows} windows, too few for ${clusters} clusters`, { place: { file: corpus.folder }, fix: 'Ask for fewer clusters, or give more generic text.' })
  const windows = corpus.gatherWindows(sampleOf(corpus.windows, sample, seed))
  const { kind: _, ...lsi } = options.embedder ?? {}
  using embedder = await Lsi.fit(device, windows, text, { ...lsi, seed: lsi.seed ?? seed })
  const vectors = await embedder.embed(device, windows, text)
  const { centroids, inertia, iterations, reseeded } = await kmeansFit(device, vectors, embedder.dimensions, { clusters, seed, restarts })
  await writeFolderAtomic(into, (folder) => {
    embedder.save(join(folder, EMBEDDER_FILE))
    writeSafetensors(join(folder, CENTROIDS_FILE), [{ name: 'centroids', dtype: 'F32', shape: [clusters, embedder.dimensions], data: centroids }], { checksums: true })
    writeJson(join(folder, CLUSTERING_FILE), {
      format: 'nichelm-clustering', version: 1, hash: hashOf(embedder, centroids), embedder: { kind: embedder.kind, hash: embedder.hash },
      clusters, dimensions: embedder.dimensions,
      fit: { corpus: corpus.hash, sample: windows.lengths.length, seed, meanSquaredDistance: inertia / windows.lengths.length, iterations, reseeded },
    } satisfies ClusteringManifest)
  }, replace)
  return openClustering(into)
}

const hashOf = (embedder: Embedder, centroids: Float32Array): string =>
  sha256(`${embedder.hash} ${sha256(new Uint8Array(centroids.buffer, centroids.byteOffset, centroids.byteLength))}`)

/** Distinct windows, ascending, drawn without replacement. */
function sampleOf(windows: number, sample: number, seed: number): Uint32Array {
  if (sample >= windows) return Uint32Array.from({ length: windows }, (_, i) => i)
  const key = streamKey(seed, 'clustering sample')
  return Uint32Array.from({ length: sample }, (_, i) => permuted(key, windows, i)).sort()
}

/** Opens a clustering's folder. Throws INPUT if a file is missing, CORRUPT, naming the file, if one has been damaged. */
export function openClustering(folder: string): Clustering {
  const file = join(folder, CLUSTERING_FILE)
  const damaged = (what: string, place: { file: string; field?: string }) => new NichelmError('CORRUPT', what, { place, fix: 'Fit the clusters again.' })
  const parsed = schema.safeParse(readJson(file))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw damaged(issue?.message ?? 'is not a clustering', { file, field: issue?.path.join('.') || 'clustering' })
  }
  const { clusters, dimensions, hash } = parsed.data
  using tensors = new SafetensorsFile(join(folder, CENTROIDS_FILE))
  tensors.verify()
  const centroids = tensors.readF32('centroids', { finite: true })
  const embedder = Lsi.open(join(folder, EMBEDDER_FILE))
  if (centroids.length !== clusters * dimensions || embedder.dimensions !== dimensions || hashOf(embedder, centroids) !== hash) {
    embedder.dispose()
    throw damaged('does not fit the embedder and the centroids beside it', { file })
  }
  return new Clustering(folder, parsed.data, embedder, centroids)
}

/** An embedder and the centroids of clusters among its vectors. Dispose it when done: the embedder holds native memory. */
export class Clustering implements Disposable {
  constructor(readonly folder: string, readonly manifest: ClusteringManifest, readonly embedder: Embedder, readonly centroids: Float32Array) {}

  get hash(): string { return this.manifest.hash }
  get clusters(): number { return this.manifest.clusters }

  /** The cluster of each window: the one with the nearest centroid. */
  async assign(device: Device, windows: WindowTokens, text: TokenText): Promise<Int32Array> {
    const vectors = await this.embedder.embed(device, windows, text)
    return (await kmeansNearest(device, vectors, this.manifest.dimensions, this.centroids)).labels
  }

  [Symbol.dispose](): void { this.embedder[Symbol.dispose]() }
}
