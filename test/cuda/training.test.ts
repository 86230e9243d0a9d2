import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Device } from '../../bindings/index.js'
import { MetricsFile, train, type TrainOptions } from '../../src/train/index.js'
import { cudaMissing } from '../base/devices.js'
import { temporary } from '../commands/commandLine.js'
import { config, rows } from '../train/support.js'

const skip = cudaMissing

const options = (folder: string, device: Device, changes: Partial<TrainOptions> = {}): TrainOptions => ({
  folder, device, config, precision: 'bf16', start: { seed: 5 }, rows, validation: () => [rows(1000, 2)], identity: 'test',
  settings: { steps: 12, batch: 4, accumulate: 2, rate: 3e-3, warmup: 3, schedule: 'cosine', finalRate: 0.1, weightDecay: 0.1, betas: [0.9, 0.95], epsilon: 1e-8, clip: 1, evaluateEvery: 6, checkpointEvery: 4, keep: 2 }, ...changes,
})
const metrics = (folder: string): number[][] => new MetricsFile(join(folder, 'metrics.jsonl')).read().map(m => m.kind === 'train' ? [m.step, m.loss, m.norm, m.rate, m.tokens] : [m.step, m.nll])
const weights = (folder: string): Buffer => readFileSync(join(folder, 'model', 'model.safetensors'))

async function trained(t: TestContext, device: Device, changes: Partial<TrainOptions> = {}): Promise<string> {
  const folder = join(temporary(t), 'run')
  await train(options(folder, device, changes))
  return folder
}

test('losses on a GPU follow the CPU\'s within what bf16 rounds, twice the same bits, and an interrupted run goes on with them', { skip }, async t => {
  using cpu = new Device({ threads: 1 })
  using device = new Device({ kind: 'cuda', threads: 1 })
  const want = metrics(await trained(t, cpu)), first = await trained(t, device), got = metrics(first)
  assert.equal(got.length, want.length)
  for (const [i, [step, loss]] of got.entries()) assert.ok(Math.abs(loss! - want[i]![1]!) < 0.01 * want[i]![1]!, `step ${step}: ${loss}, on the CPU ${want[i]![1]}`)
  assert.notDeepEqual(got, want, 'the CPU computed it')
  const pieces = join(temporary(t), 'run'), abort = new AbortController()
  await assert.rejects(train(options(pieces, device, { signal: abort.signal, onProgress: ({ step }) => { if (step >= 7) abort.abort() } })), { code: 'INTERRUPTED' })
  await assert.rejects(train(options(pieces, cpu)), { code: 'CONFIG', message: /holds a run with other settings/ })
  await train(options(pieces, device))
  assert.deepEqual(metrics(pieces), got)
  assert.ok(weights(pieces).equals(weights(first)))
})

test('a run that the CPU began is not gone on with on a GPU: results are bit for bit those of one kind of device', { skip }, async t => {
  using cpu = new Device({ threads: 1 })
  using device = new Device({ kind: 'cuda', threads: 1 })
  const folder = await trained(t, cpu, { settings: { ...options('', cpu).settings, steps: 2, warmup: 1 } })
  await assert.rejects(train(options(folder, device, { settings: { ...options('', cpu).settings, steps: 2, warmup: 1 } })), { code: 'CONFIG' })
})
