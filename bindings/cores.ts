import { call } from './native.js'

/** The cores of this process and what they can do. */
export interface Cores {
  /** Cores of the machine. */
  machine: number
  /** Cores that the process may run on (sched_setaffinity, taskset). */
  affinity: number
  /** What the quotas of its cgroups are worth in cores; 0: no quota. */
  quota: number
  /** Threads that nichelm uses at most: the affinity, capped by the quota rounded up. */
  available: number
  /** Instruction sets of kernels that this CPU can run, from the least to the best. */
  instructionSets: string[]
}

export const cores = (): Cores => call('cores')
