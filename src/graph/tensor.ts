import { NichelmError } from '../base/errors.js'
import type { Node } from './op.js'

export type DType = 'f32' | 'bf16' | 'i32'
export const BYTES: Record<DType, number> = { f32: 4, bf16: 2, i32: 4 }

/** What a tensor is like: element type and shape (row-major, last axis contiguous, at most 4 axes). */
export interface TensorSpec { dtype: DType; shape: readonly number[] }

/**
 * A symbolic tensor: what a program will compute or read, before it has an address.
 *
 * Either a value (made by a node, lives in the program's temporary memory) or persistent (it has a name and a place of its own
 * that outlasts the program: inputs, parameters, gradients, results), or a view of a part of a persistent one.
 */
export class Tensor implements TensorSpec {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** The node that makes it; absent for persistent tensors. */
  producer: Node | undefined
  /** Set for persistent tensors. */
  readonly name: string | undefined
  /** Set for views: `offset` elements into a persistent tensor of the same type. */
  readonly view: { of: Tensor; offset: number } | undefined
  /** Where gradients with respect to it are added up, for trainable parameters. f32, of the same shape. */
  gradient: Tensor | undefined
  /** Whether a gradient has to reach it: it is a trainable parameter or depends on one. */
  requiresGradient = false

  constructor(spec: TensorSpec, options: { name?: string; producer?: Node; view?: { of: Tensor; offset: number } } = {}) {
    if (spec.shape.length > 4 || spec.shape.some((n) => !Number.isSafeInteger(n) || n < 0))
      throw new NichelmError('INTERNAL', `a tensor cannot have the shape [${spec.shape.join(', ')}]`)
    this.dtype = spec.dtype
    this.shape = spec.shape
    this.name = options.name
    this.producer = options.producer
    this.view = options.view
  }

  get width(): number { return this.shape.at(-1) ?? 1 }
  get size(): number { return this.shape.reduce((product, n) => product * n, 1) }
  get rows(): number { return this.width ? this.size / this.width : 0 }
  get bytes(): number { return this.size * BYTES[this.dtype] }
  get persistent(): boolean { return this.name !== undefined || this.view !== undefined }
  toString(): string { return `${this.name ?? this.producer?.op.name ?? 'view'} ${this.dtype} [${this.shape.join(', ')}]` }
}

/** A tensor with a name and a place of its own, which outlasts the programs that use it. */
export const persistent = (name: string, dtype: DType, shape: readonly number[]): Tensor => new Tensor({ dtype, shape }, { name })

/** A part of a persistent tensor, `offset` elements in, under a shape of its own. */
export const viewOf = (of: Tensor, offset: number, shape: readonly number[]): Tensor => new Tensor({ dtype: of.dtype, shape }, { view: { of, offset } })

export const like = (tensor: TensorSpec): TensorSpec => ({ dtype: tensor.dtype, shape: tensor.shape })
export const spec = (dtype: DType, ...shape: number[]): TensorSpec => ({ dtype, shape })
