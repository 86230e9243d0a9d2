import { availableThreads, Device } from '../../bindings/index.js'
import { scratchBytes, type KernelFacts } from '../graph/scratch.js'
import { planPrograms, type SessionOptions } from './sessionPlan.js'

let here: KernelFacts | undefined
/** The best kernels of this machine, on all of its cores. */
function bestKernels(): KernelFacts {
  if (here) return here
  using device = new Device({ threads: 1 })
  return (here = { isa: device.describe().isa, threads: availableThreads() })
}

/**
 * Bytes that sessions take that are open at the same time on one device: their arenas, what the kernels keep for themselves, logits on their way from one to
 * the other, and adapted weights as they are saved. Nothing is allocated.
 */
export function trainingMemory(sessions: readonly SessionOptions[], kernels: KernelFacts = bestKernels()): number {
  const plans = sessions.map(planPrograms), arenas = plans.reduce((sum, { memory }) => sum + memory.total, 0)
  // They lie in an array of JavaScript's and in the copy that the device takes them from.
  const logits = plans.reduce((sum, plan) => sum + 2 * (plan.logits?.bytes ?? 0), 0)
  // When adapters are merged, what they adapt is there once more.
  const merged = plans.reduce((sum, { deltas, network }) => sum + [...deltas.keys()].reduce((bytes, name) => bytes + 4 * network.weights.get(name).size, 0), 0)
  return arenas + logits + merged + scratchBytes(plans.flatMap(({ programs }) => Object.values(programs).flatMap((program) => program?.nodes ?? [])), kernels)
}

/** What JavaScript comes to hold as training goes on: the young part of its heap, rows and results on their way. */
const GROWTH = 16 * 2 ** 20

/** Bytes that this process would come to hold if it now trained with so many: what it holds itself is counted as it is at the moment. */
export const residentBytes = (training: number): number => process.memoryUsage.rss() + GROWTH + training
