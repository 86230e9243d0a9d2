import { availableThreads } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import type { OptionTable } from './frame.js'

export const jobsOption = { jobs: { type: 'number', minimum: 1, default: 1, describe: 'Stages that run at the same time, each on its share of the threads' } } as const satisfies OptionTable

/** Throws USAGE for more jobs than there are cores. */
export function checkJobs(jobs: number): void {
  if (jobs > availableThreads()) throw new NichelmError('USAGE', `--jobs ${jobs}: this process may use ${availableThreads()} cores`)
}
