import { join } from 'node:path'
import type { Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { readJson, writeJson } from '../base/files.js'
import { drawBatch, type Corpus, type DrawWindow, type WindowReader } from '../corpus/index.js'
import { checkDistillation, ModelSession, type DistillationOptions, type HostRows, type ModelConfig, type Precision } from '../model/index.js'
import type { Costs } from '../train/index.js'
import { openTeacher, type Teacher } from './teacher.js'
import { cacheTeacher, type CacheSettings, type TeacherCache, type Truncation } from './teacherCache.js'

/** slm-d: the loss is (1 - alpha) nll + alpha temperature² KL(teacher || model). */
export interface Distillation {
  /** Hugging Face folder of the teacher, with the tokenizer of the model that learns from it: usually a larger model, fine-tuned on the same domain. */
  teacher: string
  /** The teacher's share of the loss, from 0 to 1. */
  alpha: number
  /** Softens both distributions. */
  temperature: number
  /** Where the teacher's distributions are kept, for any number of models that learn from it; see `cacheTeacher`. Absent: the teacher computes along, all tokens count. */
  cache?: CacheSettings & { folder: string }
}

/** What a run knew of its teacher. */
export interface TeacherReport {
  /** Identifies the teacher. */
  teacher: string
  /** Tokens kept for a target; null where all count. */
  k: number | null
  truncation: Truncation | null
  /** What writing the cache took, in all: not in the run's own costs. Null where the teacher computed along: then it is in them. */
  costs: Costs | null
}

/** Where a run notes what it knew of its teacher. */
const REPORT_FILE = 'teacher.json'
export const readTeacherReport = (folder: string): TeacherReport => readJson(join(folder, REPORT_FILE)) as TeacherReport

export interface TeachingOptions {
  distillation: Distillation
  /** The model that learns. */
  student: Pick<ModelConfig, 'vocabulary'>
  corpus: Corpus
  /** Of a run: where it computes, and the rows it computes at once. */
  device: Device
  precision: Precision
  rows: number
  length: number
  signal?: AbortSignal | undefined
}

/** A teacher beside a run of training. */
export class Teaching implements Disposable {
  /** What the run's session needs to know. */
  readonly options: DistillationOptions
  readonly #teacher: Teacher
  #source: { cache: TeacherCache } | { session: ModelSession; logits: Float32Array<ArrayBuffer> } | undefined

  /** Throws CONFIG or INPUT, before any work, if the student cannot learn so from this teacher. */
  constructor(readonly settings: TeachingOptions) {
    const { distillation: { teacher, alpha, temperature, cache }, student, corpus } = settings
    this.options = { alpha, temperature, teacher: cache ? { k: cache.k } : 'logits' }
    checkDistillation(this.options, student.vocabulary)
    this.#teacher = openTeacher(teacher, student, corpus)
  }

  /** Identifies the teacher. */
  get hash(): string { return this.#teacher.hash }

  /** Writes or opens the cache, or loads the teacher; then notes in the run's folder what is known of it. */
  async prepare(folder: string): Promise<void> {
    const { distillation: { temperature, cache }, corpus, device, precision, rows, length, signal } = this.settings, teacher = this.#teacher
    if (cache) this.#source = { cache: await cacheTeacher({ ...cache, teacher, corpus, temperature, device, precision, signal }) }
    else {
      const session = new ModelSession(device, { config: teacher.config, precision, rows, length, logits: true })
      this.#source = { session, logits: new Float32Array(rows * length * teacher.config.vocabulary) }
      for (const { name, values } of teacher.parameters()) session.write('values', name, values)
      await session.refresh()
    }
    const { truncation = null, costs = null } = 'cache' in this.#source ? this.#source.cache : {}
    writeJson(join(folder, REPORT_FILE), { teacher: this.hash, k: cache?.k ?? null, truncation, costs } satisfies TeacherReport)
  }

  /** Rows first .. first + count - 1 with the teacher's distributions; `flops`: what the teacher computes for them. */
  rows(reader: WindowReader, draw: DrawWindow, first: number, count: number): HostRows & { flops: number } {
    const source = this.#source, shape = { rows: count, length: this.settings.length }
    if (!source) throw new NichelmError('INTERNAL', 'the teacher is not prepared')
    if ('cache' in source) return cachedRows(source.cache, reader, draw, first, shape)
    const { session, logits } = source, batch = drawBatch(reader, draw, first, shape)
    // Asked for when its turn comes, and copied before the next: the logits of one part of a step are all that is in memory.
    return { ...batch, teacher: async () => ({ logits: await session.logits(batch, logits) }), flops: session.forwardFlops }
  }

  dispose(): void {
    if (!this.#source) return
    if ('cache' in this.#source) this.#source.cache.dispose()
    else this.#source.session.dispose()
    this.#source = undefined
  }
  [Symbol.dispose](): void { this.dispose() }
}

/** Every window that is drawn brings its distributions along; places without a target are never read. */
function cachedRows(cache: TeacherCache, reader: WindowReader, draw: DrawWindow, first: number, shape: { rows: number; length: number }): HostRows & { flops: number } {
  const size = shape.rows * shape.length * cache.k, teacher = { ids: new Int32Array(size), probabilities: new Float32Array(size) }
  const watched: WindowReader = {
    readWindow(window, tokens, at, most) {
      const count = reader.readWindow(window, tokens, at, most)
      cache.read(window, count - 1, teacher, at)
      return count
    },
  }
  return { ...drawBatch(watched, draw, first, shape), teacher, flops: 0 }
}
