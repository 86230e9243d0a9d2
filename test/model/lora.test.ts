import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Device } from '../../bindings/index.js'
import { philox } from '../../src/base/random.js'
import { countParameters, loraSpecs, modelConfig, ModelSession, openHuggingFace, planSession, saveModel, type HostRows, type LoraConfig } from '../../src/model/index.js'
import { batchOf, relativeError } from './support.js'

const config = modelConfig('pico', 61, { context: 12 }), rows = 4
const lora: LoraConfig = { rank: 4, alpha: 8, matrices: ['attention.qkv', 'mlp.down'] }
const training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 0 }

const batch = (seed: number): HostRows => batchOf(BigInt64Array.from({ length: rows * config.context }, (_, i) => BigInt(philox(seed, i, 0)[0] % config.vocabulary)), rows, config.context)
const mean = (nll: Float32Array): number => nll.reduce((a, b) => a + b, 0) / rows / (config.context - 1)

async function adapted(device: Device): Promise<ModelSession> {
  const session = new ModelSession(device, { config, precision: 'f32', rows, network: { kind: 'lora', lora }, training, logits: true })
  using plain = new ModelSession(device, { config, precision: 'f32', rows })
  await plain.initialize(1)
  for (const { name } of plain.specs('values')) session.write('values', name, plain.read('values', name))
  await session.initialize(2)
  return session
}

test('adapters start without effect, and their gradients are those of the loss', async () => {
  using device = new Device({ threads: 1 })
  using session = await adapted(device)
  using plain = new ModelSession(device, { config, precision: 'f32', rows, logits: true })
  await plain.initialize(1)
  assert.deepEqual(await session.logits(batch(1)), await plain.logits(batch(1)))
  // B begins at zero, where the gradient of A is zero: both are moved first.
  for (const { name } of session.trained) session.write('values', name, session.read('values', name).map((value, i) => value + 0.05 * Math.sin(i + name.length)))
  await session.refresh()
  await session.accumulate([batch(1)])
  for (const name of ['h.0.attention.qkv.lora_a', 'h.0.attention.qkv.lora_b', 'h.1.mlp.down.lora_a', 'h.1.mlp.down.lora_b']) {
    const values = session.read('values', name), gradient = session.read('gradient', name)
    // Along the gradient itself the slope is its squared length.
    const length = Math.hypot(...gradient), slope = async (step: number): Promise<number> => {
      session.write('values', name, values.map((value, i) => value + (step * gradient[i]!) / length))
      await session.refresh()
      return mean(await session.evaluate(batch(1)))
    }
    const difference = ((await slope(0.01)) - (await slope(-0.01))) / 0.02
    assert.ok(Math.abs(difference / length - 1) < 0.01, `${name}: ${difference} instead of ${length}`)
    session.write('values', name, values)
  }
})

test('training moves the adapters alone; merged, the model is the same', async (t) => {
  using device = new Device({ threads: 1 })
  using session = await adapted(device)
  const frozen = session.specs('values').filter(({ name }) => !name.includes('lora')), before = frozen.map(({ name }) => session.read('values', name))
  const first = await session.accumulate([batch(1)])
  await session.update(1, 1e-2)
  let last = first
  for (let step = 2; step <= 20; step++) {
    last = await session.accumulate([batch(1)])
    await session.update(step, 1e-2)
  }
  assert.ok(last < first - 0.1, `${first} to ${last}`)
  assert.deepEqual(frozen.map(({ name }) => session.read('values', name)), before)
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-lora-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  await saveModel(folder, session)
  const stored = openHuggingFace(folder)
  using merged = new ModelSession(device, { config: stored.config, precision: 'f32', rows, logits: true })
  for (const { name, values } of stored.parameters()) merged.write('values', name, values)
  await merged.refresh()
  assert.ok(relativeError(await merged.logits(batch(3)), await session.logits(batch(3))) < 1e-5)
})

test('frozen weights hold neither gradients nor moments', () => {
  const memory = (network?: { kind: 'lora'; lora: LoraConfig }) => planSession({ config, precision: 'bf16', rows, training, ...(network ? { network } : {}) }).memory
  const trained = countParameters(loraSpecs(config, lora).specs), { gradients, optimizer, parameters } = memory({ kind: 'lora', lora })
  assert.equal(gradients, 4 * trained)
  assert.equal(optimizer, 8 * trained)
  assert.equal(parameters, memory().parameters + 6 * trained)
})

test('the counts of the paper: rank 64 on queries, keys and values is 5M of the large model', () => {
  const { specs } = loraSpecs(modelConfig('llm', 32000), { rank: 64, alpha: 64, matrices: ['attention.qkv'] })
  assert.equal((countParameters(specs) / 1e6).toFixed(2), '5.05')
})

test('settings that cannot be are told by field', () => {
  for (const [changes, field] of [[{ rank: 0 }, 'lora.rank'], [{ rank: 65 }, 'lora.rank'], [{ alpha: 0 }, 'lora.alpha'], [{ matrices: [] }, 'lora.matrices'], [{ matrices: ['mlp'] }, 'lora.matrices']] as const)
    assert.throws(() => planSession({ config, precision: 'f32', rows, network: { kind: 'lora', lora: { ...lora, ...changes } as LoraConfig } }), (error: { code?: string; place?: { field?: string } }) => error.code === 'CONFIG' && error.place?.field === field)
})
