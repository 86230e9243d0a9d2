import { defineOp, fits, type Node } from '../op.js'
import { like, spec, type Tensor } from '../tensor.js'

/** Products q·k and p·v over the visible half of the rows. */
const flopsOf = ({ operands: { qkv }, attributes: { heads, kv_heads } }: Node): number => {
  const [rows, length, width] = qkv!.shape as [number, number, number]
  return 2 * rows * length * length * Number(heads) * (width / (Number(heads) + 2 * Number(kv_heads)))
}

const call = defineOp('attention', {
  fields: { qkv: 'in', starts: 'in', y: 'out', lse: 'out', heads: 'int', kv_heads: 'int' },
  outputs: ({ qkv, starts }, { heads, kv_heads }) => {
    const [rows, length, width] = qkv!.shape
    const headWidth = width! / (Number(heads) + 2 * Number(kv_heads))
    fits(qkv!.shape.length === 3 && Number.isInteger(headWidth), 'attention', `${qkv} does not hold ${heads} query heads and ${kv_heads} key and value heads`)
    fits(starts!.size === rows! * length!, 'attention', `${starts} does not fit ${qkv}`)
    return { y: { dtype: qkv!.dtype, shape: [rows!, length!, Number(heads) * headWidth] }, lse: spec('f32', rows!, Number(heads), length!) }
  },
  flops: flopsOf,
  gradient: ({ operands: { qkv, starts }, outputs: { y, lse }, attributes }, { y: dy }, sink) => {
    if (sink.needs(qkv)) sink.add(qkv, gradient({ dy, qkv, starts, y, lse }, attributes).dqkv!)
  },
})

const gradient = defineOp('attention_gradient', {
  fields: { dy: 'in', qkv: 'in', starts: 'in', y: 'in', lse: 'in', dqkv: 'out', heads: 'int', kv_heads: 'int' },
  outputs: ({ qkv }) => ({ dqkv: like(qkv!) }),
  flops: (node) => 2.5 * flopsOf(node),
})

/**
 * Causal self-attention over packed rows. qkv [rows, length, (heads + 2 kvHeads) · headWidth]; starts [rows, length] i32: the index of the
 * first token of each token's document. Returns [rows, length, heads · headWidth].
 */
export const attention = (qkv: Tensor, starts: Tensor, heads: number, kvHeads = heads): Tensor => call({ qkv, starts }, { heads, kv_heads: kvHeads }).y!
