import type { ModelConfig } from './config.js'
import { LORA, loraParameters, projectedElements, projectedParameters, usualProjection, type MethodSizes } from './countMethods.js'
import { countModel } from './count.js'
import type { Precision } from './parameters.js'
import { planSession } from './session.js'

export interface MethodMemoryOptions extends MethodSizes {
  precision: Precision
  /** Rows computed at once. */
  rows: number
}

/** Bytes of training; null where nothing is pretrained. */
export interface MethodMemory { pretraining: number | null; finetuning: number }

const TRAINING = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 1 }
/** A trained parameter's value, gradient and two moments, in f32. */
const TRAINED = 16

/**
 * Memory that the training of a method takes. One expert of a mixture trains at a time. A projected network holds its basis and the basis' two moments (its gradient is never stored),
 * and of each group of rows the projected matrices with their gradients; a teacher holds its parameters; frozen matrices hold neither gradient nor moments.
 */
export function planMethod(options: MethodMemoryOptions): MethodMemory {
  const { method, model, teacher, precision, rows, length, experts = 1, lora = LORA } = options
  const session = (config: ModelConfig, training: boolean) => planSession({ config, precision, rows, ...length === undefined ? {} : { length }, ...training ? { training: TRAINING } : {} }).memory
  const plain = session(model, true), copy = precision === 'bf16' ? 2 : 0
  const both = { pretraining: plain.total, finetuning: plain.total }
  switch (method) {
    case 'slm-nopt': return { ...both, pretraining: null }
    case 'slm-d': return { ...both, finetuning: plain.total + (teacher ? session(teacher, false).total : 0) }
    case 'slm-pn': {
      const projection = options.projection ?? usualProjection(model, experts), { multiplier, rowsPerGroup, experts: count } = projection
      const projected = projectedElements(model, projection.layers), basis = multiplier * projected, groups = Math.min(count, Math.ceil(rows / rowsPerGroup))
      const coefficients = projectedParameters(model, projection) - (countModel(model).parameters - projected) - basis
      return { ...both, pretraining: plain.total - (TRAINED + copy) * projected + groups * (copy || 4) * projected + groups * 4 * projected + (TRAINED - 4) * basis + TRAINED * coefficients }
    }
    case 'llm-lora': return { ...both, finetuning: plain.total - plain.gradients - plain.optimizer + (TRAINED + copy) * loraParameters(model, lora) }
    default: return both
  }
}
