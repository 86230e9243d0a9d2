import { Arena, type Command, type Copies, type Device, type OpTiming, type Program } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import type { Tensor } from '../graph/tensor.js'
import type { ModelConfig } from './config.js'
import { initialParts } from './initialize.js'
import { sizeOf, type Parameters, type ParameterSpec } from './parameters.js'
import { planPrograms, type MemoryUse, type ProgramName, type SessionOptions, type SessionPlan } from './sessionPlan.js'
import { teacherCopies, type TeacherRows } from './teacher.js'

/** Rows as the host hands them over, row-major [rows, length]; see src/corpus for what they hold. */
export interface HostRows {
  rows: number
  length: number
  tokens: Int32Array
  targets: Int32Array
  weights: Float32Array
  starts: Int32Array
  /** For a projected network: the expert of each group of rows, groups of the same number of rows in order. */
  experts?: Int32Array
  /** Where the session distills: a teacher's distributions for these rows, or what gives them when their turn has come. */
  teacher?: TeacherRows | (() => Promise<TeacherRows>)
}

/** Of every token of a batch: the k most probable next tokens, descending, [rows · length, k]; the sum of the others' probabilities; what the others' shape would tell (see `mostProbable` in src/graph). */
export interface MostProbable { ids: Int32Array; probabilities: Float32Array; rest: Float32Array; lost: Float32Array }

/** Runs of a session's parameters. */
export type Run = 'values' | 'gradient' | 'm' | 'v'

/** Elements that are copied at a time where a whole parameter may be large. */
const PART = 1 << 18

/** Memory that a session would take, and FLOPs of one micro-batch (forward and backward), without making one. */
export function planSession(options: SessionOptions): { memory: MemoryUse; flops: number } {
  const { memory, programs } = planPrograms(options)
  return { memory, flops: (programs.micro ?? programs.evaluate)!.flops }
}

/** A model on a device, with its programs: what trainer and evaluation work with. One call at a time. */
export class ModelSession implements Disposable {
  readonly config: ModelConfig
  readonly options: SessionOptions
  readonly rows: number
  readonly length: number
  readonly memory: MemoryUse
  /** FLOPs of one micro-batch by count: forward and backward where the model is trained, else forward. */
  readonly flops: number
  /** FLOPs of the forward pass of one batch. */
  readonly forwardFlops: number
  readonly #plan: SessionPlan
  readonly #arena: Arena
  #room: Float32Array<ArrayBuffer> | undefined
  readonly #programs: Partial<Record<ProgramName, Program>> = {}
  /** The experts whose weights are in memory, made of the parameters as they are now; undefined: none are. */
  #projected: Int32Array | undefined

  /** Parameters are zero until `initialize` or `write`. Throws RESOURCE if memory is not enough, with the settings that lower it. */
  constructor(readonly device: Device, options: SessionOptions) {
    this.options = options
    this.config = options.config
    this.rows = options.rows
    this.length = options.length ?? options.config.context
    this.#plan = planPrograms(options)
    this.memory = this.#plan.memory
    this.flops = (this.#plan.programs.micro ?? this.#plan.programs.evaluate)!.flops
    this.forwardFlops = this.#plan.programs.evaluate!.flops
    this.#arena = arenaFor(this.memory, device)
    try {
      for (const [name, lowered] of Object.entries(this.#plan.programs))
        if (lowered) this.#programs[name as ProgramName] = device.compile(this.#arena, lowered.text(this.#plan.layout))
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  /** The parameters that have a run: `values` of all that the session holds; gradients and moments of those that are trained. */
  specs(run: Run): ParameterSpec[] { return this.#plan.network.stores.filter((store) => runOf(store, run)).flatMap((store) => store.specs) }

  /** The parameters that training changes; all where there is no training. */
  get trained(): ParameterSpec[] { return this.options.training ? this.specs('m') : this.specs('values') }

  /** Fills the parameters with their start: all of them, or with LoRA the adapters. */
  async initialize(seed: number): Promise<void> {
    for (const store of this.#plan.network.starts)
      for (const spec of store.specs) for (const { first, values } of initialParts(spec, seed)) this.writePart('values', spec.name, first, values)
    await this.refresh()
  }

  #place(run: Run, name: string): { spec: ParameterSpec; offset: number } {
    const store = this.#plan.network.stores.find((one) => one.has(name))
    if (!store) throw new NichelmError('USAGE', `the model has no parameter '${name}'`)
    const tensor = runOf(store, run)
    if (!tensor) throw new NichelmError('USAGE', `the session holds no ${run} of '${name}'`)
    return { spec: store.specs.find((one) => one.name === name)!, offset: this.#plan.layout.offset(tensor) + 4 * store.offset(name) }
  }

  /** Overwrites one parameter, or its gradient or moments; after values, call `refresh`. */
  write(run: Run, name: string, data: Float32Array<ArrayBuffer>): void {
    const { spec, offset } = this.#place(run, name)
    if (data.length !== sizeOf(spec)) throw new NichelmError('USAGE', `'${name}' holds ${sizeOf(spec)} elements, not ${data.length}`)
    this.#overwrite(offset, data)
  }

  /** `write` for some of the elements, from `first` on. */
  writePart(run: Run, name: string, first: number, data: Float32Array<ArrayBuffer>): void {
    const { spec, offset } = this.#place(run, name)
    if (!(first >= 0 && first + data.length <= sizeOf(spec))) throw new NichelmError('USAGE', `'${name}' holds ${sizeOf(spec)} elements, not ${first + data.length}`)
    this.#overwrite(offset + 4 * first, data)
  }

  #overwrite(offset: number, data: Float32Array<ArrayBuffer>): void {
    this.#projected = undefined
    this.#arena.write(offset, data)
  }

  /** A copy of one parameter, or of its gradient or moments, f32. */
  read(run: Run, name: string): Float32Array<ArrayBuffer> {
    const { spec, offset } = this.#place(run, name), data = new Float32Array(sizeOf(spec))
    this.#arena.read(offset, data)
    return data
  }

  /** `read` part by part: a table of a large model need not be in memory twice. A part is good until this session gives the next of any parameter. */
  *readParts(run: Run, name: string): Generator<Float32Array<ArrayBuffer>> {
    const { spec, offset } = this.#place(run, name), size = sizeOf(spec), room = (this.#room ??= new Float32Array(PART))
    for (let first = 0; first < size; first += PART) {
      const part = room.subarray(0, Math.min(PART, size - first))
      this.#arena.read(offset + 4 * first, part)
      yield part
    }
  }

  /** Names of the weights that adapters are added to; of all others the ordinary model has just what the session holds. */
  get adapted(): string[] { return [...this.#plan.deltas.keys()] }

  /** A weight of the ordinary model that the session's network amounts to: with LoRA, adapters are added to what they adapt. f32. */
  async readMerged(name: string): Promise<Float32Array<ArrayBuffer>> {
    const values = this.read('values', name), delta = this.#plan.deltas.get(name)
    if (!delta) return values
    const difference = new Float32Array(values.length)
    using program = this.device.compile(this.#arena, delta.program.text(this.#plan.layout))
    await this.device.run(this.#arena, [{ program }], [this.#plan.layout.offset(delta.into), difference])
    for (let i = 0; i < values.length; i++) values[i]! += difference[i]!
    return values
  }

  /** Rounds the parameters for the products of bf16; needed after values were written. */
  async refresh(): Promise<void> {
    if (this.#programs.round) await this.device.run(this.#arena, [{ program: this.#programs.round }])
  }

  #inputs(batch: HostRows, scale = 1): Copies {
    const { rows, layout } = this.#plan
    if (batch.rows !== this.rows || batch.length !== this.length)
      throw new NichelmError('USAGE', `the batch has ${batch.rows} rows of ${batch.length} tokens; the session was made for ${this.rows} of ${this.length}`)
    checkTokens(batch, this.config.vocabulary)
    const weights = scale === 1 ? batch.weights : batch.weights.map((weight) => weight * scale)
    return [layout.offset(rows.tokens), batch.tokens, layout.offset(rows.starts), batch.starts, layout.offset(rows.targets), batch.targets, layout.offset(rows.tokenWeights), weights]
  }

  /** What a micro-batch of training reads: its rows, and its teacher's distributions where there is one. */
  async #lesson(batch: HostRows, scale: number): Promise<Copies> {
    const { teacher, layout } = this.#plan, inputs = this.#inputs(batch, scale)
    if (!teacher) return inputs
    const given = typeof batch.teacher === 'function' ? await batch.teacher() : batch.teacher
    return [...inputs, ...teacherCopies(teacher, layout, batch.weights, given, this.config.vocabulary)]
  }

  /** The experts of a step's rows; undefined where the network has none. */
  #expertsOf(batches: readonly HostRows[]): Int32Array | undefined {
    const { network } = this.options
    if (network?.kind !== 'projected') return undefined
    const ids = batches[0]?.experts
    if (ids?.length !== network.groups || batches.some((batch) => batch.experts?.join() !== ids.join()))
      throw new NichelmError('USAGE', `a step of a projected network needs ${network.groups} experts, the same in every part of the step`)
    for (const id of ids) if (!(id >= 0 && id < network.projected.experts)) throw new NichelmError('INPUT', `there is no expert ${id}: they are 0 to ${network.projected.experts - 1}`)
    return ids
  }

  /** Runs programs on rows: those that compute with experts' weights, before them what makes these where they are not there already. */
  async #compute(batches: readonly HostRows[], commands: Command[], reads: Copies): Promise<void> {
    const ids = this.#expertsOf(batches), known = this.#projected
    if (!ids || (known && ids.every((id, group) => id === known[group]))) return await this.device.run(this.#arena, commands, reads)
    this.#projected = undefined
    await this.device.run(this.#arena, [this.#command('project', [this.#plan.layout.offset(this.#plan.network.experts!), ids]), ...commands], reads)
    this.#projected = ids.slice()
  }

  #command(name: ProgramName, writes: Copies = []): Command {
    const program = this.#programs[name]
    if (!program) throw new NichelmError('USAGE', `the session was made without what '${name}' needs`)
    return { program, writes }
  }

  /**
   * Adds up the gradient of the mean loss over all micro-batches' targets. Batches may weigh their tokens; the mean is by weight.
   * Returns that mean loss, in nats (where the session distills, the mixture). Gradients are zero before.
   */
  async accumulate(batches: readonly HostRows[]): Promise<number> {
    const total = batches.reduce((sum, batch) => sum + batch.weights.reduce((a, b) => a + b, 0), 0)
    if (!(total > 0)) throw new NichelmError('USAGE', 'a step needs at least one token with a target')
    // The update's gradients are of these experts, whenever their weights were made.
    const ids = this.#expertsOf(batches), { network: { experts }, layout } = this.#plan
    const zero = this.#command('zero', ids ? [layout.offset(experts!), ids] : [])
    let mean = 0
    for (const [index, batch] of batches.entries()) {
      const loss = new Float32Array(1)
      const micro = this.#command('micro', await this.#lesson(batch, 1 / total))
      await this.#compute(batches, index ? [micro] : [zero, micro], [layout.offset(this.#plan.loss), loss])
      mean += loss[0]!
    }
    return mean
  }

  /**
   * One AdamW update, `step` = 1, 2, ...; returns the norm of the gradient before clipping. `next`: rows of the step to come, where they are known already; the weights
   * of their experts are made in the same pass over the bases, with the bits that they would have otherwise.
   */
  async update(step: number, rate: number, next: readonly HostRows[] = []): Promise<number> {
    const { beta1, beta2 } = this.options.training!, { network, schedule, norm, layout } = this.#plan
    const found = new Float32Array(1), ids = next.length ? this.#expertsOf(next) : undefined
    const writes = [layout.offset(schedule), new Float32Array([rate, 1 - beta1 ** step, 1 - beta2 ** step]), ...(ids ? [layout.offset(network.nextExperts!), ids] : [])]
    this.#projected = undefined
    await this.device.run(this.#arena, [this.#command(ids ? 'advance' : 'update', writes)], [layout.offset(norm), found])
    this.#projected = ids?.slice()
    return found[0]!
  }

  /** Negative log-likelihood of every target [rows · length], nats; 0 where a token does not count. */
  async evaluate(batch: HostRows): Promise<Float32Array<ArrayBuffer>> {
    const nll = new Float32Array(this.rows * this.length)
    await this.#compute([batch], [this.#command('evaluate', this.#inputs(batch))], [this.#plan.layout.offset(this.#plan.nll), nll])
    return nll
  }

  /** Logits [rows, length, vocabulary] f32, in `logits` where that is given: they may be large. */
  async logits(batch: HostRows, logits = new Float32Array(this.rows * this.length * this.config.vocabulary)): Promise<Float32Array<ArrayBuffer>> {
    await this.#compute([batch], [this.#command('logits', this.#inputs(batch))], [this.#plan.layout.offset(this.#plan.logits!), logits])
    return logits
  }

  /** The most probable next tokens at every place of the rows. */
  async mostProbable(batch: HostRows): Promise<MostProbable> {
    const into = this.#plan.mostProbable, command = this.#command('mostProbable', this.#inputs(batch)), { layout } = this.#plan
    const size = (tensor: Tensor): number => tensor.size
    const found = { ids: new Int32Array(size(into!.ids)), probabilities: new Float32Array(size(into!.probabilities)), rest: new Float32Array(size(into!.rest)), lost: new Float32Array(size(into!.lost)) }
    const reads = (['ids', 'probabilities', 'rest', 'lost'] as const).flatMap((name) => [layout.offset(into![name]), found[name]])
    await this.#compute([batch], [command], reads)
    return found
  }

  /** Where the time of a whole step goes, op by op: forward, backward and update, once more on the inputs of the last call. */
  async profile(): Promise<OpTiming[]> {
    const all = new Map<string, OpTiming>()
    for (const name of ['micro', this.#plan.programs.advance ? 'advance' : 'update'] as const)
      for (const { op, calls, seconds } of await this.device.profile(this.#command(name).program)) {
        const { calls: before, seconds: spent } = all.get(op) ?? { calls: 0, seconds: 0 }
        all.set(op, { op, calls: before + calls, seconds: spent + seconds })
      }
    return [...all.values()].sort((a, b) => b.seconds - a.seconds)
  }

  /** The program's text, for reading. */
  text(name: 'micro' | 'evaluate' | 'update'): string { return this.#plan.programs[name]?.text(this.#plan.layout) ?? '' }

  dispose(): void {
    for (const program of Object.values(this.#programs)) program.dispose()
    this.#arena.dispose()
  }
  [Symbol.dispose](): void { this.dispose() }
}

const runOf = (store: Parameters, run: Run): Tensor | undefined => (run === 'values' ? store.values : run === 'gradient' ? store.gradient : store.moments?.[run])

function arenaFor(memory: MemoryUse, device: Device): Arena {
  try {
    return new Arena(memory.total, device)
  } catch (error) {
    if (!(error instanceof NichelmError) || error.code !== 'RESOURCE') throw error
    const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`
    throw new NichelmError('RESOURCE', `${error.message} (parameters ${mib(memory.parameters)}, gradients and optimizer ${mib(memory.gradients + memory.optimizer)}, activations ${mib(memory.activations)})`, {
      fix: 'Fewer rows at once (a smaller batch, or a larger accumulate) need less for activations; a smaller model needs less of everything.',
      cause: error,
    })
  }
}

/** Throws INPUT that names the place if a token is outside the vocabulary: kernels do not look. */
function checkTokens({ tokens, targets, weights, length }: HostRows, vocabulary: number): void {
  const outside = (token: number): boolean => token < 0 || token >= vocabulary
  const refuse = (what: string, token: number, at: number): never => {
    throw new NichelmError('INPUT', `${what} ${token} in row ${Math.floor(at / length)}, place ${at % length} is outside the vocabulary of ${vocabulary}`, { fix: 'Use the tokenizer that the model was trained with.' })
  }
  for (let i = 0; i < tokens.length; i++) if (outside(tokens[i]!)) refuse('token', tokens[i]!, i)
  for (let i = 0; i < targets.length; i++) if (weights[i] && outside(targets[i]!)) refuse('target', targets[i]!, i)
}
