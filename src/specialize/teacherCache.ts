import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { resultKind, type Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { makeFolder, readJson, sha256, writeJson } from '../base/files.js'
import { fromF16, toF16 } from '../base/half.js'
import { SafetensorsFile, writeSafetensors } from '../base/safetensors.js'
import { emptyBatch, endRow, place, type Batch, type Corpus } from '../corpus/index.js'
import { ModelSession, type Precision } from '../model/index.js'
import { addCosts, deviceName, noCosts, type Costs } from '../train/index.js'
import type { Teacher } from './teacher.js'

const MANIFEST_FILE = 'teacher.json', FORMAT = 'nichelm-teacher'
/** Bytes of a part of a cache: what is written at once, and lost at most when it is interrupted. */
const PART_BYTES = 8 * 2 ** 20
/** Parts held open at once: a large cache has more of them than a process may open. */
const OPEN_PARTS = 64
/** Tokens computed at once. */
const TOKENS_AT_ONCE = 2048

const sums = { /** Targets, and sums over them. */ targets: z.int().min(0), rest: z.number(), lost: z.number() }
const costs = z.strictObject({ tokens: z.number(), flops: z.number(), deviceHours: z.number(), device: z.string() })
const partSchema = z.strictObject({ first: z.int().min(0), windows: z.int().min(1), ...sums, costs })
const schema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(1),
  identity: z.strictObject({ teacher: z.string(), corpus: z.string(), temperature: z.number(), k: z.int().min(1), probabilities: z.enum(['f16', 'f32']), precision: z.enum(['f32', 'bf16']), device: z.string().optional() }),
  parts: z.array(partSchema).min(1),
})
type Part = z.infer<typeof partSchema>

/** What a cache of a teacher's distributions holds. */
export interface CacheSettings {
  /** How many of the most probable tokens are kept for a target. */
  k: number
  /** How their probabilities are stored; default f16. Those read back sum exactly to what is not in the rest, which is f32. */
  probabilities?: 'f16' | 'f32'
}

/** What keeping only the most probable tokens costs, in the mean over the corpus's targets. */
export interface Truncation {
  targets: number
  /** Probability that is not among the tokens kept. */
  restMass: number
  /** KL divergence, nats, from the teacher's distribution to the one in which that rest is spread evenly over the other tokens. */
  lost: number
}

export interface CacheOptions extends CacheSettings {
  folder: string
  teacher: Teacher
  corpus: Corpus
  temperature: number
  device: Device
  precision: Precision
  /** Bytes of a part, about; default 8 MiB. */
  partBytes?: number | undefined
  signal?: AbortSignal | undefined
  /** Called now and then with the windows done. */
  onProgress?: ((windows: number) => void) | undefined
}

/**
 * The next-token distributions of a teacher for every target of a corpus, on disk: of each the k most probable tokens, their probabilities at a temperature and the
 * others' sum, windows in the corpus's order, in parts with checksums. What is there already is not computed again: an interrupted cache goes on at its next part.
 *
 * Throws CONFIG if the folder holds the cache of another teacher, corpus or setting; CORRUPT that names the file if one has been damaged; INTERRUPTED when the signal aborts.
 */
export async function cacheTeacher(options: CacheOptions): Promise<TeacherCache> {
  const { folder, teacher, corpus, k, temperature, device, precision, probabilities = 'f16', partBytes = PART_BYTES, onProgress } = options
  const identity = { teacher: teacher.hash, corpus: corpus.hash, temperature, k, probabilities, precision, ...(device.describe().kind === 'cuda' ? { device: resultKind('cuda') } : {}) }
  const file = join(folder, MANIFEST_FILE)
  if (existsSync(file)) {
    const cache = new TeacherCache(folder, corpus)
    if (JSON.stringify(cache.identity) === JSON.stringify(identity)) return cache
    cache.dispose()
    throw new NichelmError('CONFIG', "holds another teacher's distributions, or others of this one", { place: { file: folder }, fix: 'Name another folder for the cache, or remove this one.' })
  }
  makeFolder(folder)
  const perPart = Math.max(1, Math.floor(partBytes / (corpus.context * k * (idBytes(corpus) + (probabilities === 'f16' ? 2 : 4)))))
  const parts: Part[] = []
  let session: ModelSession | undefined
  try {
    for (let first = 0; first < corpus.windows; first += perPart) {
      const windows = Math.min(perPart, corpus.windows - first), name = join(folder, partFile(parts.length))
      let part = existsSync(name) ? storedPart(name, identity) : undefined
      if (part?.first !== first || part.windows !== windows) {
        session ??= await teacherSession(options)
        part = await writePart(name, session, options, { first, windows, identity })
      }
      parts.push(part)
      onProgress?.(first + windows)
    }
  } finally { session?.dispose() }
  writeJson(file, { format: FORMAT, version: 1, identity, parts } satisfies z.infer<typeof schema>)
  return new TeacherCache(folder, corpus)
}

const partFile = (index: number): string => `part-${String(index).padStart(5, '0')}.safetensors`
const idBytes = (corpus: Corpus): 2 | 4 => (corpus.manifest.tokenizer.vocabularySize <= 0x10000 ? 2 : 4)

/** A part that an interrupted run has left, if it is whole and of this cache. */
function storedPart(file: string, identity: unknown): Part | undefined {
  try {
    using source = new SafetensorsFile(file)
    if (source.metadata.identity !== JSON.stringify(identity)) return undefined
    source.verify()
    return partSchema.parse(JSON.parse(source.metadata.part ?? ''))
  } catch { return undefined } // it is written again
}

async function teacherSession({ teacher, corpus, device, precision, k, temperature }: CacheOptions): Promise<ModelSession> {
  const length = corpus.context, rows = Math.max(1, Math.floor(TOKENS_AT_ONCE / length))
  const session = new ModelSession(device, { config: teacher.config, precision, rows, length, mostProbable: { k, temperature } })
  for (const { name, values } of teacher.parameters()) session.write('values', name, values)
  await session.refresh()
  return session
}

/** Computes the distributions of some windows and writes them. */
async function writePart(file: string, session: ModelSession, { folder, corpus, device, k, probabilities = 'f16', signal }: CacheOptions, { first, windows, identity }: { first: number; windows: number; identity: unknown }): Promise<Part> {
  const began = performance.now(), starts = targetStarts(corpus, first, windows), targets = starts[windows]!
  const ids = idBytes(corpus) === 2 ? new Uint16Array(targets * k) : new Uint32Array(targets * k), kept = new Float32Array(targets * k), rests = new Float32Array(targets)
  const part: Part = { first, windows, targets, rest: 0, lost: 0, costs: noCosts(deviceName(device.describe())) }
  for (const { batch, windows: placed } of wholeWindows(corpus, first, windows, session)) {
    if (signal?.aborted) throw new NichelmError('INTERRUPTED', `stopped; of ${corpus.windows} windows ${first} are saved`, { place: { file: folder }, fix: 'Start the same command again to go on.' })
    const found = await session.mostProbable(batch)
    for (const { window, at, count } of placed) {
      const to = starts[window - first]!, targetCount = count - 1
      ids.set(found.ids.subarray(at * k, (at + targetCount) * k), to * k)
      kept.set(found.probabilities.subarray(at * k, (at + targetCount) * k), to * k)
      rests.set(found.rest.subarray(at, at + targetCount), to)
      for (let i = at; i < at + targetCount; i++) {
        part.rest += found.rest[i]!
        part.lost += found.lost[i]!
      }
    }
    part.costs.tokens += batch.tokenCount
    part.costs.flops += session.forwardFlops
  }
  if (!Number.isFinite(part.rest + part.lost)) throw new NichelmError('DIVERGED', "the teacher's probabilities are not all finite", { place: { file } })
  part.costs.deviceHours = (performance.now() - began) / 3.6e6
  writeSafetensors(file, [
    ids instanceof Uint16Array ? { name: 'ids', dtype: 'U16', shape: [targets, k], data: ids } : { name: 'ids', dtype: 'U32', shape: [targets, k], data: ids },
    probabilities === 'f16' ? { name: 'probabilities', dtype: 'F16', shape: [targets, k], data: toF16(kept) } : { name: 'probabilities', dtype: 'F32', shape: [targets, k], data: kept },
    { name: 'rest', dtype: 'F32', shape: [targets], data: rests },
  ], { checksums: true, metadata: { identity: JSON.stringify(identity), part: JSON.stringify(part) } })
  return part
}

/** Where each window's targets begin among those of windows first .. first + count - 1, and at the end how many there are. */
function targetStarts(corpus: Corpus, first: number, count: number): Uint32Array {
  const records = corpus.records(first, count), fields = records.length / count, starts = new Uint32Array(count + 1)
  for (let i = 0; i < count; i++) starts[i + 1] = starts[i]! + records[i * fields + 2]! - 1
  return starts
}

interface PlacedWindow { window: number; at: number; count: number }

/** Batches of whole windows in order, and where in the batch each lies. */
function* wholeWindows(corpus: Corpus, first: number, count: number, { rows, length }: { rows: number; length: number }): Generator<{ batch: Batch; windows: PlacedWindow[] }> {
  let batch = emptyBatch(rows, length), row = 0, at = 0, windows: PlacedWindow[] = []
  for (let window = first; window < first + count; window++) {
    const size = corpus.window(window).length
    if (at + size > length) {
      endRow(batch, row++, at)
      at = 0
    }
    if (row === rows) {
      yield { batch, windows }
      batch = emptyBatch(rows, length), windows = [], row = 0
    }
    corpus.readWindow(window, batch.tokens, row * length + at, size)
    windows.push({ window, at: row * length + at, count: size })
    at = place(batch, row, at, size)
  }
  for (; row < rows; at = 0) endRow(batch, row++, at)
  if (windows.length) yield { batch, windows }
}

/** A cache of a teacher's distributions, read by window. */
export class TeacherCache implements Disposable {
  readonly identity: z.infer<typeof schema>['identity']
  readonly truncation: Truncation
  /** What writing it took. */
  readonly costs: Costs
  readonly #parts: Part[]
  /** The parts read last, in the order of their use. */
  readonly #open = new Map<number, { source: SafetensorsFile; starts: Uint32Array }>()
  readonly #verified = new Set<number>()

  /** Throws CORRUPT if the folder's manifest is damaged, INPUT if it is of another corpus or there is none. */
  constructor(readonly folder: string, readonly corpus: Corpus) {
    const place = { file: join(folder, MANIFEST_FILE) }, parsed = schema.safeParse(readJson(place.file))
    if (!parsed.success) throw new NichelmError('CORRUPT', parsed.error.issues[0]?.message ?? "is no cache of a teacher's distributions", { place, fix: 'Remove the folder to have them computed again.' })
    this.identity = parsed.data.identity
    this.#parts = parsed.data.parts
    if (this.identity.corpus !== corpus.hash) throw new NichelmError('INPUT', `belongs to another corpus than ${corpus.folder}`, { place })
    const total = (of: (part: Part) => number): number => this.#parts.reduce((sum, part) => sum + of(part), 0), targets = total((part) => part.targets)
    this.truncation = { targets, restMass: total((part) => part.rest) / targets, lost: total((part) => part.lost) / targets }
    this.costs = addCosts(...this.#parts.map((part) => part.costs))
  }

  get k(): number { return this.identity.k }
  /** Identifies the distributions. */
  get hash(): string { return sha256(JSON.stringify(this.identity)) }

  /** Writes the distributions of a window's first `count` targets, k ids and probabilities each, from place `at` on. Throws CORRUPT if a file has been damaged. */
  read(window: number, count: number, into: { ids: Int32Array; probabilities: Float32Array }, at: number): void {
    const index = this.#parts.findIndex((part) => window >= part.first && window < part.first + part.windows)
    if (index < 0) throw new NichelmError('INTERNAL', `window ${window} is not in the cache`, { place: { file: this.folder } })
    const { source, starts } = this.#part(index), { k } = this, start = starts[window - this.#parts[index]!.first]!
    const ids = source.read('ids', { start: start * k, count: count * k }) as Uint16Array | Uint32Array, rest = source.readF32('rest', { start, count })
    const stored = source.read('probabilities', { start: start * k, count: count * k }), probabilities = stored instanceof Uint16Array ? fromF16(stored) : (stored as Float32Array)
    into.ids.set(ids, at * k)
    for (let target = 0; target < count; target++) {
      let sum = 0
      for (let j = target * k; j < (target + 1) * k; j++) sum += probabilities[j]!
      const factor = (1 - rest[target]!) / sum
      for (let j = 0; j < k; j++) into.probabilities[(at + target) * k + j] = probabilities[target * k + j]! * factor
    }
  }

  #part(index: number): { source: SafetensorsFile; starts: Uint32Array } {
    const part = this.#open.get(index) ?? this.#openPart(index)
    this.#open.delete(index)
    this.#open.set(index, part)
    if (this.#open.size > OPEN_PARTS) {
      const [oldest, { source }] = this.#open.entries().next().value!
      source[Symbol.dispose]()
      this.#open.delete(oldest)
    }
    return part
  }

  #openPart(index: number): { source: SafetensorsFile; starts: Uint32Array } {
    const { first, windows } = this.#parts[index]!, source = new SafetensorsFile(join(this.folder, partFile(index)))
    try {
      if (!this.#verified.has(index)) source.verify()
      this.#verified.add(index)
    } catch (error) {
      source[Symbol.dispose]()
      throw error
    }
    return { source, starts: targetStarts(this.corpus, first, windows) }
  }

  dispose(): void {
    for (const { source } of this.#open.values()) source[Symbol.dispose]()
    this.#open.clear()
  }
  [Symbol.dispose](): void { this.dispose() }
}
