import { NichelmError } from '../base/errors.js'
import { aligned } from '../graph/plan.js'
import { persistent, Tensor, viewOf } from '../graph/tensor.js'
import { qkvWidth, type ModelConfig } from './config.js'

/** A parameter before it has memory. Matrices are stored inputs-by-outputs; weight decay is for matrices and tables only. */
export interface ParameterSpec {
  name: string
  shape: readonly number[]
  start: Start
}

/**
 * How a parameter starts: normal with a standard deviation; one constant; rows of length `norm` that share a direction (each the sum of one common
 * normal vector and `spread` times a normal vector of its own, scaled to that length); or orthogonal rows (columns, where there are fewer) such that a
 * vector of length sqrt(rows) becomes one of length sqrt(columns).
 */
export type Start = { normal: number } | { constant: number } | { common: { norm: number; spread: number } } | { orthogonal: true }

export const isMatrix = (spec: ParameterSpec): boolean => spec.shape.length > 1

const STANDARD_DEVIATION = 0.02

/** Every parameter of a transformer in the order of the forward pass, with GPT-2's start: N(0, 0.02²), products into the residual stream / sqrt(2 layers). */
export function parameterSpecs(config: ModelConfig): ParameterSpec[] {
  const { width, mlp, layers } = config
  const specs: ParameterSpec[] = []
  const matrix = (name: string, rows: number, columns: number, scale = 1): void => void specs.push({ name, shape: [rows, columns], start: { normal: STANDARD_DEVIATION * scale } })
  const vector = (name: string, size: number, constant: number): void => void specs.push({ name, shape: [size], start: { constant } })
  const norm = (name: string): void => {
    vector(`${name}.gain`, width, 1)
    if (config.norm === 'layer') vector(`${name}.bias`, width, 0)
  }
  const linear = (name: string, inputs: number, outputs: number, scale = 1): void => {
    matrix(`${name}.weight`, inputs, outputs, scale)
    if (config.biases) vector(`${name}.bias`, outputs, 0)
  }
  const intoResidual = 1 / Math.sqrt(2 * layers)
  matrix('wte.weight', config.vocabulary, width)
  if (config.positions === 'learned') matrix('wpe.weight', config.context, width)
  for (let layer = 0; layer < layers; layer++) {
    norm(`h.${layer}.norm_1`)
    linear(`h.${layer}.attention.qkv`, width, qkvWidth(config))
    linear(`h.${layer}.attention.projection`, width, width, intoResidual)
    norm(`h.${layer}.norm_2`)
    linear(`h.${layer}.mlp.up`, width, config.activation === 'swiglu' ? 2 * mlp : mlp)
    linear(`h.${layer}.mlp.down`, mlp, width, intoResidual)
  }
  norm('norm_f')
  if (!config.tied) matrix('head.weight', config.vocabulary, width)
  return specs
}

export const sizeOf = (spec: ParameterSpec): number => spec.shape.reduce((product, n) => product * n, 1)

/** f32 and bf16 elements of every parameter both begin at a multiple of the alignment. */
const STEP = aligned(1) / 2

export type Precision = 'f32' | 'bf16'

/** Which runs there are besides the values. */
export interface Runs {
  /** A copy of the values in bf16, which products read. */
  copy: boolean
  gradient: boolean
  /** AdamW's. */
  moments: boolean
}

/**
 * Parameters in flat runs, one behind the other: the values in f32, for bf16 a rounded copy that products read, and for training the
 * gradients and AdamW's moments. Matrices come first, vectors behind them, so that weight decay is two calls. Gaps between parameters stay zero.
 */
export class Parameters {
  /** Elements of the runs, gaps included. */
  readonly size: number
  /** Elements of the part that holds the matrices. */
  readonly matrices: number
  readonly values: Tensor
  readonly copy: Tensor | undefined
  readonly gradient: Tensor | undefined
  readonly moments: { m: Tensor; v: Tensor } | undefined
  readonly #offsets = new Map<string, number>()
  readonly #tensors = new Map<string, Tensor>()

  constructor(readonly specs: readonly ParameterSpec[], runs: Runs) {
    let size = 0, matrices = 0
    for (const spec of [...specs.filter(isMatrix), ...specs.filter((s) => !isMatrix(s))]) {
      this.#offsets.set(spec.name, size)
      size += Math.ceil(sizeOf(spec) / STEP) * STEP
      if (isMatrix(spec)) matrices = size
    }
    this.size = size
    this.matrices = matrices
    this.values = persistent('parameters', 'f32', [size])
    this.copy = runs.copy ? persistent('parameters in bf16', 'bf16', [size]) : undefined
    this.gradient = runs.gradient ? persistent('gradients', 'f32', [size]) : undefined
    this.moments = runs.moments ? { m: persistent('first moments', 'f32', [size]), v: persistent('second moments', 'f32', [size]) } : undefined
  }

  has(name: string): boolean { return this.#offsets.has(name) }

  /** Elements from the start of the runs to a parameter. */
  offset(name: string): number {
    const offset = this.#offsets.get(name)
    if (offset === undefined) throw new NichelmError('INTERNAL', `the model has no parameter '${name}'`)
    return offset
  }

  /** The parameter as the model's function uses it: matrices in the precision of the products, vectors in f32. */
  get(name: string): Tensor {
    const known = this.#tensors.get(name)
    if (known) return known
    const spec = this.specs.find((s) => s.name === name)!
    const tensor = this.viewOf(isMatrix(spec) ? (this.copy ?? this.values) : this.values, name)
    if (this.gradient) {
      tensor.gradient = this.viewOf(this.gradient, name)
      tensor.requiresGradient = true
    }
    this.#tensors.set(name, tensor)
    return tensor
  }

  /** The parameter if the model has it. */
  find(name: string): Tensor | undefined { return this.has(name) ? this.get(name) : undefined }

  /** The parameter's part of one of the runs. */
  viewOf(run: Tensor, name: string): Tensor {
    return viewOf(run, this.offset(name), this.specs.find((s) => s.name === name)!.shape)
  }

  /** The part of a run that holds matrices, or the one that holds vectors. */
  part(run: Tensor, which: 'matrices' | 'vectors'): Tensor {
    return which === 'matrices' ? viewOf(run, 0, [this.matrices]) : viewOf(run, this.matrices, [this.size - this.matrices])
  }
}
