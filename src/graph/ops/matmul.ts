import { defineOp, fits } from '../op.js'
import { like, type Tensor } from '../tensor.js'
import { columnSum } from './columnSum.js'

const inner = (t: Tensor, transposed: unknown): number => (transposed ? t.rows : t.width)
const outer = (t: Tensor, transposed: unknown): number => (transposed ? t.width : t.rows)

/** A weight: its matrices have the last two axes; three axes are a stack. */
const matrix = (t: Tensor, transposed: unknown): { groups: number; inputs: number; outputs: number } => {
  const height = t.shape.at(-2) ?? 1
  return { groups: t.shape.length === 3 ? t.shape[0]! : 1, inputs: transposed ? t.width : height, outputs: transposed ? height : t.width }
}

const call = defineOp('matmul', {
  fields: { a: 'in', b: 'in', bias: 'in?', gelu_of: 'in?', residual: 'in?', c: 'out', pre: 'out?', transpose_a: 'bool', transpose_b: 'bool', gelu: 'bool' },
  outputs: ({ a, b, bias }, { transpose_a, transpose_b, f32 }) => {
    const { groups, inputs, outputs } = matrix(b!, transpose_b)
    fits(b!.shape.length <= 3, 'matmul', `${b} is neither a matrix nor a stack of matrices`)
    fits(inner(a!, transpose_a) === inputs, 'matmul', `${a} and ${b} do not share an inner size`)
    fits(groups > 0 && outer(a!, transpose_a) % groups === 0, 'matmul', `the rows of ${a} do not split into as many equal parts as ${b} has matrices`)
    fits(a!.dtype === b!.dtype, 'matmul', `${a} and ${b} are of different types`)
    fits(!bias || bias.size === outputs, 'matmul', `the bias ${bias} does not fit ${b}`)
    const leading = transpose_a ? [outer(a!, true)] : a!.shape.slice(0, -1)
    return { c: { dtype: f32 ? 'f32' : a!.dtype, shape: [...leading, outputs] } }
  },
  flops: ({ operands: { a, b }, attributes }) => 2 * outer(a!, attributes.transpose_a) * inner(a!, attributes.transpose_a) * matrix(b!, attributes.transpose_b).outputs,
  gradient: ({ operands: { a, b, bias }, attributes }, { c: dc }, sink) => {
    const transposed = Boolean(attributes.transpose_b)
    if (bias?.gradient) columnSum(dc!, bias.gradient)
    if (b!.gradient) transposed ? matmulAccumulate(dc!, a!, b!.gradient, { transposeA: true }) : matmulAccumulate(a!, dc!, b!.gradient, { transposeA: true })
    if (sink.needs(a)) sink.add(a, matmul(dc!, b!, { transposeB: !transposed }))
  },
})

// What fuse() makes of a product and the gated linear unit behind it, and of a product and the gradient of the unit before it.
defineOp('matmul_swiglu', {
  fields: { a: 'in', b: 'in', bias: 'in?', c: 'out', pre: 'out?', transpose_b: 'bool' },
  outputs: ({ a, b }, { transpose_b }) => ({ c: { dtype: a!.dtype, shape: [...a!.shape.slice(0, -1), matrix(b!, transpose_b).outputs / 2] } }),
  flops: ({ operands: { a, b }, attributes }) => 2 * a!.size * matrix(b!, attributes.transpose_b).outputs,
})
defineOp('matmul_swiglu_gradient', {
  fields: { a: 'in', b: 'in', x: 'in', dx: 'out', transpose_b: 'bool' },
  outputs: ({ x }) => ({ dx: like(x!) }),
  flops: ({ operands: { a, b }, attributes }) => 2 * a!.size * matrix(b!, attributes.transpose_b).outputs,
})

/**
 * Matrix product a · b (+ bias). a [..., k], b [k, n] (or [n, k] with `transposeB`), both f32 or both bf16; bias [n] f32.
 * b may be a stack of matrices [groups, k, n] (or [groups, n, k]): the rows of a are then split into `groups` equal consecutive parts, each with its own matrix.
 * The result [..., n] has their type, or f32 with `f32`; it goes to the persistent tensor `into` where there is one. Differentiable in a, and in b and bias where they are parameters.
 */
export function matmul(a: Tensor, b: Tensor, options: { bias?: Tensor | undefined; transposeB?: boolean; f32?: boolean; into?: Tensor } = {}): Tensor {
  return call({ a, b, bias: options.bias, c: options.into }, { transpose_a: false, transpose_b: options.transposeB ?? false, gelu: false, ...(options.f32 ? { f32: true } : {}) }).c!
}

const accumulate = defineOp('matmul_accumulate', {
  fields: { a: 'in', b: 'in', c: 'accumulate', transpose_a: 'bool', transpose_b: 'bool' },
  outputs: ({ a, b, c }, { transpose_a, transpose_b }) => {
    const stacked = Boolean(transpose_a) && c!.shape.length === 3
    const groups = stacked ? c!.shape[0]! : transpose_a ? 1 : matrix(b!, transpose_b).groups
    fits(groups > 0 && (stacked ? inner(a!, true) : outer(a!, transpose_a)) % groups === 0, 'matmul_accumulate', `the rows of ${a} do not split into ${groups} equal parts`)
    fits(!stacked || (!transpose_b && c!.shape[1] === a!.width && c!.shape[2] === b!.width), 'matmul_accumulate', `${c} does not hold products of ${a} and ${b}`)
    return {}
  },
  flops: ({ operands: { a, b }, attributes: { transpose_a, transpose_b } }) =>
    2 * outer(a!, transpose_a) * inner(a!, transpose_a) * (!transpose_b ? b!.width : transpose_a ? b!.rows : matrix(b!, true).outputs),
})

/**
 * Adds a · b to the f32 tensor `into` [m, n]. b may be a stack as for matmul; with `transposeA`, `into` may be one, [groups, m, n]: the rows of a and of b are
 * split into `groups` equal consecutive parts, and each pair of parts has its product in its own matrix, as the gradient of a stack of weights needs it.
 */
export function matmulAccumulate(a: Tensor, b: Tensor, into: Tensor, options: { transposeA?: boolean; transposeB?: boolean } = {}): void {
  accumulate({ a, b, c: into }, { transpose_a: options.transposeA ?? false, transpose_b: options.transposeB ?? false })
}
