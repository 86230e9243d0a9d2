import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestContext } from 'node:test'

const MAIN = fileURLToPath(new URL('../../src/commands/main.js', import.meta.url))

export interface Outcome { code: number | null; signal: NodeJS.Signals | null; out: string; err: string }

/** Runs nichelm as a user does. With `stop`, sends the signal as soon as `when` holds. */
export function nichelm(args: string[], stop?: { signal: NodeJS.Signals; when: () => boolean }): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let out = '', err = ''
    child.stdout.on('data', (part: Buffer) => { out += part })
    child.stderr.on('data', (part: Buffer) => { err += part })
    child.on('error', reject)
    const watch = stop && setInterval(() => {
      if (!stop.when()) return
      clearInterval(watch)
      child.kill(stop.signal)
    }, 5)
    child.on('close', (code, signal) => {
      clearInterval(watch)
      resolve({ code, signal, out, err })
    })
  })
}

export function temporary(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-commands-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Small English-like text that differs by `topic`. */
export function documents(topic: string, count: number, words = 120): string {
  const common = ['the', 'of', 'and', 'a', 'to', 'in', 'is', 'it', 'was', 'for', 'on', 'with', 'as', 'by', 'at'], own = topic.split(' ')
  let state = count + topic.length
  const next = (below: number) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0, (state >>> 8) % below)
  return Array.from({ length: count }, () => JSON.stringify({ text: Array.from({ length: words }, () => next(2) ? common[next(common.length)] : own[next(own.length)]).join(' ') })).map(line => `${line}\n`).join('')
}
