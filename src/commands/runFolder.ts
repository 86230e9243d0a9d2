import { readdirSync } from 'node:fs'
import { NichelmError } from '../base/errors.js'

/** Throws USAGE if a run would be written among what is no run's: a folder that is not empty, and that no run began in. */
export function checkRunFolder(folder: string): void {
  let names: string[]
  // One that is not there, or cannot be read, is told when it is made.
  try { names = readdirSync(folder) } catch { return }
  if (names.some(name => !name.startsWith('.')) && !names.includes('run.json'))
    throw new NichelmError('USAGE', `--into ${folder}: is not empty, and holds no run`, { fix: 'Name another folder; a run is only written into one of its own.' })
}
