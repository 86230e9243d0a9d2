import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { NichelmError } from '../../src/base/errors.js'
import { Lock } from '../../src/recipe/lock.js'

function temporary(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-lock-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('a folder is held by one at a time', t => {
  const folder = temporary(t)
  const lock = new Lock(folder)
  assert.throws(() => new Lock(folder), (error: unknown) => error instanceof NichelmError && error.code === 'USAGE' && error.message.includes(String(process.pid)))
  lock[Symbol.dispose]()
  assert.equal(existsSync(join(folder, 'lock.json')), false)
  new Lock(folder)[Symbol.dispose]()
})

test('another living process is respected, a dead one is not', async t => {
  const folder = temporary(t), module = new URL('../../src/recipe/lock.js', import.meta.url).href
  const child = spawn(process.execPath, ['--input-type=module', '-e', `const { Lock } = await import(${JSON.stringify(module)}); new Lock(${JSON.stringify(folder)}); console.log('held'); setInterval(() => {}, 1000)`])
  await new Promise(ready => child.stdout.once('data', ready))
  assert.throws(() => new Lock(folder), new RegExp(`process ${child.pid}`))
  const gone = new Promise(exit => child.once('exit', exit))
  child.kill('SIGKILL')
  await gone
  new Lock(folder)[Symbol.dispose]()
})

test('a number used again by another process is not taken for the old one', t => {
  const folder = temporary(t), file = join(folder, 'lock.json')
  writeFileSync(file, JSON.stringify({ pid: process.pid, host: hostname(), started: 'at another time' }))
  new Lock(folder)[Symbol.dispose]()
  writeFileSync(file, 'damaged')
  new Lock(folder)[Symbol.dispose]()
  const gone = spawnSync('true').pid
  writeFileSync(file, JSON.stringify({ pid: gone, host: 'another-host', started: '' }))
  assert.throws(() => new Lock(folder), /another-host/)
  assert.match(readFileSync(file, 'utf8'), /another-host/)
})
