import { defineOp } from '../op.js'
import type { Tensor } from '../tensor.js'

const call = defineOp('column_sum', { fields: { x: 'in', sum: 'accumulate' } })

/** Adds the sum over rows of x [..., width] to the f32 tensor `into` [width]: the gradient of a bias. */
export const columnSum = (x: Tensor, into: Tensor): void => void call({ x, sum: into })
