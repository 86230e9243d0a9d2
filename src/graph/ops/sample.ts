import { defineOp, fits } from '../op.js'
import { spec, type Tensor } from '../tensor.js'

const call = defineOp('sample', {
  fields: { logits: 'in', uniform: 'in', ids: 'out', temperature: 'float', top_k: 'int', top_p: 'float' },
  outputs: ({ logits, uniform }) => {
    fits(uniform!.size === logits!.rows, 'sample', `${uniform} does not fit ${logits}`)
    return { ids: spec('i32', logits!.rows) }
  },
})

/** How the next token is drawn: temperature 0 takes the most probable; topK 0 and topP 1 cut nothing off (arXiv 1904.09751). */
export interface SampleSettings { temperature: number; topK: number; topP: number }

/** Draws a token for each row of logits [..., vocabulary] f32 by a number of uniform [rows] f32, in [0, 1), into the persistent tensor `ids` [rows] i32; -1 where the logits are not finite. */
export function sample(logits: Tensor, uniform: Tensor, { temperature, topK, topP }: SampleSettings, ids: Tensor): void {
  call({ logits, uniform, ids }, { temperature, top_k: topK, top_p: topP })
}
