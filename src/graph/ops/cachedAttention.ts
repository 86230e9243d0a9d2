import { defineOp, fits } from '../op.js'
import type { Tensor } from '../tensor.js'

/** Sequences that texts are continued in: keys, values [slots, kvHeads, capacity, headWidth]; of each row its slot and how many tokens that holds, [rows] i32. */
export interface KeyValueCache { keys: Tensor; values: Tensor; slots: Tensor; cached: Tensor }

const call = defineOp('cached_attention', {
  fields: { qkv: 'in', slots: 'in', cached: 'in', keys: 'inout', values: 'inout', y: 'out', heads: 'int', kv_heads: 'int' },
  outputs: ({ qkv, slots, cached, keys, values }, { heads, kv_heads }) => {
    const [rows, length, width] = qkv!.shape, headWidth = keys!.width
    fits(qkv!.shape.length === 3 && width === (Number(heads) + 2 * Number(kv_heads)) * headWidth, 'cached_attention', `${qkv} does not hold ${heads} query heads and ${kv_heads} key and value heads as wide as ${keys}`)
    fits(keys!.dtype === qkv!.dtype && keys!.shape.length === 4 && keys!.shape[1] === kv_heads && keys!.shape.join() === values!.shape.join(), 'cached_attention', `${keys} and ${values} are no cache for ${qkv}`)
    fits(slots!.size === rows && cached!.size === rows, 'cached_attention', `${slots} and ${cached} do not fit ${qkv}`)
    return { y: { dtype: qkv!.dtype, shape: [rows!, length!, Number(heads) * headWidth] } }
  },
})

/**
 * Causal self-attention of new tokens, qkv [rows, length, (heads + 2 kvHeads) · headWidth], which are added to the sequence in their row's slot.
 * Rows of slot -1 are not computed. Returns [rows, length, heads · headWidth]. Not differentiable.
 */
export const cachedAttention = (qkv: Tensor, cache: KeyValueCache, heads: number, kvHeads = heads): Tensor =>
  call({ qkv, slots: cache.slots, cached: cache.cached, keys: cache.keys, values: cache.values }, { heads, kv_heads: kvHeads }).y!
