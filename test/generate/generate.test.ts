import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { availableThreads, Device, packageRoot } from '../../bindings/index.js'
import { generateAll, InferenceSession, type GenerateOptions } from '../../src/generate/index.js'
import { modelConfig, ModelSession, openHuggingFace, parameterSpecs, type ModelConfig, type Precision, type StoredModel } from '../../src/model/index.js'
import { initialValues } from '../../src/model/initialize.js'
import { DEVICES } from '../base/devices.js'
import { relativeError } from '../model/support.js'

/** Continuations made by Hugging Face transformers: scripts/golden-continuations. */
interface Golden { stop: number; texts: { prompt: number[]; continuation: number[] }[] }
const folderOf = (family: string): string => join(packageRoot, 'test', 'golden', family)
const goldenOf = (family: string): Golden => JSON.parse(readFileSync(join(folderOf(family), 'continuations.json'), 'utf8')) as Golden
const GREEDY = { temperature: 0, topK: 0, topP: 1 }, WARM = { temperature: 1.3, topK: 0, topP: 0.95 }
const FAMILIES = ['gpt2-tiny', 'llama-tiny']

const texts = async (options: Omit<GenerateOptions, 'seed' | 'precision'> & Partial<GenerateOptions>) => (await generateAll({ precision: 'f32', seed: 1, ...options })).texts

for (const family of FAMILIES) for (const { name: on, options, skip } of DEVICES)
  test(`${family} on ${on}: greedy continuations are those of Hugging Face, however many at once`, { skip }, async () => {
    using device = new Device(options)
    const { stop, texts: golden } = goldenOf(family), model = openHuggingFace(folderOf(family)), prompts = golden.map(({ prompt }) => prompt)
    for (const batch of on === 'cuda-emulated' ? [5] : [5, 2, 1]) {
      const found = await texts({ device, model, prompts, maxTokens: 24, sampling: GREEDY, stop: [stop], batch })
      for (const [i, { prompt, continuation }] of golden.entries()) {
        const stopped = continuation.at(-1) === stop, full = prompt.length + continuation.length > model.config.context
        assert.deepEqual(found[i], { ids: stopped ? continuation.slice(0, -1) : continuation, end: stopped ? 'stop' : full && continuation.length < 24 ? 'context' : 'length' })
      }
    }
  })

/** A model with random weights wide and deep enough for every piece of a prompt and several heads. */
function randomModel(changes: Partial<ModelConfig>): StoredModel {
  const config = modelConfig('nano', 211, { layers: 2, width: 48, heads: 4, context: 400, ...changes }), scale = changes.norm === 'rms' ? 12 : 8
  return { config, parameters: () => parameterSpecs(config).map((spec) => ({ name: spec.name, values: initialValues(spec, 3).map((value) => ('normal' in spec.start ? scale * value : value)) })) }
}
const LLAMA = { norm: 'rms', positions: 'rotary', activation: 'swiglu', biases: false, tied: false, keyValueHeads: 2 } as const
const MODELS = { gpt2: randomModel({}), llama: randomModel(LLAMA) }
const prompt = (length: number, seed: number): number[] => Array.from({ length }, (_, i) => (i * i * 7 + seed * 31 + i * 13) % 211)
const PROMPTS = [prompt(1, 1), prompt(3, 2), prompt(17, 3), prompt(64, 4), prompt(100, 5), prompt(350, 6), prompt(16, 7)]

/** Logits after each token, by one pass over the whole row. */
async function wholeLogits(device: Device, model: StoredModel, precision: Precision, ids: readonly number[]): Promise<Float32Array> {
  using session = new ModelSession(device, { config: model.config, precision, rows: 1, length: ids.length, logits: true })
  for (const { name, values } of model.parameters()) session.write('values', name, values)
  await session.refresh()
  const size = ids.length
  return session.logits({ rows: 1, length: size, tokens: Int32Array.from(ids), targets: new Int32Array(size), weights: new Float32Array(size), starts: new Int32Array(size) })
}

for (const [family, model] of Object.entries(MODELS)) {
  test(`${family}: each token is what the whole text, computed anew, makes most probable`, async () => {
    using device = new Device({ threads: 1 })
    const { vocabulary } = model.config, found = await texts({ device, model, prompts: PROMPTS, maxTokens: 20, sampling: GREEDY })
    for (const [i, { ids }] of found.entries()) {
      const all = [...PROMPTS[i]!, ...ids], logits = await wholeLogits(device, model, 'f32', all.slice(0, -1))
      assert.equal(ids.length, 20)
      for (const [n, id] of ids.entries()) {
        const row = logits.subarray((PROMPTS[i]!.length - 1 + n) * vocabulary).subarray(0, vocabulary)
        assert.equal(id, row.indexOf(Math.max(...row)), `prompt ${i}, token ${n}`)
      }
    }
  })

  for (const precision of ['f32', 'bf16'] as const)
    test(`${family} in ${precision}: logits from the cache are those of the whole text`, async () => {
      using device = new Device({ threads: 1 })
      const ids = prompt(330, 9), { vocabulary } = model.config, exact = await wholeLogits(device, model, 'f32', ids), whole = precision === 'f32' ? exact : await wholeLogits(device, model, precision, ids)
      using session = new InferenceSession(device, { config: model.config, precision, slots: 3, capacity: 340, sampling: GREEDY })
      session.load(model)
      await session.prefill(1, ids.slice(0, 290))
      const logits = new Float32Array(vocabulary), got: number[] = []
      for (let n = 290; n < 330; n++) {
        await session.decode([{ slot: 1, cached: n, token: ids[n]!, uniform: 0 }], logits)
        got.push(...logits)
      }
      const of = (from: Float32Array): Float32Array => from.subarray(290 * vocabulary, 330 * vocabulary)
      const error = relativeError(Float32Array.from(got), of(exact)), other = relativeError(of(whole), of(exact))
      assert.ok(error <= (precision === 'f32' ? 1e-5 : 1.5 * other), `relative error ${error}; of the whole text ${other}`)
    })

  test(`${family}: a text has the same bits alone, among others, and with two threads`, async () => {
    using one = new Device({ threads: 1 })
    using two = new Device({ threads: Math.min(2, availableThreads()) })
    for (const precision of ['f32', 'bf16'] as const)
      for (const sampling of [GREEDY, WARM]) {
        const options = { model, precision, maxTokens: 12, sampling }
        const together = await texts({ device: one, prompts: PROMPTS, ...options })
        assert.deepEqual(await texts({ device: two, prompts: PROMPTS, ...options }), together)
        assert.deepEqual(await texts({ device: one, prompts: PROMPTS, ...options, batch: 3 }), together)
        // The first prompt's number is its own: others draw by theirs.
        assert.deepEqual((await texts({ device: one, prompts: PROMPTS.slice(0, 1), ...options }))[0], together[0])
        if (sampling === GREEDY) for (const [i, alone] of PROMPTS.entries()) assert.deepEqual((await texts({ device: one, prompts: [alone], ...options }))[0], together[i], `prompt ${i}`)
      }
  })
}

test('a context shorter than any piece of a prompt', async () => {
  using device = new Device({ threads: 1 })
  for (const context of [1, 5, 12, 20])
    for (const model of [randomModel({ context }), randomModel({ ...LLAMA, context })]) {
      const prompts = [prompt(context, 1), prompt(1, 2)], found = await texts({ device, model, prompts, maxTokens: 30, sampling: GREEDY })
      for (const [i, { ids, end }] of found.entries()) {
        assert.deepEqual([ids.length, end], [context - prompts[i]!.length + 1, 'context'])
        const all = [...prompts[i]!, ...ids], logits = await wholeLogits(device, model, 'f32', all.slice(0, -1))
        for (const [n, id] of ids.entries()) {
          const row = logits.subarray((prompts[i]!.length - 1 + n) * 211).subarray(0, 211)
          assert.equal(id, row.indexOf(Math.max(...row)))
        }
      }
    }
})

test('rows of a step have the bits of a step of their own', async () => {
  using device = new Device({ threads: 1 })
  for (const model of Object.values(MODELS))
    for (const precision of ['f32', 'bf16'] as const) {
      const { vocabulary } = model.config, rows = [0, 5, 40].map((cached, i) => ({ slot: 2 - i, cached, token: 7 + i, uniform: 0 }))
      using session = new InferenceSession(device, { config: model.config, precision, slots: 3, capacity: 64, sampling: GREEDY })
      session.load(model)
      for (const { slot, cached } of rows) await session.prefill(slot, prompt(cached, slot))
      const together = new Float32Array(3 * vocabulary), alone = new Float32Array(vocabulary)
      await session.decode(rows, together)
      for (const [i, row] of rows.entries()) {
        await session.decode([row], alone)
        assert.deepEqual(alone, together.subarray(i * vocabulary, (i + 1) * vocabulary))
      }
    }
})

test('several steps in one call draw what as many calls do', async () => {
  using device = new Device({ threads: 1 })
  const steps = 6, uniform = (row: number, step: number): number => ((row + 1) * (step + 3) * 0.137) % 1
  for (const model of Object.values(MODELS)) {
    const begin = [0, 5, 40].map((cached, i) => ({ slot: 2 - i, cached, token: 7 + i, uniform: 0 }))
    using session = new InferenceSession(device, { config: model.config, precision: 'bf16', slots: 4, capacity: 64, sampling: WARM })
    session.load(model)
    for (const { slot, cached } of begin) await session.prefill(slot, prompt(cached, slot))
    const together = await session.decodeSteps(begin, steps, uniform)
    for (let step = 0, rows = begin; step < steps; step++) {
      const ids = await session.decode(rows.map((row, i) => ({ ...row, uniform: uniform(i, step) })))
      assert.deepEqual(together[step], ids)
      rows = rows.map((row, i) => ({ ...row, cached: row.cached + 1, token: ids[i]! }))
    }
    await assert.rejects(session.decodeSteps([{ slot: 0, cached: 60, token: 1, uniform: 0 }], 5, uniform), { code: 'USAGE', message: /room for 64 tokens; asked for were 5 behind 60/ })
  }
})

test('sampling follows the seed; top-k 1 is greedy; a stop token ends a text', async () => {
  using device = new Device({ threads: 1 })
  const model = MODELS.gpt2, options = { device, model, prompts: [PROMPTS[2]!, PROMPTS[2]!], maxTokens: 30 }
  const [first, second] = await texts({ ...options, sampling: WARM, seed: 5 }), [again] = await texts({ ...options, sampling: WARM, seed: 5 }), [other] = await texts({ ...options, sampling: WARM, seed: 6 })
  assert.deepEqual(again, first)
  assert.notDeepEqual(second, first)
  assert.notDeepEqual(other, first)
  const [greedy] = await texts({ ...options, sampling: GREEDY })
  assert.deepEqual((await texts({ ...options, sampling: { temperature: 2, topK: 1, topP: 1 } }))[0], greedy)
  const stop = greedy!.ids[7]!
  assert.deepEqual((await texts({ ...options, sampling: GREEDY, stop: [stop] }))[0], { ids: greedy!.ids.slice(0, greedy!.ids.indexOf(stop)), end: 'stop' })
})

test('a text ends where the context is full, and a prompt may fill it', async () => {
  using device = new Device({ threads: 1 })
  for (const model of Object.values(MODELS)) {
    const found = await texts({ device, model, prompts: [prompt(400, 1), prompt(398, 2), prompt(2, 3)], maxTokens: 5, sampling: GREEDY })
    assert.deepEqual(found.map(({ ids, end }) => [ids.length, end]), [[1, 'context'], [3, 'context'], [5, 'length']])
  }
})

test('what cannot be continued is refused before anything is loaded', async () => {
  using device = new Device({ threads: 1 })
  const model: StoredModel = { config: MODELS.gpt2.config, parameters: () => assert.fail('parameters were read') }
  const refused = (expected: object, changes: Partial<GenerateOptions>) => assert.rejects(texts({ device, model, prompts: [[1, 2]], maxTokens: 5, sampling: GREEDY, ...changes }), expected)
  await refused({ code: 'INPUT', message: /prompt 2: has 401 tokens, more than the model's context of 400/ }, { prompts: [[1], prompt(401, 1)] })
  await refused({ code: 'INPUT', message: /prompt 1: is empty/ }, { prompts: [[]] })
  await refused({ code: 'INPUT', message: /prompt 1: token 211 is outside the vocabulary of 211/ }, { prompts: [[3, 211]] })
  await refused({ code: 'INPUT', message: /prompt 1: token -1 is outside/ }, { prompts: [[-1]] })
  for (const [field, changes] of [['maxTokens', { maxTokens: 0 }], ['maxTokens', { maxTokens: 1.5 }], ['batch', { batch: 65 }], ['batch', { batch: 0 }], ['temperature', { sampling: { ...GREEDY, temperature: -0.1 } }],
    ['temperature', { sampling: { ...GREEDY, temperature: NaN } }], ['topK', { sampling: { ...GREEDY, topK: -1 } }], ['topP', { sampling: { ...GREEDY, topP: 0 } }], ['topP', { sampling: { ...GREEDY, topP: 1.1 } }]] as const)
    await refused({ code: 'USAGE', message: new RegExp(`^${field}: must be`) }, changes)
})

test('logits that are not finite are told, not sampled from', async () => {
  using device = new Device({ threads: 1 })
  const model: StoredModel = { config: MODELS.gpt2.config, parameters: () => [...MODELS.gpt2.parameters()].map(({ name, values }) => ({ name, values: name === 'norm_f.gain' ? values.fill(NaN) : values })) }
  await assert.rejects(texts({ device, model, prompts: [[1, 2]], maxTokens: 5, sampling: WARM }), { code: 'DIVERGED', message: /after token 2 of prompt 1 are not finite/ })
})

test('slots and rows that there are not are refused', async () => {
  using device = new Device({ threads: 1 })
  const { config } = MODELS.gpt2, options = { config, precision: 'f32' as const, slots: 2, capacity: 8, sampling: GREEDY }
  using session = new InferenceSession(device, options)
  await assert.rejects(session.prefill(2, [1]), { code: 'USAGE', message: /no slot 2: they are 0 to 1/ })
  await assert.rejects(session.prefill(0, prompt(9, 1)), { code: 'USAGE', message: /room for 8 tokens/ })
  const row = { slot: 0, cached: 0, token: 1, uniform: 0 }
  await assert.rejects(session.decode([row, row]), { code: 'USAGE', message: /each of another slot/ })
  await assert.rejects(session.decode([]), { code: 'USAGE' })
  await assert.rejects(session.decode([{ ...row, cached: 8 }]), { code: 'USAGE', message: /room for 8 tokens/ })
  await assert.rejects(session.decode([{ ...row, token: 211 }]), { code: 'INPUT' })
  assert.throws(() => new InferenceSession(device, { ...options, slots: 65 }), { code: 'USAGE', message: /slots/ })
  assert.throws(() => new InferenceSession(device, { ...options, capacity: 401 }), { code: 'USAGE', message: /capacity/ })
})
