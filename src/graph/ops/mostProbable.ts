import { defineOp } from '../op.js'
import { spec, type Tensor } from '../tensor.js'

const call = defineOp('most_probable', {
  fields: { logits: 'in', ids: 'out', probabilities: 'out', rest: 'out', lost: 'out', temperature: 'float' },
  outputs: ({ logits }, { k }) => ({ ids: spec('i32', logits!.rows, Number(k)), probabilities: spec('f32', logits!.rows, Number(k)), rest: spec('f32', logits!.rows), lost: spec('f32', logits!.rows) }),
})

/** Persistent tensors that take a distribution's most probable tokens: ids [tokens, k] i32, probabilities [tokens, k], rest and lost [tokens], f32. */
export interface MostProbableTensors { ids: Tensor; probabilities: Tensor; rest: Tensor; lost: Tensor }

/**
 * The k most probable tokens of softmax(logits / temperature), descending, and the others' sum; `lost` is the KL divergence (nats) from the whole
 * distribution to one with that sum spread evenly over the others. logits [..., vocabulary] f32; k is the width of `into.ids`.
 */
export function mostProbable(logits: Tensor, temperature: number, into: MostProbableTensors): void {
  call({ logits, ...into }, { k: into.ids.width, temperature })
}
