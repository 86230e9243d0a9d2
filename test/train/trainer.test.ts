import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { availableThreads, Device } from '../../bindings/index.js'
import type { NichelmError } from '../../src/base/errors.js'
import { openHuggingFace, projectedConfig, RECOMPUTE } from '../../src/model/index.js'
import { learningRate, MetricsFile, train, type TrainOptions } from '../../src/train/index.js'
import { config, rows } from './support.js'

const settings = {
  steps: 12, batch: 4, accumulate: 2, rate: 3e-3, warmup: 3, schedule: 'cosine' as const, finalRate: 0.1, weightDecay: 0.1, betas: [0.9, 0.95] as const, epsilon: 1e-8, clip: 1,
  evaluateEvery: 4, checkpointEvery: 3, keep: 2,
}

function options(folder: string, device: Device, changes: Partial<TrainOptions> = {}): TrainOptions {
  return { folder, device, config, precision: 'bf16', settings, start: { seed: 5 }, rows, validation: () => [rows(1000, 2), rows(1002, 2)], identity: 'test', ...changes }
}

function temporary(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-train-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'run')
}

const losses = (folder: string): unknown[] =>
  new MetricsFile(join(folder, 'metrics.jsonl')).read().map((m) => (m.kind === 'train' ? [m.step, m.loss, m.norm, m.rate, m.tokens] : [m.step, m.nll]))
const weights = (folder: string): Buffer => readFileSync(join(folder, 'model', 'model.safetensors'))

test('training lowers the loss, writes what it promises, and is read, not done again, the second time', async (t) => {
  const folder = temporary(t)
  using device = new Device({ threads: 1 })
  const result = await train(options(folder, device, { settings: { ...settings, steps: 60, evaluateEvery: 0 } }))
  assert.ok(result.loss < 3 && result.validation!.nll < 3, `loss ${result.loss}, validation ${result.validation!.nll}; a guess is ${Math.log(61)}`)
  assert.equal(result.costs.tokens, 60 * 4 * 24)
  assert.deepEqual(openHuggingFace(result.model).config, config)
  assert.deepEqual(readdirSync(join(folder, 'checkpoints')).sort(), ['step-00000057.safetensors', 'step-00000060.safetensors'])
  assert.deepEqual(await train(options(folder, device, { settings: { ...settings, steps: 60, evaluateEvery: 0 }, rows: () => assert.fail('trained again') })), result)
  await assert.rejects(train(options(folder, device)), { code: 'CONFIG' })
})

test('an interrupted run goes on bit for bit, with any number of threads and whatever is computed again', async (t) => {
  const whole = temporary(t), pieces = temporary(t)
  using device = new Device({ threads: 1 })
  await train(options(whole, device))
  for (const stopAt of [2, 4, 7]) {
    const abort = new AbortController()
    using other = new Device({ threads: stopAt === 4 ? 1 : availableThreads() })
    const recompute = RECOMPUTE[stopAt % 4]!
    await assert.rejects(train(options(pieces, other, { settings: { ...settings, recompute }, signal: abort.signal, onProgress: ({ step }) => step >= stopAt && abort.abort() })), { code: 'INTERRUPTED' })
  }
  await train(options(pieces, device))
  assert.deepEqual(losses(pieces), losses(whole))
  assert.ok(weights(pieces).equals(weights(whole)))
})

test('a run of a projected network that was interrupted goes on bit for bit, though its first step then makes the weights by itself', async (t) => {
  const whole = temporary(t), pieces = temporary(t), drawn: number[] = []
  using device = new Device({ threads: 1 })
  const withExperts = (first: number, count: number) => ({ ...rows(first, count), experts: Int32Array.of(Math.floor(first / 4) % 3, 2) })
  const changes: Partial<TrainOptions> = {
    network: { kind: 'projected', projected: projectedConfig(config, { experts: 3 }), groups: 2 }, rows: (first, count) => (drawn.push(first), withExperts(first, count)), validation: () => [withExperts(1000, 2)],
  }
  const projected = (folder: string): Buffer => readFileSync(join(folder, 'model', 'projected.safetensors'))
  await train(options(whole, device, changes))
  assert.deepEqual(drawn, Array.from({ length: 24 }, (_, part) => 2 * part), 'every row is drawn once, in order')
  for (const stopAt of [2, 4, 7]) {
    const abort = new AbortController()
    await assert.rejects(train(options(pieces, device, { ...changes, signal: abort.signal, onProgress: ({ step }) => step >= stopAt && abort.abort() })), { code: 'INTERRUPTED' })
  }
  await train(options(pieces, device, changes))
  assert.deepEqual(losses(pieces), losses(whole))
  assert.ok(projected(pieces).equals(projected(whole)))
})

test('a run that was killed in the middle goes on bit for bit', { timeout: 120_000 }, async (t) => {
  const whole = temporary(t), killed = temporary(t)
  using device = new Device({ threads: 1 })
  const long = { ...settings, steps: 400, checkpointEvery: 5 }
  const child = spawn(process.execPath, [join(import.meta.dirname, 'trainChild.js'), killed, JSON.stringify(long)], { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const chunk of child.stdout) if (Number(String(chunk).trim().split('\n').at(-1)) >= 12) break
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.ok(!existsSync(join(killed, 'result.json')), 'it was killed before its end')
  await train(options(killed, device, { settings: long }))
  await train(options(whole, device, { settings: long }))
  assert.deepEqual(losses(killed), losses(whole))
  assert.ok(weights(killed).equals(weights(whole)))
})

test('accumulating over micro-batches equals one large batch', async (t) => {
  const one = temporary(t), parts = temporary(t)
  using device = new Device({ threads: 1 })
  const a = await train(options(one, device, { precision: 'f32', settings: { ...settings, accumulate: 1 }, validation: () => [rows(1000, 4)] }))
  const b = await train(options(parts, device, { precision: 'f32', settings: { ...settings, accumulate: 4 }, validation: () => [1000, 1001, 1002, 1003].map((row) => rows(row, 1)) }))
  assert.ok(Math.abs(a.validation!.nll - b.validation!.nll) < 1e-5, `${a.validation!.nll} and ${b.validation!.nll}`)
})

test('early stopping keeps the best, and never something worse than the start', async (t) => {
  const folder = temporary(t)
  using device = new Device({ threads: 1 })
  const base = await train(options(temporary(t), device, { settings: { ...settings, steps: 40 } }))
  const worse = await train(options(folder, device, { start: { model: openHuggingFace(base.model) }, settings: { ...settings, steps: 500, rate: 1, warmup: 0, schedule: 'constant', evaluateEvery: 2, patience: 3 } }))
  assert.equal(worse.steps, 6)
  assert.equal(worse.kept, 0)
  assert.ok(readFileSync(join(worse.model, 'model.safetensors')).equals(readFileSync(join(base.model, 'model.safetensors'))))
})

test('a damaged checkpoint is told, names the file, and is not trained on', async (t) => {
  const folder = temporary(t)
  using device = new Device({ threads: 1 })
  const abort = new AbortController()
  await assert.rejects(train(options(folder, device, { signal: abort.signal, onProgress: ({ step }) => step >= 5 && abort.abort() })), { code: 'INTERRUPTED' })
  const file = join(folder, 'checkpoints', readdirSync(join(folder, 'checkpoints')).sort().at(-1)!)
  const handle = openSync(file, 'r+')
  writeSync(handle, Buffer.from([0xff]), 0, 1, 20_000)
  closeSync(handle)
  await assert.rejects(train(options(folder, device)), (error: NichelmError) => error.code === 'CORRUPT' && error.message.includes(file))
  rmSync(file)
  await train(options(folder, device))
})

test('a loss that is not finite stops the run', async (t) => {
  using device = new Device({ threads: 1 })
  await assert.rejects(train(options(temporary(t), device, { precision: 'f32', settings: { ...settings, rate: 1e30, warmup: 0, clip: 0 } })), { code: 'DIVERGED' })
})

test('a run that cannot be leaves no folder', async (t) => {
  const folder = temporary(t)
  using device = new Device({ threads: 1 })
  await assert.rejects(train(options(folder, device, { length: 25 })), { code: 'CONFIG' })
  await assert.rejects(train(options(folder, device, { settings: { ...settings, accumulate: 3 } })), { code: 'CONFIG' })
  assert.ok(!existsSync(folder))
})

test('learning rates: warm-up, cosine, constant, wsd', () => {
  const schedule = { rate: 2, warmup: 10, finalRate: 0.1 }
  const at = (kind: 'cosine' | 'constant' | 'wsd', step: number): number => learningRate({ ...schedule, schedule: kind }, step, 110)
  for (const kind of ['cosine', 'constant', 'wsd'] as const) {
    assert.ok(Math.abs(at(kind, 1) - 0.2) < 1e-12)
    assert.equal(at(kind, 10), 2)
  }
  assert.ok(Math.abs(at('cosine', 60) - 1.1) < 1e-12)
  assert.ok(Math.abs(at('cosine', 110) - 0.2) < 1e-12)
  assert.equal(at('constant', 110), 2)
  assert.equal(at('wsd', 99), 2)
  assert.ok(Math.abs(at('wsd', 110) - 0.2) < 1e-12)
})
