import { basisAdamw, basisNorm, basisStep, fill, globalNorm, project, projectGradient } from '../graph/ops/index.js'
import { persistent, viewOf, type Tensor } from '../graph/tensor.js'
import type { ModelConfig } from './config.js'
import { plainLinear, updateStore, type Network, type Weights } from './network.js'
import { parameterSpecs, Parameters, type ParameterSpec, type Precision } from './parameters.js'
import { projectedMatrices, type ProjectedConfig } from './projectedConfig.js'

/** Name of the table of expert vectors [experts, expertSize]. */
export const EXPERTS = 'experts'

/**
 * The parameters of a projected network: those of the transformer without the projected matrices, the expert vectors and mixes; and the bases.
 *
 * Every projected matrix starts with the standard deviation of an ordinary one: expert vectors have length sqrt(expertSize) and mixes are orthogonal, so that
 * coefficients have length coefficientScale · sqrt(multiplier) exactly (where expertSize <= multiplier; else in the mean), and bases are wider by the inverse.
 */
export function projectedSpecs(config: ModelConfig, projected: ProjectedConfig): { shared: ParameterSpec[]; bases: ParameterSpec[] } {
  const { experts, expertSize, multiplier, coefficientScale, spread } = projected
  const matrices = projectedMatrices(projected), replaced = new Set(matrices.map((name) => `${name}.weight`))
  const all = parameterSpecs(config)
  return {
    shared: [
      ...all.filter(({ name }) => !replaced.has(name)),
      { name: EXPERTS, shape: [experts, expertSize], start: { common: { norm: Math.sqrt(expertSize), spread } } },
      ...matrices.map((name): ParameterSpec => ({ name: `${name}.mix`, shape: [expertSize, multiplier], start: { orthogonal: true } })),
    ],
    bases: matrices.map((name): ParameterSpec => {
      const { shape, start } = all.find((spec) => spec.name === `${name}.weight`)!
      return { name: `${name}.basis`, shape: [multiplier, ...shape], start: { normal: (start as { normal: number }).normal / (coefficientScale * Math.sqrt(multiplier)) } }
    }),
  }
}

/**
 * A projected network that computes `groups` experts at once, each on its own equal part of the rows.
 *
 * Their weights are made once a step from the bases, and collect their own gradients. The bases' gradients are never stored: the optimizer forms them
 * from these, element by element, and their norm comes from the groups' small products (docs/design.md).
 */
export function projectedNetwork(config: ModelConfig, projected: ProjectedConfig, groups: number, precision: Precision, training: boolean): Network {
  const specs = projectedSpecs(config, projected), { multiplier, coefficientScale } = projected
  const shared = new Parameters(specs.shared, { copy: precision === 'bf16', gradient: training, moments: training })
  const bases = new Parameters(specs.bases, { copy: false, gradient: false, moments: training })
  const size = specs.bases.reduce((sum, { shape }) => sum + shape[1]! * shape[2]!, 0)
  const weights = persistent('weights of the experts', precision, [groups * size])
  const gradients = training ? persistent('gradients of the weights of the experts', 'f32', [groups * size]) : undefined
  const experts = persistent('experts of the groups', 'i32', [groups]), nextExperts = persistent('experts of the groups of the step to come', 'i32', [groups])
  const squares = persistent('squared norm of the gradient of the bases', 'f32', [1])

  const matrices = new Map<string, { name: string; weight: Tensor; coefficients: Tensor }>()
  let offset = 0
  for (const name of projectedMatrices(projected)) {
    const [, inputs, outputs] = specs.bases.find((spec) => spec.name === `${name}.basis`)!.shape as [number, number, number]
    const weight = viewOf(weights, offset, [groups, inputs, outputs])
    if (gradients) {
      weight.gradient = viewOf(gradients, offset, weight.shape)
      weight.requiresGradient = true
    }
    matrices.set(`${name}.weight`, { name, weight, coefficients: persistent(`coefficients of ${name}`, 'f32', [groups, multiplier]) })
    offset += groups * inputs * outputs
  }

  // Coefficients are computed in f32: from the values, not from the copy in bf16.
  const value = (name: string): Tensor => shared.viewOf(shared.values, name)
  const find = (name: string): Tensor | undefined => matrices.get(name)?.weight ?? shared.find(name)
  const lookup: Weights = { find, get: (name) => matrices.get(name)?.weight ?? shared.get(name), linear: (x, name) => plainLinear(lookup, x, name) }
  const parts = (name: string) => ({ experts: value(EXPERTS), mix: value(`${name}.mix`), basis: bases.viewOf(bases.values, `${name}.basis`), ids: experts })
  return {
    stores: [shared, bases], starts: [shared, bases], weights: lookup, experts, nextExperts,
    gradients: training ? [shared.gradient!, gradients!] : [],
    derived: gradients ? [weights, gradients] : [weights],
    project: () => {
      for (const { name, weight, coefficients } of matrices.values()) project(parts(name), coefficientScale, { coefficients, weights: weight })
    },
    update: (update) => {
      fill(squares, 0)
      for (const { name, weight, coefficients } of matrices.values()) {
        projectGradient({ dweights: weight.gradient!, ...parts(name) }, coefficientScale, { dexperts: shared.viewOf(shared.gradient!, EXPERTS), dmix: shared.viewOf(shared.gradient!, `${name}.mix`) })
        basisNorm(weight.gradient!, coefficients, squares)
      }
      const { clip } = globalNorm(shared.gradient!, update.settings.clip, update.norm, squares)
      // Experts and mixes first: the weights of the step to come are made of what they are then.
      updateStore(shared, clip, update)
      const { m, v } = bases.moments!, { schedule, settings } = update
      for (const { name, weight, coefficients } of matrices.values()) {
        const of = (tensor: Tensor): Tensor => bases.viewOf(tensor, `${name}.basis`), run = { dweights: weight.gradient!, ...parts(name), m: of(m), v: of(v) }
        if (update.project) basisStep({ ...run, ids: nextExperts }, coefficientScale, { coefficients, weights: weight }, clip, schedule, settings)
        else basisAdamw({ ...run, coefficients }, clip, schedule, settings)
      }
    },
  }
}
