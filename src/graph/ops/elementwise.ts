import { defineOp, fits } from '../op.js'
import { like, type DType, type Tensor } from '../tensor.js'

const addCall = defineOp('add', {
  fields: { a: 'in', b: 'in', y: 'out' },
  outputs: ({ a, b }) => {
    fits(a!.dtype === b!.dtype && a!.size === b!.size, 'add', `${a} and ${b} are not alike`)
    return { y: like(a!) }
  },
  gradient: ({ operands: { a, b } }, { y: dy }, sink) => {
    for (const operand of [a, b]) if (sink.needs(operand)) sink.add(operand, dy!)
  },
})
/** a + b, alike in type and shape. */
export const add = (a: Tensor, b: Tensor): Tensor => addCall({ a, b }).y!

const scaleCall = defineOp('scale', {
  fields: { x: 'in', y: 'out', factor: 'float' },
  outputs: ({ x }) => ({ y: like(x!) }),
  gradient: ({ operands: { x }, attributes }, { y: dy }, sink) => {
    if (sink.needs(x)) sink.add(x, scale(dy!, Number(attributes.factor)))
  },
})
/** factor · x. */
export const scale = (x: Tensor, factor: number): Tensor => scaleCall({ x }, { factor }).y!

const geluCall = defineOp('gelu', {
  fields: { x: 'in', y: 'out' },
  outputs: ({ x }) => ({ y: like(x!) }),
  gradient: ({ operands: { x } }, { y: dy }, sink) => {
    if (sink.needs(x)) sink.add(x, geluGradient({ dy, x }).dx!)
  },
})
const geluGradient = defineOp('gelu_gradient', { fields: { dy: 'in', x: 'in', dx: 'out' }, outputs: ({ x }) => ({ dx: like(x!) }) })
/** GELU in its tanh form (arXiv 1606.08415). */
export const gelu = (x: Tensor): Tensor => geluCall({ x }).y!

const swigluCall = defineOp('swiglu', {
  fields: { x: 'in', y: 'out' },
  outputs: ({ x }) => {
    fits(x!.width % 2 === 0, 'swiglu', `${x} does not hold a gate and a value side by side`)
    return { y: { dtype: x!.dtype, shape: [...x!.shape.slice(0, -1), x!.width / 2] } }
  },
  gradient: ({ operands: { x } }, { y: dy }, sink) => {
    if (sink.needs(x)) sink.add(x, swigluGradient({ dy, x }).dx!)
  },
})
const swigluGradient = defineOp('swiglu_gradient', { fields: { dy: 'in', x: 'in', dx: 'out' }, outputs: ({ x }) => ({ dx: like(x!) }) })
/** silu(gate) · up of x [..., 2 hidden] = [gate, up] (arXiv 2002.05202). Returns [..., hidden]. */
export const swiglu = (x: Tensor): Tensor => swigluCall({ x }).y!

const castCall = defineOp('cast', { fields: { x: 'in', y: 'out' }, outputs: ({ x }, { to_f32 }) => ({ y: { dtype: to_f32 ? 'f32' : 'bf16', shape: x!.shape } }) })
/** x in another type, rounded to nearest even. `into` may be a persistent tensor to fill. */
export const cast = (x: Tensor, to: Exclude<DType, 'i32'>, into?: Tensor): Tensor => castCall({ x, y: into }, { to_f32: to === 'f32' }).y!

const fillCall = defineOp('fill', { fields: { y: 'out', value: 'float' }, outputs: ({ y }) => ({ y: like(y!) }) })
/** Fills a persistent tensor with one value. */
export const fill = (into: Tensor, value: number): void => void fillCall({ y: into }, { value })
