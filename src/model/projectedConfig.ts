import { NichelmError } from '../base/errors.js'
import type { ModelConfig } from './config.js'

/**
 * A projected network (arXiv 2402.01093, section 3.3): the MLP matrices of some layers are W = sum over r of c[r] T[r], with the coefficients
 * c = coefficientScale · E[expert] M of an expert's vector E [expertSize], the matrix's mix M [expertSize, multiplier] and basis T [multiplier, inputs, outputs].
 */
export interface ProjectedConfig {
  /** Layers whose MLP is projected, ascending; the others are shared by all experts, as everything outside the MLPs is. */
  layers: readonly number[]
  /** Number of experts, k: as many as clusters. */
  experts: number
  /** Basis matrices of each projected matrix, h. */
  multiplier: number
  /** Length of an expert's vector, m. */
  expertSize: number
  /**
   * Factor of the coefficients. AdamW moves every basis element by about the learning rate, hence W by the rate times sum |c[r]|; with 1 / multiplier
   * that sum starts near 0.8, and W moves as an ordinary weight does.
   */
  coefficientScale: number
  /** How far apart experts start: the individual part of an expert's vector relative to the part that all share. 0: all alike. */
  spread: number
}

export type ProjectedChanges = { [Key in keyof ProjectedConfig]?: ProjectedConfig[Key] | undefined }

/** The named choices: experts = multiplier = expertSize, five layers in seven projected; over slm these are the paper's counts of parameters. */
export const PROJECTED_PRESETS = { 'pn-16': { experts: 16 }, 'pn-32': { experts: 32 }, 'pn-64': { experts: 64 } } as const satisfies Record<string, ProjectedChanges>

/** Layers that are projected where nobody says: five in seven, in the middle. */
export function usualLayers(layers: number): number[] {
  const count = Math.ceil((layers * 5) / 7), first = Math.floor((layers - count) / 2)
  return Array.from({ length: count }, (_, index) => first + index)
}

export const DEFAULT_SPREAD = 0.3

/** Fills in what is not given: five layers in seven, multiplier = expertSize = experts, coefficients / multiplier. Throws CONFIG if the result cannot be. */
export function projectedConfig(config: ModelConfig, changes: ProjectedChanges & { experts: number }): ProjectedConfig {
  const multiplier = changes.multiplier ?? changes.experts
  return checkProjected(config, {
    experts: changes.experts, multiplier, expertSize: changes.expertSize ?? changes.experts,
    layers: changes.layers ?? usualLayers(config.layers),
    coefficientScale: changes.coefficientScale ?? 1 / multiplier, spread: changes.spread ?? DEFAULT_SPREAD,
  })
}

/** Throws CONFIG that names the field if a projected network cannot be; returns it else. */
export function checkProjected(config: ModelConfig, projected: ProjectedConfig, file?: string): ProjectedConfig {
  const wrong = (field: string, what: string): never => { throw new NichelmError('CONFIG', what, { place: { ...(file ? { file } : {}), field } }) }
  for (const field of ['experts', 'multiplier', 'expertSize'] as const)
    if (!Number.isSafeInteger(projected[field]) || projected[field] < 1) wrong(field, `must be a positive whole number; got ${projected[field]}`)
  const { layers, coefficientScale, spread } = projected
  if (!layers.length) wrong('layers', 'names no layer: nothing is projected')
  for (const [index, layer] of layers.entries()) {
    if (!Number.isSafeInteger(layer) || layer < 0 || layer >= config.layers) wrong('layers', `there is no layer ${layer}: they are 0 to ${config.layers - 1}`)
    if (index && layer <= layers[index - 1]!) wrong('layers', `must be ascending, each once; ${layer} follows ${layers[index - 1]}`)
  }
  if (!(coefficientScale > 0 && Number.isFinite(coefficientScale))) wrong('coefficientScale', `must be positive; got ${coefficientScale}`)
  if (!(spread >= 0 && Number.isFinite(spread))) wrong('spread', `must be 0 or more; got ${spread}`)
  return projected
}

/** The projected matrices, in the order of the forward pass: h.1.mlp.up, h.1.mlp.down, ... */
export const projectedMatrices = ({ layers }: Pick<ProjectedConfig, 'layers'>): string[] => layers.flatMap((layer) => [`h.${layer}.mlp.up`, `h.${layer}.mlp.down`])
