import { NichelmError } from '../base/errors.js'
import type { ModelConfig } from './config.js'
import { countModel, countParameters } from './count.js'
import { loraSpecs, type LoraConfig } from './loraNetwork.js'
import type { MethodName } from './methods.js'
import { checkProjected, projectedConfig, type ProjectedConfig } from './projectedConfig.js'
import { projectedSpecs } from './projectedNetwork.js'

/** The update of the joint query, key and value projection: rank 64 on the paper's large model makes its 5 million parameters. */
export const LORA: LoraConfig = { rank: 64, alpha: 64, matrices: ['attention.qkv'] }

export interface MethodSizes {
  method: MethodName
  /** The small model; for `llm` and `llm-lora` that model itself, which is then large. */
  model: ModelConfig
  /** Of `slm-d`. */
  teacher?: ModelConfig
  /** Of `slm-pn`. */
  projected?: ProjectedConfig
  /** Of `slm-pn`: rows of a step that share an expert, each group being projected once; 1 if absent. */
  rowsPerGroup?: number
  /** Of `slm-mix`. */
  experts?: number
  /** Of `llm-lora`. */
  lora?: LoraConfig
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

/** Basis, mix matrices and expert vectors, in place of the matrices that are projected. */
export function projectedParameters(config: ModelConfig, projected: ProjectedConfig): number {
  const { shared, bases } = projectedSpecs(config, checkProjected(config, projected))
  return countParameters([...shared, ...bases])
}

/** Of both factors of every update. */
export function loraParameters(config: ModelConfig, lora: LoraConfig): number {
  const count = countParameters(loraSpecs(config, lora).specs)
  if (!count) throw new NichelmError('CONFIG', `the model has no matrix named ${lora.matrices.join(' or ')}`, { place: { field: 'matrices' } })
  return count
}

/**
 * Parameters and FLOPs of a method, counted as `countModel` counts. Projecting one group takes 2 FLOPs for every element of the basis, and its gradient twice that: a share
 * of each token that falls with the tokens of a group. LoRA leaves out the gradients of the frozen matrices, a third of their products. Throws CONFIG for sizes that cannot be.
 */
export function countMethod({ method, model, teacher, projected, rowsPerGroup = 1, experts = 1, lora = LORA, length = model.context }: MethodSizes): MethodCounts {
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
      const sizes = projected ?? projectedConfig(model, { experts })
      return {
        ...plain, pretrainingParameters: projectedParameters(model, sizes),
        pretrainingFlopsPerToken: training + (6 * countParameters(projectedSpecs(model, sizes).bases)) / (rowsPerGroup * length),
      }
    }
    case 'llm-lora': {
      const updates = loraParameters(model, lora)
      return { ...plain, finetunedParameters: updates, finetuningFlopsPerToken: training - 2 * counts.matrixParameters + 6 * updates }
    }
  }
}
