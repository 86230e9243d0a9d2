import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { fileError, NichelmError, systemCode } from '../base/errors.js'
import { makeFolder } from '../base/files.js'

interface Holder { pid: number; host: string; started: string }

/**
 * Holds an output folder for one process at a time, by a file `lock.json` in it.
 *
 * The lock of a process that no longer lives on this machine is taken over. Throws USAGE while another one holds the folder.
 */
export class Lock implements Disposable {
  readonly #file: string
  readonly #text: string

  constructor(folder: string) {
    this.#file = join(folder, 'lock.json')
    const holder: Holder = { pid: process.pid, host: hostname(), started: startOf(process.pid) }
    this.#text = `${JSON.stringify(holder)}\n`
    const temporary = `${this.#file}.${process.pid}`
    try {
      makeFolder(folder)
      writeFileSync(temporary, this.#text)
      // A link either makes the whole file or fails: nobody ever sees half a lock.
      while (!link(temporary, this.#file)) this.#takeOver()
    } catch (error) {
      throw fileError(error, this.#file, 'write')
    } finally {
      rmSync(temporary, { force: true })
    }
  }

  /** Removes a stale lock; throws if its holder lives. */
  #takeOver(): void {
    const text = read(this.#file)
    if (text === undefined) return
    const holder = parse(text)
    if (holder && (holder.host !== hostname() || lives(holder))) {
      throw new NichelmError('USAGE', `is in use by process ${holder.pid} on ${holder.host}`, {
        place: { file: join(this.#file, '..') },
        fix: holder.host === hostname() ? 'Wait until it ends, or choose another output folder.' : `If that process is gone, delete ${this.#file}.`,
      })
    }
    // Two processes may find the same stale lock: the one that moves away a fresh lock by mistake puts it back.
    const aside = `${this.#file}.stale.${process.pid}`
    try { renameSync(this.#file, aside) } catch (error) {
      if (systemCode(error) === 'ENOENT') return
      throw error
    }
    if (read(aside) !== text) link(aside, this.#file)
    rmSync(aside, { force: true })
  }

  [Symbol.dispose](): void {
    if (read(this.#file) === this.#text) rmSync(this.#file, { force: true })
  }
}

/** When a process began, as the system tells it, so that a number used again is not taken for the old process. Empty where it does not tell. */
function startOf(pid: number): string {
  const stat = read(`/proc/${pid}/stat`)
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

function lives(holder: Holder): boolean {
  try { process.kill(holder.pid, 0) } catch (error) { return systemCode(error) === 'EPERM' }
  return startOf(holder.pid) === holder.started
}

function parse(text: string): Holder | undefined {
  try {
    const value = JSON.parse(text) as Partial<Holder>
    return typeof value.pid === 'number' && typeof value.host === 'string' ? { pid: value.pid, host: value.host, started: value.started ?? '' } : undefined
  } catch { return undefined }
}

function link(from: string, to: string): boolean {
  try { linkSync(from, to); return true } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    throw error
  }
}

function read(file: string): string | undefined {
  try { return readFileSync(file, 'utf8') } catch { return undefined }
}
