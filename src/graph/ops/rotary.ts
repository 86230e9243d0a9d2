import { defineOp, fits } from '../op.js'
import { like, type Tensor } from '../tensor.js'

const call = defineOp('rotary', {
  fields: { x: 'in', starts: 'in', y: 'out', heads: 'int', kv_heads: 'int', theta: 'float', inverse: 'bool' },
  outputs: ({ x, starts }) => {
    fits(starts!.size === x!.rows, 'rotary', `${starts} does not fit ${x}`)
    return { y: like(x!) }
  },
  gradient: ({ operands: { x, starts }, attributes }, { y: dy }, sink) => {
    if (sink.needs(x)) sink.add(x, call({ x: dy!, starts }, { ...attributes, inverse: !attributes.inverse }).y!)
  },
})

/** Rotary position embedding (arXiv 2104.09864) of the query and key heads of qkv [rows, length, (heads + 2 kvHeads) · headWidth], by position in the document. */
export const rotary = (qkv: Tensor, starts: Tensor, heads: number, kvHeads: number, theta: number): Tensor =>
  call({ x: qkv, starts }, { heads, kv_heads: kvHeads, theta, inverse: false }).y!
