import { defineOp, fits, type Node } from '../op.js'
import { spec, type Tensor } from '../tensor.js'
import type { AdamwSettings } from './optimizer.js'

/** The linear map from experts to matrices: experts [k, m], mix [m, h], basis [h, inputs, outputs], all f32, and the expert of each group of rows, ids [groups] i32. */
export interface Projection { experts: Tensor; mix: Tensor; basis: Tensor; ids: Tensor }

const sizes = (groups: Tensor, basis: Tensor): { groups: number; h: number; inputs: number; outputs: number } => {
  const [h, inputs, outputs] = basis.shape as [number, number, number]
  return { groups: groups.size, h, inputs, outputs }
}

function checkProjection(op: string, { experts, mix, basis, ids }: Projection): void {
  for (const tensor of [experts, mix, basis]) fits(tensor.dtype === 'f32', op, `${tensor} is not f32`)
  fits(experts.shape.length === 2 && mix.shape.length === 2 && basis.shape.length === 3, op, `${experts}, ${mix} and ${basis} must have 2, 2 and 3 axes`)
  fits(experts.width === mix.rows, op, `${experts} and ${mix} do not share the size of an expert's vector`)
  fits(mix.width === basis.shape[0], op, `${mix} and ${basis} do not share the number of basis matrices`)
  fits(ids.dtype === 'i32', op, `${ids} is not i32`)
}

const stack = (tensor: Tensor, groups: number, inputs: number, outputs: number): boolean =>
  tensor.shape.length === 3 && tensor.shape[0] === groups && tensor.shape[1] === inputs && tensor.shape[2] === outputs

/** Every element of the basis, once with each group. */
const perElement = (ids: Tensor, basis: Tensor): number => 2 * ids.size * basis.size

const projectCall = defineOp('project', {
  fields: { experts: 'in', mix: 'in', basis: 'in', ids: 'in', coefficients: 'out', weights: 'out', scale: 'float' },
  outputs: (given) => {
    checkProjection('project', given as unknown as Projection)
    const { groups, h, inputs, outputs } = sizes(given.ids!, given.basis!)
    fits(given.weights!.dtype !== 'i32' && stack(given.weights!, groups, inputs, outputs), 'project', `${given.weights} is not a matrix of ${given.basis} for each of ${given.ids}`)
    return { coefficients: spec('f32', groups, h), weights: spec(given.weights!.dtype, groups, inputs, outputs) }
  },
  flops: ({ operands: { ids, mix, basis } }) => perElement(ids!, basis!) + 2 * ids!.size * mix!.size,
})

/**
 * The matrices of each group's expert (arXiv 2402.01093): c[g] = scale · experts[ids[g]] · mix, W[g] = sum over r of c[g, r] basis[r].
 * They go to persistent tensors: coefficients [groups, h] f32, weights [groups, inputs, outputs] f32 or bf16. Not differentiable by itself: what is computed with
 * the weights adds to `weights.gradient`, and projectGradient, basisNorm and basisAdamw take that up once a step.
 * An id that is not in [0, k) makes its group NaN.
 */
export function project({ experts, mix, basis, ids }: Projection, scale: number, { coefficients, weights }: { coefficients: Tensor; weights: Tensor }): void {
  projectCall({ experts, mix, basis, ids, coefficients, weights }, { scale })
}

const projectGradientCall = defineOp('project_gradient', {
  fields: { dweights: 'in', experts: 'in', mix: 'in', basis: 'in', ids: 'in', dexperts: 'accumulate', dmix: 'accumulate', scale: 'float' },
  outputs: (given) => {
    checkProjection('project_gradient', given as unknown as Projection)
    const { groups, inputs, outputs } = sizes(given.ids!, given.basis!)
    fits(given.dweights!.dtype === 'f32' && stack(given.dweights!, groups, inputs, outputs), 'project_gradient', `${given.dweights} is not a matrix of ${given.basis} for each of ${given.ids}`)
    fits(given.dexperts!.size === given.experts!.size && given.dmix!.size === given.mix!.size, 'project_gradient', `${given.dexperts} and ${given.dmix} do not fit ${given.experts} and ${given.mix}`)
    return {}
  },
  flops: ({ operands: { ids, mix, basis } }) => perElement(ids!, basis!) + 4 * ids!.size * mix!.size,
})

/** Adds to dexperts [k, m] and dmix [m, h], both f32, the gradient that reached the projected weights, dweights [groups, inputs, outputs] f32. */
export function projectGradient({ dweights, experts, mix, basis, ids }: Projection & { dweights: Tensor }, scale: number, { dexperts, dmix }: { dexperts: Tensor; dmix: Tensor }): void {
  projectGradientCall({ dweights, experts, mix, basis, ids, dexperts, dmix }, { scale })
}

function checkFactors(op: string, dweights: Tensor, coefficients: Tensor): void {
  fits(dweights.dtype === 'f32' && dweights.shape.length === 3, op, `${dweights} is not an f32 matrix for each group`)
  fits(coefficients.dtype === 'f32' && coefficients.shape.length === 2 && coefficients.shape[0] === dweights.shape[0], op, `${coefficients} does not hold a row for each of ${dweights}`)
}

const basisNormCall = defineOp('basis_norm', {
  fields: { dweights: 'in', coefficients: 'in', squares: 'accumulate' },
  outputs: ({ dweights, coefficients, squares }) => {
    checkFactors('basis_norm', dweights!, coefficients!)
    fits(squares!.size === 1, 'basis_norm', `${squares} is not one number`)
    return {}
  },
  flops: ({ operands: { dweights, coefficients } }: Node) => (coefficients!.shape[0]! + 1) * dweights!.size,
})

/**
 * Adds to squares [1] f32 the square of the norm of the basis' gradient, dT[r] = sum over g of c[g, r] dW[g], which is never formed:
 * |dT|² = sum over g, g' of (c cᵀ)[g, g'] <dW[g], dW[g']>. dweights [groups, inputs, outputs], coefficients [groups, h] f32 (as `project` left them).
 */
export function basisNorm(dweights: Tensor, coefficients: Tensor, squares: Tensor): void {
  basisNormCall({ dweights, coefficients, squares })
}

const basisAdamwCall = defineOp('basis_adamw', {
  fields: {
    dweights: 'in', coefficients: 'in', clip: 'in', schedule: 'in', basis: 'inout', m: 'inout', v: 'inout',
    beta1: 'float', beta2: 'float', epsilon: 'float', weight_decay: 'float',
  },
  outputs: ({ dweights, coefficients, basis, m, v }) => {
    checkFactors('basis_adamw', dweights!, coefficients!)
    fits(stack(basis!, coefficients!.shape[1]!, dweights!.shape[1]!, dweights!.shape[2]!), 'basis_adamw', `${basis} does not fit ${dweights} and ${coefficients}`)
    fits(m!.size === basis!.size && v!.size === basis!.size, 'basis_adamw', `${m} and ${v} are not as large as ${basis}`)
    return {}
  },
  flops: ({ operands: { coefficients, basis } }: Node) => 2 * coefficients!.shape[0]! * basis!.size,
})

/** A basis [h, inputs, outputs] with its moments alike, and the gradients of its groups' weights, dweights [groups, inputs, outputs], all f32. */
export interface BasisRun { dweights: Tensor; basis: Tensor; m: Tensor; v: Tensor }

/**
 * One AdamW update (arXiv 1711.05101) of a basis: each element of its gradient is formed in a register from dweights and coefficients [groups, h]. clip [1] is globalNorm's; schedule [3] f32: rate, 1 - beta1^t, 1 - beta2^t.
 */
export function basisAdamw(
  { dweights, coefficients, basis, m, v }: BasisRun & { coefficients: Tensor }, clip: Tensor, schedule: Tensor, settings: AdamwSettings,
): void {
  basisAdamwCall({ dweights, coefficients, basis, m, v, clip, schedule }, { beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon, weight_decay: settings.weightDecay })
}

const basisStepCall = defineOp('basis_step', {
  fields: {
    dweights: 'in', clip: 'in', schedule: 'in', experts: 'in', mix: 'in', ids: 'in', coefficients: 'inout', basis: 'inout', m: 'inout', v: 'inout', weights: 'out',
    beta1: 'float', beta2: 'float', epsilon: 'float', weight_decay: 'float', scale: 'float',
  },
  outputs: (given) => {
    const { dweights, coefficients, basis, m, v, ids, weights } = given as Record<string, Tensor>
    checkProjection('basis_step', given as unknown as Projection)
    checkFactors('basis_step', dweights!, coefficients!)
    const { groups, h, inputs, outputs } = sizes(ids!, basis!)
    fits(stack(dweights!, groups, inputs, outputs) && coefficients!.shape[1] === h, 'basis_step', `${basis} and ${ids} do not fit ${dweights} and ${coefficients}`)
    fits(m!.size === basis!.size && v!.size === basis!.size, 'basis_step', `${m} and ${v} are not as large as ${basis}`)
    fits(weights!.dtype !== 'i32' && stack(weights!, groups, inputs, outputs), 'basis_step', `${weights} is not a matrix of ${basis} for each of ${ids}`)
    return { weights: spec(weights!.dtype, groups, inputs, outputs) }
  },
  flops: ({ operands: { ids, basis, mix } }) => 2 * perElement(ids!, basis!) + 2 * ids!.size * mix!.size,
})

/**
 * `basisAdamw`, then `project` with the experts of the step to come, in one pass over the basis and with the same bits. experts and mix are as they are after
 * their own update; coefficients [groups, h] and weights become those of the step to come.
 */
export function basisStep(
  { dweights, basis, m, v, experts, mix, ids }: BasisRun & Projection, scale: number, { coefficients, weights }: { coefficients: Tensor; weights: Tensor }, clip: Tensor, schedule: Tensor, settings: AdamwSettings,
): void {
  basisStepCall(
    { dweights, clip, schedule, experts, mix, ids, coefficients, basis, m, v, weights },
    { beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon, weight_decay: settings.weightDecay, scale },
  )
}
