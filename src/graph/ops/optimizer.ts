import { defineOp } from '../op.js'
import { spec, type Tensor } from '../tensor.js'

const normCall = defineOp('global_norm', {
  fields: { gradient: 'in', squares: 'in?', norm: 'out', clip: 'out', limit: 'float' },
  outputs: () => ({ norm: spec('f32', 1), clip: spec('f32', 1) }),
})
/**
 * Norm over a run of gradients [n] f32 and the factor that clips it to `limit` (0: none). norm may be a persistent tensor to fill.
 * squares [1] f32 is added under the root: the sum of squares of gradients that lie elsewhere, as basisNorm finds it.
 */
export function globalNorm(gradient: Tensor, limit: number, norm?: Tensor, squares?: Tensor): { norm: Tensor; clip: Tensor } {
  const outputs = normCall({ gradient, norm, squares }, { limit })
  return { norm: outputs.norm!, clip: outputs.clip! }
}

const adamwCall = defineOp('adamw', {
  fields: {
    gradient: 'in', clip: 'in', schedule: 'in', p: 'inout', m: 'inout', v: 'inout', copy: 'out?',
    beta1: 'float', beta2: 'float', epsilon: 'float', weight_decay: 'float',
  },
})
export interface AdamwSettings { beta1: number; beta2: number; epsilon: number; weightDecay: number }
/** One AdamW update of a run of parameters (arXiv 1711.05101). All [n] f32 but copy (bf16); schedule [3] f32: rate, 1 - beta1^t, 1 - beta2^t. */
export function adamw(run: { gradient: Tensor; p: Tensor; m: Tensor; v: Tensor; copy?: Tensor | undefined }, clip: Tensor, schedule: Tensor, settings: AdamwSettings): void {
  adamwCall({ ...run, clip, schedule }, { beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon, weight_decay: settings.weightDecay })
}
