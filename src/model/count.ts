import type { ModelConfig } from './config.js'
import { parameterSpecs, sizeOf, type ParameterSpec } from './parameters.js'

export const countParameters = (specs: readonly ParameterSpec[]): number => specs.reduce((sum, spec) => sum + sizeOf(spec), 0)

export interface ModelCounts {
  parameters: number
  /** Those that products read for every token: all matrices but the embedding tables; the output projection counts also when it is tied. */
  matrixParameters: number
  /** FLOPs of one training token: forward and backward, attention over the causal half of the context included. */
  trainingFlopsPerToken: number
  /** FLOPs of one token of the forward pass. */
  inferenceFlopsPerToken: number
}

/**
 * Parameters and FLOPs of a model, by the usual count: forward 2 FLOPs a matrix parameter and token, backward twice that;
 * attention 2 · context · width a layer and token forward (q·k and p·v over the causal half), backward 2.5 times that.
 * (Kaplan et al., arXiv 2001.08361, section 2.1, with the mask counted.)
 */
export function countModel(config: ModelConfig, length = config.context): ModelCounts {
  const specs = parameterSpecs(config)
  const products = specs.filter((spec) => spec.shape.length > 1 && spec.name !== 'wpe.weight' && (spec.name !== 'wte.weight' || config.tied))
  const matrixParameters = countParameters(products)
  const attention = 2 * length * config.width * config.layers
  return {
    parameters: countParameters(specs),
    matrixParameters,
    trainingFlopsPerToken: 6 * matrixParameters + 3.5 * attention,
    inferenceFlopsPerToken: 2 * matrixParameters + attention,
  }
}
