import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileError, NichelmError, systemCode } from '../base/errors.js'
import { makeFolder, syncFolder } from '../base/files.js'

/**
 * Makes a folder that is either whole or not there: `write` fills a temporary one beside it, which is then renamed.
 * Whatever goes wrong, nothing half-written stays and what stood there before is untouched.
 *
 * Throws INPUT if `into` is there and not empty, unless `replace`; RESOURCE if the disk is full.
 */
export async function writeFolderAtomic<Result>(into: string, write: (folder: string) => Promise<Result> | Result, replace = false): Promise<Result> {
  const target = resolve(into), parent = dirname(target)
  const temporary = join(parent, `.${basename(target)}.${process.pid}.tmp`), old = `${temporary}.old`
  if (!replace && filled(target))
    throw new NichelmError('INPUT', 'is there already, and not empty', { place: { file: into }, fix: 'Name another folder, or replace this one with the option `replace`.' })
  try {
    makeFolder(parent)
    tidy(target)
    rmSync(temporary, { recursive: true, force: true })
    makeFolder(temporary, into)
    const result = await write(temporary)
    syncFolder(temporary)
    const there = existsSync(target)
    if (there) renameSync(target, old)
    try { renameSync(temporary, target) } catch (error) {
      if (there) renameSync(old, target)
      throw error
    }
    syncFolder(parent)
    rmSync(old, { recursive: true, force: true })
    return result
  } catch (error) {
    // Below what is no folder there is nothing to remove, and saying so must not hide why.
    try { rmSync(temporary, { recursive: true, force: true }) } catch { /* the first error tells */ }
    throw error instanceof Error && 'syscall' in error ? fileError(error, into, 'write') : error
  }
}

/** Removes what a process that was killed left beside the folder; puts back what it had moved aside. */
function tidy(target: string): void {
  const parent = dirname(target), prefix = `.${basename(target)}.`
  if (!existsSync(parent)) return
  for (const name of readdirSync(parent)) {
    const [, pid, old] = (name.startsWith(prefix) && /^(\d+)\.tmp(\.old)?$/.exec(name.slice(prefix.length))) || []
    if (pid === undefined || alive(Number(pid))) continue
    if (old && !existsSync(target)) renameSync(join(parent, name), target)
    else rmSync(join(parent, name), { recursive: true, force: true })
  }
}

function alive(pid: number): boolean {
  try { return process.kill(pid, 0) } catch (error) { return systemCode(error) !== 'ESRCH' }
}

function filled(folder: string): boolean {
  if (!existsSync(folder)) return false
  try { return readdirSync(folder).length > 0 } catch (error) { throw fileError(error, folder, 'write') }
}

/** Throws INTERRUPTED if the signal was aborted. */
export function throwIfInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new NichelmError('INTERRUPTED', 'interrupted; nothing was written', { fix: 'Run the same command again.' })
}
