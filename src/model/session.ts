import { Arena, type Command, type Copies, type Device, type OpTiming, type Program } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { backward } from '../graph/autodiff.js'
import { Layout, lower, type Lowered } from '../graph/lower.js'
import { trace } from '../graph/op.js'
import { adamw, cast, fill, globalNorm, matmul, type AdamwSettings } from '../graph/ops/index.js'
import { persistent, type Tensor } from '../graph/tensor.js'
import type { ModelConfig } from './config.js'
import { initialValues } from './initialize.js'
import { Parameters, parameterSpecs, sizeOf, type Precision } from './parameters.js'
import { outputWeight, rowTensors, transformer, transformerLoss, type Rows } from './transformer.js'

export interface OptimizerSettings extends AdamwSettings {
  /** Greatest norm of the whole gradient; 0: no clipping. */
  clip: number
}

export interface SessionOptions {
  config: ModelConfig
  precision: Precision
  /** Rows that are computed at once: of a micro-batch in training, of a batch in evaluation. */
  rows: number
  /** Tokens in a row; the model's context if absent. */
  length?: number
  /** Present where the model is trained. */
  training?: OptimizerSettings
  /** Whether `logits` will be called: room for [rows, length, vocabulary] f32 is kept. */
  logits?: boolean
}

/** Rows as the host hands them over, row-major [rows, length]; see src/corpus for what they hold. */
export interface HostRows { rows: number; length: number; tokens: Int32Array; targets: Int32Array; weights: Float32Array; starts: Int32Array }

/** Bytes of the arena, by what they hold. */
export interface MemoryUse { parameters: number; gradients: number; optimizer: number; inputs: number; activations: number; total: number }

interface Plan {
  parameters: Parameters
  rows: Rows
  nll: Tensor
  loss: Tensor
  norm: Tensor
  schedule: Tensor
  logits: Tensor | undefined
  layout: Layout
  programs: Record<'round' | 'zero' | 'micro' | 'update' | 'evaluate' | 'logits', Lowered | undefined>
  memory: MemoryUse
}

function plan(options: SessionOptions): Plan {
  const { config, precision, rows: rowCount, length = config.context, training } = options
  if (length > config.context) throw new NichelmError('CONFIG', `rows of ${length} tokens are longer than the model's context of ${config.context}`, { fix: `Build the corpus with a context of at most ${config.context}, or take a model with a longer one.` })
  const p = new Parameters(parameterSpecs(config), precision, training !== undefined)
  const rows = rowTensors(rowCount, length)
  const nll = persistent('nll', 'f32', [rowCount * length]), loss = persistent('loss', 'f32', [1])
  const norm = persistent('gradient norm', 'f32', [1]), schedule = persistent('schedule', 'f32', [3])
  const logits = options.logits ? persistent('logits', 'f32', [rowCount, length, config.vocabulary]) : undefined
  const layout = new Layout()
  const program = (body: (() => void) | undefined, after?: typeof backward): Lowered | undefined => {
    if (!body) return undefined
    const nodes = trace(body)
    after?.(nodes)
    return lower(nodes, layout)
  }
  layout.place(p.values)
  const forward = (): void => transformerLoss(p, config, rows, { nll, loss })
  const programs = {
    round: program(p.copy && (() => void cast(p.values, 'bf16', p.copy))),
    zero: program(p.gradient && (() => fill(p.gradient!, 0))),
    micro: program(training && forward, backward),
    update: program(training && (() => update(p, training, norm, schedule))),
    evaluate: program(forward),
    logits: program(logits && (() => void matmul(transformer(p, config, rows), outputWeight(p, config), { transposeB: true, f32: true, into: logits }))),
  }
  const activations = Math.max(...Object.values(programs).map((lowered) => lowered?.temporaryBytes ?? 0))
  const gradients = p.gradient?.bytes ?? 0, optimizer = p.moments ? p.moments.m.bytes + p.moments.v.bytes : 0, values = p.values.bytes + (p.copy?.bytes ?? 0)
  const memory = { parameters: values, gradients, optimizer, inputs: layout.bytes - values - gradients - optimizer, activations, total: layout.bytes + activations }
  return { parameters: p, rows, nll, loss, norm, schedule, logits, layout, programs, memory }
}

function update(p: Parameters, settings: OptimizerSettings, norm: Tensor, schedule: Tensor): void {
  const { clip } = globalNorm(p.gradient!, settings.clip, norm)
  for (const part of ['matrices', 'vectors'] as const) {
    const run = { gradient: p.part(p.gradient!, part), p: p.part(p.values, part), m: p.part(p.moments!.m, part), v: p.part(p.moments!.v, part), copy: p.copy && p.part(p.copy, part) }
    if (run.p.size) adamw(run, clip, schedule, { ...settings, weightDecay: part === 'matrices' ? settings.weightDecay : 0 })
  }
}

/** Memory that a session would take, and FLOPs of one micro-batch (forward and backward), without making one. */
export function planSession(options: SessionOptions): { memory: MemoryUse; flops: number } {
  const { memory, programs } = plan(options)
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
  readonly #plan: Plan
  readonly #arena: Arena
  readonly #programs: Partial<Record<keyof Plan['programs'], Program>> = {}

  /** Parameters are zero until `initialize` or `write`. Throws RESOURCE if memory is not enough, with the settings that lower it. */
  constructor(readonly device: Device, options: SessionOptions) {
    this.options = options
    this.config = options.config
    this.rows = options.rows
    this.length = options.length ?? options.config.context
    this.#plan = plan(options)
    this.memory = this.#plan.memory
    this.flops = (this.#plan.programs.micro ?? this.#plan.programs.evaluate)!.flops
    this.#arena = arenaFor(this.memory)
    try {
      for (const [name, lowered] of Object.entries(this.#plan.programs))
        if (lowered) this.#programs[name as keyof Plan['programs']] = device.compile(this.#arena, lowered.text(this.#plan.layout))
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  get parameters(): Parameters { return this.#plan.parameters }

  /** Fills every parameter with its start. */
  async initialize(seed: number): Promise<void> {
    for (const spec of this.parameters.specs) this.write('values', spec.name, initialValues(spec, seed))
    await this.refresh()
  }

  #run(run: 'values' | 'gradient' | 'm' | 'v'): Tensor {
    const { values, gradient, moments } = this.parameters
    const tensor = run === 'values' ? values : run === 'gradient' ? gradient : moments?.[run]
    if (!tensor) throw new NichelmError('USAGE', `the session holds no ${run}: it was made without training`)
    return tensor
  }

  /** Overwrites one parameter, or its gradient or moments; after values, call `refresh`. */
  write(run: 'values' | 'gradient' | 'm' | 'v', name: string, data: Float32Array<ArrayBuffer>): void {
    const spec = this.#spec(name)
    if (data.length !== sizeOf(spec)) throw new NichelmError('USAGE', `'${name}' holds ${sizeOf(spec)} elements, not ${data.length}`)
    this.#arena.write(this.#plan.layout.offset(this.#run(run)) + 4 * this.parameters.offset(name), data)
  }

  /** A copy of one parameter, or of its gradient or moments, f32. */
  read(run: 'values' | 'gradient' | 'm' | 'v', name: string): Float32Array<ArrayBuffer> {
    const data = new Float32Array(sizeOf(this.#spec(name)))
    this.#arena.read(this.#plan.layout.offset(this.#run(run)) + 4 * this.parameters.offset(name), data)
    return data
  }

  #spec(name: string) {
    const spec = this.parameters.specs.find((s) => s.name === name)
    if (!spec) throw new NichelmError('USAGE', `the model has no parameter '${name}'`)
    return spec
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

  #command(name: keyof Plan['programs'], writes: Copies = []): Command {
    const program = this.#programs[name]
    if (!program) throw new NichelmError('USAGE', `the session was made without what '${name}' needs`)
    return { program, writes }
  }

  /**
   * Adds up the gradient of the mean loss over all micro-batches' targets. Batches may weigh their tokens; the mean is by weight.
   * Returns that mean loss, in nats. Gradients are zero before.
   */
  async accumulate(batches: readonly HostRows[]): Promise<number> {
    const total = batches.reduce((sum, batch) => sum + batch.weights.reduce((a, b) => a + b, 0), 0)
    if (!(total > 0)) throw new NichelmError('USAGE', 'a step needs at least one token with a target')
    let mean = 0
    for (const [index, batch] of batches.entries()) {
      const loss = new Float32Array(1)
      const micro = this.#command('micro', this.#inputs(batch, 1 / total))
      await this.device.run(this.#arena, index ? [micro] : [this.#command('zero'), micro], [this.#plan.layout.offset(this.#plan.loss), loss])
      mean += loss[0]!
    }
    return mean
  }

  /** One AdamW update, `step` = 1, 2, ...; returns the norm of the gradient before clipping. */
  async update(step: number, rate: number): Promise<number> {
    const { beta1, beta2 } = this.options.training!
    const norm = new Float32Array(1), schedule = new Float32Array([rate, 1 - beta1 ** step, 1 - beta2 ** step])
    await this.device.run(this.#arena, [this.#command('update', [this.#plan.layout.offset(this.#plan.schedule), schedule])], [this.#plan.layout.offset(this.#plan.norm), norm])
    return norm[0]!
  }

  /** Negative log-likelihood of every target [rows · length], nats; 0 where a token does not count. */
  async evaluate(batch: HostRows): Promise<Float32Array<ArrayBuffer>> {
    const nll = new Float32Array(this.rows * this.length)
    await this.device.run(this.#arena, [this.#command('evaluate', this.#inputs(batch))], [this.#plan.layout.offset(this.#plan.nll), nll])
    return nll
  }

  /** Logits [rows, length, vocabulary] f32. */
  async logits(batch: HostRows): Promise<Float32Array<ArrayBuffer>> {
    const command = this.#command('logits', this.#inputs(batch))
    const logits = new Float32Array(this.rows * this.length * this.config.vocabulary)
    await this.device.run(this.#arena, [command], [this.#plan.layout.offset(this.#plan.logits!), logits])
    return logits
  }

  /** Where the time of one forward and backward pass goes, on the inputs of the last call. */
  profile(): Promise<OpTiming[]> { return this.device.profile(this.#command('micro').program) }

  /** The program's text, for reading. */
  text(name: 'micro' | 'evaluate' | 'update'): string { return this.#plan.programs[name]?.text(this.#plan.layout) ?? '' }

  dispose(): void {
    for (const program of Object.values(this.#programs)) program.dispose()
    this.#arena.dispose()
  }
  [Symbol.dispose](): void { this.dispose() }
}

function arenaFor(memory: MemoryUse): Arena {
  try {
    return new Arena(memory.total)
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
