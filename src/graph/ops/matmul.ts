import { defineOp, fits, type Node } from '../op.js'
import type { Tensor } from '../tensor.js'
import { columnSum } from './columnSum.js'

const inner = (t: Tensor, transposed: unknown): number => (transposed ? t.rows : t.width)
const outer = (t: Tensor, transposed: unknown): number => (transposed ? t.width : t.rows)

const flops = ({ operands: { a, b }, attributes }: Node): number =>
  2 * outer(a!, attributes.transpose_a) * inner(a!, attributes.transpose_a) * (attributes.transpose_b ? b!.rows : b!.width)

const call = defineOp('matmul', {
  fields: { a: 'in', b: 'in', bias: 'in?', gelu_of: 'in?', residual: 'in?', c: 'out', pre: 'out?', transpose_a: 'bool', transpose_b: 'bool', gelu: 'bool' },
  outputs: ({ a, b, bias }, { transpose_a, transpose_b, f32 }) => {
    const columns = transpose_b ? b!.rows : b!.width
    fits(inner(a!, transpose_a) === (transpose_b ? b!.width : b!.rows), 'matmul', `${a} and ${b} do not share an inner size`)
    fits(a!.dtype === b!.dtype, 'matmul', `${a} and ${b} are of different types`)
    fits(!bias || bias.size === columns, 'matmul', `the bias ${bias} does not fit ${b}`)
    const leading = transpose_a ? [outer(a!, true)] : a!.shape.slice(0, -1)
    return { c: { dtype: f32 ? 'f32' : a!.dtype, shape: [...leading, columns] } }
  },
  flops,
  gradient: ({ operands: { a, b, bias }, attributes }, { c: dc }, sink) => {
    const transposed = Boolean(attributes.transpose_b)
    if (bias?.gradient) columnSum(dc!, bias.gradient)
    if (b!.gradient) transposed ? matmulAccumulate(dc!, a!, b!.gradient, { transposeA: true }) : matmulAccumulate(a!, dc!, b!.gradient, { transposeA: true })
    if (sink.needs(a)) sink.add(a, matmul(dc!, b!, { transposeB: !transposed }))
  },
})

/**
 * Matrix product a · b (+ bias). a [..., k], b [k, n] (or [n, k] with `transposeB`), both f32 or both bf16; bias [n] f32.
 * The result [..., n] has their type, or f32 with `f32`; it goes to the persistent tensor `into` where there is one. Differentiable in a, and in b and bias where they are parameters.
 */
export function matmul(a: Tensor, b: Tensor, options: { bias?: Tensor | undefined; transposeB?: boolean; f32?: boolean; into?: Tensor } = {}): Tensor {
  return call({ a, b, bias: options.bias, c: options.into }, { transpose_a: false, transpose_b: options.transposeB ?? false, gelu: false, ...(options.f32 ? { f32: true } : {}) }).c!
}

const accumulate = defineOp('matmul_accumulate', {
  fields: { a: 'in', b: 'in', c: 'accumulate', transpose_a: 'bool', transpose_b: 'bool' },
  flops,
})

/** Adds a · b to the f32 tensor `into` [m, n]. */
export function matmulAccumulate(a: Tensor, b: Tensor, into: Tensor, options: { transposeA?: boolean; transposeB?: boolean } = {}): void {
  accumulate({ a, b, c: into }, { transpose_a: options.transposeA ?? false, transpose_b: options.transposeB ?? false })
}
