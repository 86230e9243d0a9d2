import { Arena, type Command, type Copies, type Device, type OpTiming, type Program } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import type { StoredModel } from '../model/index.js'
import { anglesOf, MOST_SLOTS, planInference, type InferenceMemory, type InferenceOptions, type InferencePlan } from './plan.js'

/** One text's part of a decoding step. */
export interface DecodeRow {
  /** Where the text's keys and values are. */
  slot: number
  /** Tokens of the text that were computed before: those of the slot. */
  cached: number
  /** The token that comes now. */
  token: number
  /** In [0, 1): what the next token is drawn by. */
  uniform: number
}

/**
 * A model that continues texts: its weights, and for each slot the keys and values of one text's tokens so far. A text's bits depend on itself alone, not on
 * what the other slots hold or how many there are. One call at a time.
 */
export class InferenceSession implements Disposable {
  readonly memory: InferenceMemory
  readonly #plan: InferencePlan
  readonly #arena: Arena
  readonly #programs: { prefill: Program[]; decode: Program[] } = { prefill: [], decode: [] }

  /** Parameters are zero until `load`. Throws USAGE for options that cannot be, RESOURCE if memory is not enough, with what lowers the need. */
  constructor(readonly device: Device, readonly options: InferenceOptions) {
    const { slots, capacity, config } = options
    if (!Number.isSafeInteger(slots) || slots < 1 || slots > MOST_SLOTS) throw new NichelmError('USAGE', `texts at once must be from 1 to ${MOST_SLOTS}; got ${slots}`, { place: { field: 'slots' } })
    if (!Number.isSafeInteger(capacity) || capacity < 1 || capacity > config.context) throw new NichelmError('USAGE', `a text's tokens must be from 1 to the model's context of ${config.context}; got ${capacity}`, { place: { field: 'capacity' } })
    this.#plan = planInference(options)
    this.memory = this.#plan.memory
    this.#arena = arenaFor(this.memory, device)
    try {
      const { layout, angles, prefill, decode } = this.#plan
      for (const { program } of prefill) this.#programs.prefill.push(device.compile(this.#arena, program.text(layout)))
      for (const { program } of decode) this.#programs.decode.push(device.compile(this.#arena, program.text(layout)))
      if (angles) {
        const { cosine, sine } = anglesOf(config, capacity)
        this.#arena.write(layout.offset(angles.cosine), cosine)
        this.#arena.write(layout.offset(angles.sine), sine)
      }
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  /** Fills in a model's parameters. */
  load(model: Pick<StoredModel, 'parameters'>): void {
    for (const { name, values } of model.parameters()) this.#plan.weights.write(this.#arena, this.#plan.layout, name, values)
  }

  /** Computes the tokens of a text, from its `cached`th on, into a slot; their logits are not made. */
  async prefill(slot: number, tokens: ArrayLike<number>, cached = 0): Promise<void> {
    const { layout, prefill } = this.#plan
    this.#check(slot, cached, tokens.length)
    for (let at = 0; at < tokens.length;) {
      const left = tokens.length - at, whole = prefill.findIndex(({ length }) => length <= left), index = whole < 0 ? prefill.length - 1 : whole
      const { length, inputs } = prefill[index]!, before = cached + at
      const piece = Int32Array.from({ length }, (_, i) => (i < left ? this.#token(tokens[at + i]!) : 0))
      await this.device.run(this.#arena, [{
        program: this.#programs.prefill[index]!,
        writes: [layout.offset(inputs.tokens), piece, layout.offset(inputs.starts), new Int32Array(length).fill(-before), layout.offset(inputs.slots), Int32Array.of(slot), layout.offset(inputs.cached), Int32Array.of(before)],
      }])
      at += length
    }
  }

  /** One more token of each row's text: gives the token drawn after it, -1 where the logits are not finite. At most one row a slot. `logits` takes [rows, vocabulary] f32. */
  async decode(rows: readonly DecodeRow[], logits?: Float32Array): Promise<Int32Array> {
    return (await this.#decode(rows, 1, (row) => rows[row]!.uniform, logits))[0]!
  }

  /**
   * So many steps at once, each with the tokens that the one before drew: gives the tokens that each drew. `uniform(row, step)` stands for the rows' own.
   * After a -1 a row's tokens mean nothing.
   */
  async decodeSteps(rows: readonly DecodeRow[], steps: number, uniform: (row: number, step: number) => number): Promise<Int32Array[]> {
    return this.#decode(rows, steps, uniform)
  }

  async #decode(rows: readonly DecodeRow[], steps: number, uniform: (row: number, step: number) => number, logits?: Float32Array): Promise<Int32Array[]> {
    const { layout, decode } = this.#plan
    const index = decode.findLastIndex((program) => program.rows >= rows.length), plan = decode[index]
    if (!plan || rows.length === 0 || new Set(rows.map((row) => row.slot)).size !== rows.length) throw new NichelmError('USAGE', `a step takes from 1 to ${this.options.slots} rows, each of another slot; got ${rows.length}`)
    for (const row of rows) this.#check(row.slot, row.cached, steps)
    const { inputs } = plan, column = (of: (row: DecodeRow) => number, otherwise: number): Int32Array => Int32Array.from({ length: plan.rows }, (_, i) => (i < rows.length ? of(rows[i]!) : otherwise))
    const all: Int32Array[] = [], tokens = layout.offset(inputs.tokens), program = this.#programs.decode[index]!
    const first: Copies = [tokens, column((row) => this.#token(row.token), 0), layout.offset(inputs.slots), column((row) => row.slot, -1)]
    const commands: Command[] = Array.from({ length: steps }, (_, step) => {
      const ids = new Int32Array(rows.length)
      all.push(ids)
      const writes: Copies = [
        layout.offset(inputs.starts), column((row) => -row.cached - step, 0), layout.offset(inputs.cached), column((row) => row.cached + step, 0),
        layout.offset(plan.uniform), Float32Array.from({ length: plan.rows }, (__, i) => (i < rows.length ? uniform(i, step) : 0)),
      ]
      return { program, writes: step === 0 ? [...first, ...writes] : writes, reads: [tokens, ids] }
    })
    await this.device.run(this.#arena, commands, logits ? [layout.offset(plan.logits), logits] : [])
    return all
  }

  #check(slot: number, cached: number, count: number): void {
    const { slots, capacity } = this.options
    if (!(slot >= 0 && slot < slots)) throw new NichelmError('USAGE', `there is no slot ${slot}: they are 0 to ${slots - 1}`)
    if (!(cached >= 0 && cached + count <= capacity)) throw new NichelmError('USAGE', `a slot has room for ${capacity} tokens; asked for were ${count} behind ${cached}`)
  }

  /** Throws INPUT if a token is outside the vocabulary: kernels do not look. */
  #token(token: number): number {
    const { vocabulary } = this.options.config
    if (!(token >= 0 && token < vocabulary)) throw new NichelmError('INPUT', `token ${token} is outside the vocabulary of ${vocabulary}`, { fix: 'Use the tokenizer that the model was trained with.' })
    return token
  }

  /** Where the time of decoding this many rows goes, on the inputs of the last call. */
  profile(rows: number): Promise<OpTiming[]> { return this.device.profile(this.#programs.decode[this.#plan.decode.findIndex((program) => program.rows === rows)]!) }

  /** The text of the program that decodes this many rows, for reading. */
  text(rows: number): string { return this.#plan.decode.find((program) => program.rows === rows)?.program.text(this.#plan.layout) ?? '' }

  dispose(): void {
    for (const program of [...this.#programs.prefill, ...this.#programs.decode]) program.dispose()
    this.#arena.dispose()
  }
  [Symbol.dispose](): void { this.dispose() }
}

function arenaFor(memory: InferenceMemory, device: Device): Arena {
  try {
    return new Arena(memory.total, device)
  } catch (error) {
    if (!(error instanceof NichelmError) || error.code !== 'RESOURCE') throw error
    const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`
    throw new NichelmError('RESOURCE', `${error.message} (parameters ${mib(memory.parameters)}, keys and values ${mib(memory.cache)}, the rest ${mib(memory.inputs + memory.activations)})`, {
      fix: 'Fewer texts at once or fewer tokens need less for keys and values; bf16 needs half of f32.', cause: error,
    })
  }
}
