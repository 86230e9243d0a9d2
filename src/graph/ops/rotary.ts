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

const tableCall = defineOp('rotary_table', {
  fields: { x: 'in', starts: 'in', cosine: 'in', sine: 'in', y: 'out', heads: 'int', kv_heads: 'int' },
  outputs: ({ x, starts, cosine, sine }, { heads, kv_heads }) => {
    fits(starts!.size === x!.rows, 'rotary_table', `${starts} does not fit ${x}`)
    fits(cosine!.size === sine!.size && 2 * cosine!.width * (Number(heads) + 2 * Number(kv_heads)) === x!.width, 'rotary_table', `${cosine} and ${sine} do not fit ${x}`)
    return { y: like(x!) }
  },
})

/** The cosines and sines of all positions' angles, [positions, headWidth / 2] f32. */
export interface RotaryAngles { cosine: Tensor; sine: Tensor }

/** Rotary position embedding of rows that continue a text: where n tokens came before the row, its starts are -n. Not differentiable. */
export const rotaryTable = (qkv: Tensor, starts: Tensor, angles: RotaryAngles, heads: number, kvHeads: number): Tensor =>
  tableCall({ x: qkv, starts, ...angles }, { heads, kv_heads: kvHeads }).y!
