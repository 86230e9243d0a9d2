import { LORA, type MethodSizes } from './countMethods.js'
import type { Precision } from './parameters.js'
import { projectedConfig } from './projectedConfig.js'
import type { KernelFacts } from '../graph/scratch.js'
import type { SessionOptions } from './sessionPlan.js'
import { trainingMemory } from './trainingMemory.js'
import type { Recompute } from './transformer.js'

export interface MethodMemoryOptions extends MethodSizes {
  precision: Precision
  /** Rows computed at once. */
  rows: number
  /** Default: none. */
  recompute?: Recompute
  /** Of `slm-d`: so many of the teacher's probabilities are kept on disk; absent: it computes along. */
  top?: number
  /** Default: the best of this machine, on all of its cores. */
  kernels?: KernelFacts
}

/** Bytes of training, besides what the program itself holds; null where nothing is pretrained. */
export interface MethodMemory { pretraining: number | null; finetuning: number }

const TRAINING = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 1 }

/** Memory that the training of a method takes, as its sessions are planned. One expert of a mixture trains at a time; a teacher is there beside its student. */
export function planMethod(options: MethodMemoryOptions): MethodMemory {
  const { method, model, teacher, precision, rows, rowsPerGroup = 1, length, experts = 1, lora = LORA, recompute = 'none', top, kernels } = options
  const total = (...sessions: Omit<SessionOptions, 'precision' | 'rows'>[]): number =>
    trainingMemory(sessions.map((session) => ({ ...session, precision, rows, ...length === undefined ? {} : { length } })), kernels)
  const plain = total({ config: model, training: TRAINING, recompute })
  switch (method) {
    case 'slm-nopt': return { pretraining: null, finetuning: plain }
    case 'slm-d': {
      if (!teacher) return { pretraining: plain, finetuning: plain }
      const student = { config: model, training: TRAINING, recompute, distill: { alpha: 0.5, temperature: 1, teacher: top === undefined ? 'logits' as const : { k: top } } }
      return { pretraining: plain, finetuning: total(student, { config: teacher, ...(top === undefined ? { logits: true } : { mostProbable: { k: top, temperature: 1 } }) }) }
    }
    case 'slm-pn': {
      const projected = options.projected ?? projectedConfig(model, { experts }), groups = Math.max(1, Math.floor(rows / rowsPerGroup))
      // Groups are equal: where they do not divide the rows, one row each is the nearest that can be planned.
      return { pretraining: total({ config: model, training: TRAINING, recompute, network: { kind: 'projected', projected, groups: rows % groups ? rows : groups } }), finetuning: plain }
    }
    case 'llm-lora': return { pretraining: plain, finetuning: total({ config: model, training: TRAINING, recompute, network: { kind: 'lora', lora } }) }
    default: return { pretraining: plain, finetuning: plain }
  }
}
