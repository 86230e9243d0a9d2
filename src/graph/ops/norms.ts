import { defineOp, fits } from '../op.js'
import { like, spec, type Tensor } from '../tensor.js'

const layer = defineOp('layer_norm', {
  fields: { x: 'in', gain: 'in', bias: 'in', y: 'out', mean: 'out', scale: 'out', epsilon: 'float' },
  outputs: ({ x, gain, bias }) => {
    fits(gain!.size === x!.width && bias!.size === x!.width, 'layer_norm', `${gain} and ${bias} do not fit ${x}`)
    return { y: like(x!), mean: spec('f32', x!.rows), scale: spec('f32', x!.rows) }
  },
  gradient: ({ operands: { x, gain, bias }, outputs: { mean, scale } }, { y: dy }, sink) => {
    const { dx } = layerGradient({ dy, x, gain, mean, scale, dgain: gain!.gradient, dbias: bias!.gradient })
    if (sink.needs(x)) sink.add(x, dx!)
  },
})

const layerGradient = defineOp('layer_norm_gradient', {
  fields: { dy: 'in', x: 'in', gain: 'in', mean: 'in', scale: 'in', residual: 'in?', dx: 'out', dgain: 'accumulate?', dbias: 'accumulate?' },
  outputs: ({ x }) => ({ dx: like(x!) }),
})

/** Layer norm over the last axis (arXiv 1607.06450). x [..., width]; gain, bias [width] f32. */
export const layerNorm = (x: Tensor, gain: Tensor, bias: Tensor, epsilon: number): Tensor => layer({ x, gain, bias }, { epsilon }).y!

const rms = defineOp('rms_norm', {
  fields: { x: 'in', gain: 'in', y: 'out', scale: 'out', epsilon: 'float' },
  outputs: ({ x, gain }) => {
    fits(gain!.size === x!.width, 'rms_norm', `${gain} does not fit ${x}`)
    return { y: like(x!), scale: spec('f32', x!.rows) }
  },
  gradient: ({ operands: { x, gain }, outputs: { scale } }, { y: dy }, sink) => {
    const { dx } = rmsGradient({ dy, x, gain, scale, dgain: gain!.gradient })
    if (sink.needs(x)) sink.add(x, dx!)
  },
})

const rmsGradient = defineOp('rms_norm_gradient', {
  fields: { dy: 'in', x: 'in', gain: 'in', scale: 'in', residual: 'in?', dx: 'out', dgain: 'accumulate?' },
  outputs: ({ x }) => ({ dx: like(x!) }),
})

/** Root-mean-square norm over the last axis (arXiv 1910.07467). x [..., width]; gain [width] f32. */
export const rmsNorm = (x: Tensor, gain: Tensor, epsilon: number): Tensor => rms({ x, gain }, { epsilon }).y!
