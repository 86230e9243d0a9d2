import { LORA, type MethodSizes } from './countMethods.js'
import type { Precision } from './parameters.js'
import { projectedConfig } from './projectedConfig.js'
import { planSession } from './session.js'
import type { SessionOptions } from './sessionPlan.js'

export interface MethodMemoryOptions extends MethodSizes {
  precision: Precision
  /** Rows computed at once. */
  rows: number
}

/** Bytes of training; null where nothing is pretrained. */
export interface MethodMemory { pretraining: number | null; finetuning: number }

const TRAINING = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 1 }

/** Memory that the training of a method takes, as its sessions are planned. One expert of a mixture trains at a time; a teacher is there beside its student. */
export function planMethod(options: MethodMemoryOptions): MethodMemory {
  const { method, model, teacher, precision, rows, rowsPerGroup = 1, length, experts = 1, lora = LORA } = options
  const total = (session: Pick<SessionOptions, 'config' | 'training' | 'network'>): number => planSession({ ...session, precision, rows, ...length === undefined ? {} : { length } }).memory.total
  const plain = total({ config: model, training: TRAINING })
  switch (method) {
    case 'slm-nopt': return { pretraining: null, finetuning: plain }
    case 'slm-d': return { pretraining: plain, finetuning: plain + (teacher ? total({ config: teacher }) : 0) }
    case 'slm-pn': {
      const projected = options.projected ?? projectedConfig(model, { experts }), groups = Math.max(1, Math.floor(rows / rowsPerGroup))
      // Groups are equal: where they do not divide the rows, one row each is the nearest that can be planned.
      return { pretraining: total({ config: model, training: TRAINING, network: { kind: 'projected', projected, groups: rows % groups ? rows : groups } }), finetuning: plain }
    }
    case 'llm-lora': return { pretraining: plain, finetuning: total({ config: model, training: TRAINING, network: { kind: 'lora', lora } }) }
    default: return { pretraining: plain, finetuning: plain }
  }
}
