import { NichelmError } from '../base/errors.js'
import type { ModelConfig } from './config.js'
import { countModel } from './count.js'
import type { MethodName } from './methods.js'
import { parameterSpecs, sizeOf } from './parameters.js'

/** The sizes of a projected network (arXiv 2402.01093, section 2.3). */
export interface ProjectionSizes {
  /** How many of the model's layers have their MLP matrices projected. */
  layers: number
  /** k: one small model each. */
  experts: number
  /** h: basis matrices for each projected matrix. */
  multiplier: number
  /** m: length of an expert's vector. */
  expertSize: number
  /** Rows of one step that share an expert: each group is projected once a step. */
  rowsPerGroup: number
}

export interface LoraSizes {
  rank: number
  /** Which matrices have low-rank updates, by the end of their names. */
  matrices: readonly string[]
}

/** The update of the joint query, key and value projection: rank 64 on the paper's large model makes its 5 million parameters. */
export const LORA: LoraSizes = { rank: 64, matrices: ['attention.qkv'] }

/** Layers that are projected where nobody says: five in seven, as the paper's counts fit. */
export const usualProjectedLayers = (layers: number): number => Math.ceil(layers * 5 / 7)

/** A projected network with as many basis matrices and vector elements as experts, which the paper's counts fit. */
export const usualProjection = (config: ModelConfig, experts: number, rowsPerGroup = 1): ProjectionSizes =>
  ({ layers: usualProjectedLayers(config.layers), experts, multiplier: experts, expertSize: experts, rowsPerGroup })

export interface MethodSizes {
  method: MethodName
  /** The small model; for `llm` and `llm-lora` that model itself, which is then large. */
  model: ModelConfig
  /** Of `slm-d`. */
  teacher?: ModelConfig
  /** Of `slm-pn`. */
  projection?: ProjectionSizes
  /** Of `slm-mix`. */
  experts?: number
  /** Of `llm-lora`. */
  lora?: LoraSizes
  /** Tokens of a row; the model's context if absent. */
  length?: number
}

export interface MethodCounts {
  /** Parameters that pretraining trains, all experts together; null where there is none. */
  pretrainingParameters: number | null
  /** Parameters of the model that is served. */
  servedParameters: number
  /** Parameters that fine-tuning trains. */
  finetunedParameters: number
  /** FLOPs of a token, forward and backward; null where nothing is pretrained. */
  pretrainingFlopsPerToken: number | null
  /** FLOPs of a token of fine-tuning, the teacher's forward pass included. */
  finetuningFlopsPerToken: number
  /** FLOPs of a token of the model that is served. */
  servedFlopsPerToken: number
}

/** Elements of the matrices that are projected, one small model's: of each projected layer both MLP matrices, biases not. */
export function projectedElements(config: ModelConfig, layers: number): number {
  const matrices = parameterSpecs(config).filter(({ name }) => /^h\.0\.mlp\..*\.weight$/.test(name))
  return layers * matrices.reduce((sum, spec) => sum + sizeOf(spec), 0)
}

/** Basis, mix matrices and expert vectors, in place of the matrices that are projected. */
export function projectedParameters(config: ModelConfig, { layers, experts, multiplier, expertSize }: ProjectionSizes): number {
  const projected = projectedElements(config, layers), matrices = 2 * layers
  return countModel(config).parameters - projected + multiplier * projected + matrices * expertSize * multiplier + experts * expertSize
}

/** Of both factors: rank · (inputs + outputs) for each matrix. */
export function loraParameters(config: ModelConfig, { rank, matrices }: LoraSizes): number {
  const chosen = parameterSpecs(config).filter(({ name }) => matrices.some(end => name.endsWith(`.${end}.weight`)))
  if (!chosen.length) throw new NichelmError('CONFIG', `the model has no matrix named ${matrices.join(' or ')}`, { place: { field: 'matrices' } })
  return chosen.reduce((sum, { shape }) => sum + rank * (shape[0]! + shape[1]!), 0)
}

/**
 * Parameters and FLOPs of a method, counted as `countModel` counts. Projecting one group takes 2 FLOPs for every element of the basis, and its gradient twice that: a share
 * of each token that falls with the tokens of a group. LoRA leaves out the gradients of the frozen matrices, a third of their products. Throws CONFIG for sizes that cannot be.
 */
export function countMethod({ method, model, teacher, projection, experts = 1, lora = LORA, length = model.context }: MethodSizes): MethodCounts {
  const counts = countModel(model, length), { parameters, trainingFlopsPerToken: training, inferenceFlopsPerToken: served } = counts
  const plain: MethodCounts = {
    pretrainingParameters: parameters, servedParameters: parameters, finetunedParameters: parameters,
    pretrainingFlopsPerToken: training, finetuningFlopsPerToken: training, servedFlopsPerToken: served,
  }
  switch (method) {
    case 'slm': case 'slm-is': case 'llm': return plain
    case 'slm-nopt': return { ...plain, pretrainingParameters: null, pretrainingFlopsPerToken: null }
    case 'slm-mix': return { ...plain, pretrainingParameters: experts * parameters }
    case 'slm-d': return { ...plain, finetuningFlopsPerToken: training + (teacher ? countModel(teacher, length).inferenceFlopsPerToken : 0) }
    case 'slm-pn': {
      const sizes = projection ?? usualProjection(model, experts)
      if (sizes.layers < 1 || sizes.layers > model.layers) throw new NichelmError('CONFIG', `${sizes.layers} projected layers: the model has ${model.layers}`, { place: { field: 'layers' } })
      const perGroup = 6 * sizes.multiplier * projectedElements(model, sizes.layers)
      return { ...plain, pretrainingParameters: projectedParameters(model, sizes), pretrainingFlopsPerToken: training + perGroup / (sizes.rowsPerGroup * length) }
    }
    case 'llm-lora': {
      const updates = loraParameters(model, lora)
      return { ...plain, finetunedParameters: updates, finetuningFlopsPerToken: training - 2 * counts.matrixParameters + 6 * updates }
    }
  }
}
