import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Device, packageRoot } from '../../bindings/index.js'
import { philox } from '../../src/base/random.js'
import { SafetensorsFile } from '../../src/base/safetensors.js'
import { initialValues } from '../../src/model/initialize.js'
import { instantiate, modelConfig, ModelSession, openHuggingFace, openProjected, planSession, projectedConfig, projectedSpecs, saveModel, type HostRows, type ModelConfig, type ProjectedConfig } from '../../src/model/index.js'
import { DEVICES } from '../base/devices.js'
import { batchOf, relativeError } from './support.js'

interface Expected {
  vocab: number; context: number; layers: number; width: number; heads: number; mlp_width: number
  experts: number; expert_dim: number; multiplier: number; steps: number; clip_norm: number
  adamw: { lr: number; betas: [number, number]; eps: number; weight_decay: number }
}

const folder = join(packageRoot, 'test', 'golden', 'projected-tiny')
const theirName = (name: string): string => name.replace('norm_f', 'ln_f').replace('norm_', 'ln_').replace('.gain', '.weight').replace('attention.', 'attn.').replace('attn.projection', 'attn.proj')

/** Their bases are [inputs, outputs, multiplier], ours [multiplier, inputs, outputs]. */
function read(source: SafetensorsFile, prefix: string, name: string): Float32Array<ArrayBuffer> {
  const stored = `${prefix}${theirName(name)}`, values = source.readF32(stored)
  if (!name.endsWith('.basis')) return values
  const [inputs, outputs, h] = source.entry(stored).shape as [number, number, number]
  return Float32Array.from(values, (_, i) => values[(i % (inputs * outputs)) * h + Math.floor(i / (inputs * outputs))]!)
}

for (const { name: on, options, skip } of DEVICES) test(`projected-tiny on ${on}: projected weights, losses, every gradient, ten updates`, { skip }, async (t) => {
  const settings = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Expected
  using expected = new SafetensorsFile(join(folder, 'expected.safetensors'))
  const config = modelConfig('nano', settings.vocab, { layers: settings.layers, width: settings.width, heads: settings.heads, mlp: settings.mlp_width, context: settings.context })
  const projected = projectedConfig(config, { experts: settings.experts, expertSize: settings.expert_dim, multiplier: settings.multiplier, coefficientScale: 1 })
  const [, rows, length] = expected.entry('input_ids').shape as [number, number, number]
  const { adamw, clip_norm: clip, steps } = settings
  using device = new Device({ ...options, threads: 2 })
  using session = new ModelSession(device, {
    config, precision: 'f32', rows, length, logits: true, network: { kind: 'projected', projected, groups: rows },
    training: { beta1: adamw.betas[0], beta2: adamw.betas[1], epsilon: adamw.eps, weightDecay: adamw.weight_decay, clip },
  })
  for (const { name } of session.specs('values')) session.write('values', name, read(expected, '', name))
  await session.refresh()
  const ids = expected.read('input_ids') as unknown as BigInt64Array, clusters = expected.read('clusters') as unknown as BigInt64Array
  const batch = (step: number): HostRows => ({ ...batchOf(ids.subarray(step * rows * length, (step + 1) * rows * length), rows, length), experts: Int32Array.from(clusters.subarray(step * rows, (step + 1) * rows), Number) })
  const close = (what: string, error: number, bound: number): void => assert.ok(error <= bound, `${what}: relative error ${error} is over ${bound}`)

  const nll = await session.evaluate(batch(0)), sequences = expected.readF32('sequence_losses')
  for (let row = 0; row < rows; row++) close(`loss of sequence ${row}`, Math.abs(nll.subarray(row * length, (row + 1) * length).reduce((a, b) => a + b, 0) / (length - 1) / sequences[row]! - 1), 1e-5)

  const losses = expected.readF32('step_losses'), norms = expected.readF32('step_grad_norms')
  for (let step = 0; step < steps; step++) {
    close(`loss of step ${step}`, Math.abs((await session.accumulate([batch(step)])) / losses[step]! - 1), 1e-5)
    // Every second update makes the next step's weights as well.
    const norm = await session.update(step + 1, adamw.lr, step % 2 ? [batch(step + 1)] : [])
    close(`gradient norm of step ${step}`, Math.abs(norm / norms[step]! - 1), 2e-5)
    if (step) continue
    for (const { name } of session.specs('gradient')) close(`gradient of ${name}`, relativeError(session.read('gradient', name), read(expected, 'grad.', name)), 2e-5)
    // The gradient of a basis is nowhere but in its first moment: m = (1 - beta1) g after the first step.
    const factor = Math.max(1, norm / clip) / (1 - adamw.betas[0])
    for (const { name } of session.specs('m').filter((spec) => spec.name.endsWith('.basis'))) close(`gradient of ${name}`, relativeError(session.read('m', name).map((value) => value * factor), read(expected, 'grad.', name)), 2e-5)
  }
  close('loss after all updates', Math.abs((await session.evaluate(batch(steps))).reduce((a, b) => a + b, 0) / rows / (length - 1) / losses[steps]! - 1), 1e-5)
  // A key's bias shifts all scores of a query alike: its gradient is rounding, of which Adam makes full steps.
  const withoutKeyBias = (name: string, values: Float32Array): Float32Array => (name.endsWith('qkv.bias') ? values.filter((_, i) => i < config.width || i >= 2 * config.width) : values)
  for (const { name } of session.specs('values')) close(`${name} after all updates`, relativeError(withoutKeyBias(name, session.read('values', name)), withoutKeyBias(name, read(expected, 'after.', name))), 1e-4)

  await t.test('instantiate gives the ordinary model that an expert is', async () => {
    for (const { name } of session.specs('values')) session.write('values', name, read(expected, '', name))
    await session.refresh()
    const stored = temporary(t), into = temporary(t)
    await saveModel(stored, session, 3)
    for (const expert of [0, settings.experts - 1]) {
      await instantiate(stored, expert, into, device)
      const model = openHuggingFace(into)
      for (const { name, values } of model.parameters()) {
        const [, at] = /^(h\.\d+\.mlp\.\w+)\.weight$/.exec(name) ?? []
        if (at) close(`${name} of expert ${expert}`, relativeError(values, expected.readF32(`projected.${expert}.${at}`)), 1e-6)
      }
      using small = new ModelSession(device, { config: model.config, precision: 'f32', rows, length, logits: true })
      for (const { name, values } of model.parameters()) small.write('values', name, values)
      const rowsOf = { ...batch(0), experts: new Int32Array(rows).fill(expert) }
      close(`logits of expert ${expert}`, relativeError(await small.logits(rowsOf), await session.logits(rowsOf)), 1e-6)
    }
    // A mean of vectors is a mean of matrices: the map from one to the other is linear.
    await instantiate(stored, [3, 0, 1, 0, 0], into, device)
    for (const { name, values } of openHuggingFace(into).parameters()) {
      const [, at] = /^(h\.\d+\.mlp\.\w+)\.weight$/.exec(name) ?? []
      if (!at) continue
      const [first, third] = [expected.readF32(`projected.0.${at}`), expected.readF32(`projected.2.${at}`)]
      close(`${name} of a mean`, relativeError(values, first.map((value, i) => 0.75 * value + 0.25 * third[i]!)), 1e-6)
    }
    for (const none of [settings.experts, -1, 0.5, [1, 2], new Array<number>(settings.experts).fill(0), [1, 1, 1, 1, -1]]) await assert.rejects(instantiate(stored, none, into, device), { code: 'USAGE' })
    const file = join(stored, 'projected.safetensors'), bytes = readFileSync(file)
    bytes[bytes.length - 5]! ^= 1
    writeFileSync(file, bytes)
    assert.throws(() => openProjected(stored), { code: 'CORRUPT' })
  })
})

function temporary(t: { after(done: () => void): void }): string {
  const at = mkdtempSync(join(tmpdir(), 'nichelm-projected-'))
  t.after(() => rmSync(at, { recursive: true, force: true }))
  return at
}

const small = modelConfig('pico', 61, { context: 16 })
const deviation = (values: Float32Array): number => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length)

for (const [title, changes] of Object.entries<{ experts: number; multiplier?: number; expertSize?: number; spread?: number }>({
  'near each other': { experts: 16 }, 'apart': { experts: 8, spread: 10 }, 'a small vector': { experts: 16, expertSize: 4 }, 'a wide vector': { experts: 16, multiplier: 12, expertSize: 24 },
}))
  test(`experts that start ${title}: every projected matrix has the variance of an ordinary one`, async (t) => {
    const projected = projectedConfig(small, changes)
    const into = temporary(t)
    using device = new Device({ threads: 1 })
    using session = new ModelSession(device, { config: small, precision: 'f32', rows: 1, network: { kind: 'projected', projected, groups: 1 } })
    await session.initialize(5)
    await saveModel(into, session)
    const model = temporary(t)
    // A sample of 64 x 256 normal values has a deviation within half a percent or so; a wide vector is right in the mean over directions only.
    const bound = (changes.expertSize ?? changes.experts) <= (changes.multiplier ?? changes.experts) ? 0.02 : 0.35
    for (const expert of [0, 3, changes.experts - 1]) {
      await instantiate(into, expert, model, device)
      for (const { name, values } of openHuggingFace(model).parameters()) {
        if (!/mlp.*weight/.test(name)) continue
        const ordinary = name.includes('down') ? 0.02 / Math.sqrt(2 * small.layers) : 0.02
        assert.ok(Math.abs(deviation(values) / ordinary - 1) < bound, `${name} of expert ${expert}: ${deviation(values)} instead of ${ordinary}`)
      }
    }
  })

test('with no spread all experts start as the same model; with some they are near each other', () => {
  const vectors = (spread: number): Float32Array[] => {
    const projected = projectedConfig(small, { experts: 6, spread })
    const values = initialValues(projectedSpecs(small, projected).shared.find((spec) => spec.name === 'experts')!, 1)
    return Array.from({ length: 6 }, (_, expert) => values.subarray(expert * 6, expert * 6 + 6))
  }
  for (const vector of vectors(0)) assert.deepEqual(vector, vectors(0)[0])
  const cosine = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0) / 6
  const near = vectors(0.3), apart = vectors(30)
  for (let i = 1; i < 6; i++) assert.ok(cosine(near[0]!, near[i]!) > 0.7)
  assert.ok(apart.slice(1).some((vector) => cosine(apart[0]!, vector) < 0.5))
})

function randomRows(config: ModelConfig, rows: number, experts: number[], seed: number): HostRows {
  const length = config.context, tokens = Int32Array.from({ length: rows * length }, (_, i) => philox(seed, i, 0)[0] % config.vocabulary)
  return { ...batchOf(BigInt64Array.from(tokens, BigInt), rows, length), experts: Int32Array.from(experts) }
}

for (const { name: on, options, skip } of DEVICES) for (const precision of ['f32', 'bf16'] as const)
  test(`updates that make the next step's weights as well give the bits of steps that do not, in ${precision} on ${on}`, { skip }, async () => {
    const projected = projectedConfig(small, { experts: 5, layers: [1] })
    const training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clip: 1 }
    using device = new Device(options)
    const batch = (step: number): HostRows => randomRows(small, 4, [step % 5, (step * step) % 5], step)
    /** What comes between two steps may use the weights of other experts, or write over what they were made of. */
    const run = async (ahead: boolean, between: (session: ModelSession, step: number) => Promise<void>): Promise<unknown[]> => {
      using session = new ModelSession(device, { config: small, precision, rows: 4, network: { kind: 'projected', projected, groups: 2 }, training })
      await session.initialize(2)
      const seen: unknown[] = []
      for (let step = 1; step <= 5; step++) {
        seen.push(await session.accumulate([batch(step)]), await session.update(step, 1e-2, ahead && step < 5 ? [batch(step + 1)] : []))
        await between(session, step)
      }
      seen.push(await session.evaluate(batch(9)))
      for (const part of ['values', 'm', 'v'] as const) seen.push(...session.specs(part).map(({ name }) => session.read(part, name)))
      return seen
    }
    const nothing = async (): Promise<void> => {}
    const plain = await run(false, nothing)
    assert.deepEqual(await run(true, nothing), plain)
    assert.deepEqual(await run(true, async (session, step) => void (await session.evaluate(batch(step + (step % 2))))), plain)
    const written = async (session: ModelSession, step: number): Promise<void> => {
      if (step !== 2) return
      session.write('values', 'experts', session.read('values', 'experts').map((x) => 1.5 * x))
      await session.refresh()
    }
    const other = await run(false, written)
    assert.notDeepEqual(other, plain)
    assert.deepEqual(await run(true, written), other)
  })

test('an update refuses a next step that cannot be, and can then be done', async () => {
  const projected = projectedConfig(small, { experts: 4 }), training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clip: 1 }
  using device = new Device({ threads: 1 })
  using session = new ModelSession(device, { config: small, precision: 'f32', rows: 2, network: { kind: 'projected', projected, groups: 2 }, training })
  await session.initialize(1)
  await session.accumulate([randomRows(small, 2, [0, 1], 1)])
  await assert.rejects(session.update(1, 1e-3, [randomRows(small, 2, [0, 4], 2)]), { code: 'INPUT' })
  await assert.rejects(session.update(1, 1e-3, [randomRows(small, 2, [0], 2)]), { code: 'USAGE' })
  assert.ok((await session.update(1, 1e-3)) > 0)
})

test('a step in parts is the step as a whole, on any number of threads', async () => {
  const projected = projectedConfig(small, { experts: 5, layers: [1] })
  const training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clip: 1 }
  const run = async (threads: number, parts: number): Promise<Map<string, Float32Array>> => {
    using device = new Device({ threads })
    using session = new ModelSession(device, { config: small, precision: 'f32', rows: 8 / parts, network: { kind: 'projected', projected, groups: 2 }, training })
    await session.initialize(2)
    for (let step = 1; step <= 3; step++) {
      const whole = randomRows(small, 8, [1, 4], step), size = small.context
      // Rows of a part: the first or second half of each group.
      const take = (rows: number[]): HostRows => {
        const pick = <T extends Int32Array | Float32Array>(from: T): T => { const into = new (from.constructor as new (n: number) => T)(rows.length * size); rows.forEach((row, i) => into.set(from.subarray(row * size, (row + 1) * size) as never, i * size)); return into }
        return { rows: rows.length, length: size, tokens: pick(whole.tokens), targets: pick(whole.targets), weights: pick(whole.weights), starts: pick(whole.starts), experts: whole.experts! }
      }
      await session.accumulate(parts === 1 ? [whole] : [take([0, 1, 4, 5]), take([2, 3, 6, 7])])
      await session.update(step, 1e-3)
    }
    return new Map(session.specs('values').map(({ name }) => [name, session.read('values', name)]))
  }
  const [one, two, parted] = [await run(1, 1), await run(2, 1), await run(2, 2)]
  assert.deepEqual(two, one)
  // A key's bias has no gradient but rounding.
  for (const [name, values] of parted) if (!name.endsWith('qkv.bias')) assert.ok(relativeError(values, one.get(name)!) < 1e-4, name)
})

test('memory: nothing of the size of the bases but the bases and their two moments', () => {
  const config = modelConfig('slm', 32000), projected = projectedConfig(config, { experts: 32, layers: [1, 2, 3, 4, 5] })
  const training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 1 }
  const session = (network?: { kind: 'projected'; projected: ProjectedConfig; groups: number }) => planSession({ config, precision: 'bf16', rows: 8, length: 128, training, ...(network ? { network } : {}) }).memory
  const plain = session(), with32 = session({ kind: 'projected', projected, groups: 8 }), basis = 32 * 5 * 2 * 1024 * 4096 * 4
  const beside = with32.total - plain.total - 3 * basis
  // What is left is the weights of eight experts in bf16 and their gradients in f32, less the ordinary MLPs with theirs: 8 · 6 bytes against 18 an element.
  assert.ok(beside > 0 && beside < 8 * 6 * 5 * 2 * 1024 * 4096, `${beside} bytes`)
  assert.ok(beside < 0.4 * basis)
})

test('what cannot be is told before anything is computed', async () => {
  assert.throws(() => projectedConfig(small, { experts: 4, layers: [2] }), { code: 'CONFIG' })
  assert.throws(() => projectedConfig(small, { experts: 4, layers: [] }), { code: 'CONFIG' })
  assert.throws(() => projectedConfig(small, { experts: 0 }), { code: 'CONFIG' })
  const projected = projectedConfig(small, { experts: 4 })
  assert.throws(() => planSession({ config: small, precision: 'f32', rows: 4, network: { kind: 'projected', projected, groups: 3 } }), { code: 'CONFIG' })
  using device = new Device({ threads: 1 })
  using session = new ModelSession(device, { config: small, precision: 'f32', rows: 4, network: { kind: 'projected', projected, groups: 2 } })
  await assert.rejects(session.evaluate(randomRows(small, 4, [0, 4], 1)), { code: 'INPUT' })
  await assert.rejects(session.evaluate(randomRows(small, 4, [0], 1)), { code: 'USAGE' })
})
