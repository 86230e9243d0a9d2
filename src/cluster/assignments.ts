import { join } from 'node:path'
import { z } from 'zod'
import type { Device, TokenText } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { RangeFile, readJson, sha256, writeJson } from '../base/files.js'
import type { Corpus } from '../corpus/corpus.js'
import { throwIfInterrupted, writeFolderAtomic } from '../corpus/folder.js'
import { BinaryWriter } from '../corpus/writer.js'
import type { Clustering } from './clustering.js'
import { histogramOf, type Histogram } from './histogram.js'

const MANIFEST_FILE = 'assignments.json', LABELS_FILE = 'assignments.bin'
const CHUNK_WINDOWS = 4096

const schema = z.strictObject({
  format: z.literal('nichelm-assignments'),
  version: z.literal(1),
  /** Hash of the corpus whose windows these are. */
  corpus: z.string(),
  /** Hash of the clustering. */
  clustering: z.string(),
  clusters: z.number().int().min(1),
  type: z.enum(['u16', 'u32']),
  sha256: z.string(),
  histogram: z.object({ counts: z.array(z.number()), windows: z.number(), entropy: z.number(), topCluster: z.number(), topFraction: z.number(), emptyClusters: z.number() }),
})

/** Which cluster every window of a corpus is in. */
export interface Assignments {
  /** By window. */
  labels: Uint16Array | Uint32Array
  clusters: number
  histogram: Histogram
  /** Hash of the corpus. */
  corpus: string
  /** Hash of the clustering. */
  clustering: string
}

export interface AssignOptions {
  clustering: Clustering
  corpus: Corpus
  /** What the corpus's tokens stand for: `tokenText(tokenizer)`. */
  text: TokenText
  device: Device
  /** The folder to make. */
  into: string
  /** Whether a folder that is there is replaced; default false. */
  replace?: boolean | undefined
  /** Called after every few thousand windows. */
  onProgress?: ((windows: number) => void) | undefined
  /** When aborted, it ends with INTERRUPTED and leaves nothing. */
  signal?: AbortSignal | undefined
}

/** Assigns every window of a corpus to its cluster, some thousands at a time, and writes the numbers to a folder with their histogram. */
export async function assignCorpus(options: AssignOptions): Promise<Assignments> {
  const { clustering, corpus, text, device, into, replace, onProgress, signal } = options
  const type = clustering.clusters <= 0x10000 ? 'u16' : 'u32', counts = new Array<number>(clustering.clusters).fill(0)
  await writeFolderAtomic(into, async (folder) => {
    using labels = new BinaryWriter(join(folder, LABELS_FILE), type)
    for (let first = 0; first < corpus.windows; first += CHUNK_WINDOWS) {
      throwIfInterrupted(signal)
      const count = Math.min(CHUNK_WINDOWS, corpus.windows - first)
      const chunk = await clustering.assign(device, corpus.readWindows(first, count), text)
      for (const cluster of chunk) counts[cluster]!++
      labels.write(chunk)
      onProgress?.(first + count)
    }
    writeJson(join(folder, MANIFEST_FILE), {
      format: 'nichelm-assignments', version: 1, corpus: corpus.hash, clustering: clustering.hash, clusters: clustering.clusters, type,
      sha256: labels.end(), histogram: histogramOf(counts),
    } satisfies z.infer<typeof schema>)
  }, replace)
  return openAssignments(into)
}

/**
 * Reads what `assignCorpus` wrote.
 *
 * Throws INPUT if a file is missing, or `corpus` is given and these are another corpus's windows; CORRUPT, naming the file, if one has been damaged.
 */
export function openAssignments(folder: string, corpus?: Corpus): Assignments {
  const place = { file: join(folder, MANIFEST_FILE) }, fix = 'Assign the clusters again.'
  const parsed = schema.safeParse(readJson(place.file))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new NichelmError('CORRUPT', issue?.message ?? 'are no assignments', { place: { ...place, field: issue?.path.join('.') || 'assignments' }, fix })
  }
  const { type, clusters, histogram, clustering, corpus: owner, sha256: digest } = parsed.data
  if (corpus && corpus.hash !== owner) throw new NichelmError('INPUT', `belongs to another corpus than ${corpus.folder}`, { place, fix })
  using file = new RangeFile(join(folder, LABELS_FILE))
  const bytes = new Uint8Array(file.bytes), size = type === 'u16' ? 2 : 4
  file.read(bytes, 0)
  if (bytes.length !== histogram.windows * size || sha256(bytes) !== digest)
    throw new NichelmError('CORRUPT', 'has been damaged: its size or checksum is not the one beside it', { place: { file: file.file }, fix })
  const labels = type === 'u16' ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer)
  return { labels, clusters, histogram, corpus: owner, clustering }
}
