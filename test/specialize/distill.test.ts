import assert from 'node:assert/strict'
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { availableThreads, Device } from '../../bindings/index.js'
import { openCorpus, type Corpus } from '../../src/corpus/index.js'
import { modelConfig, ModelSession, openHuggingFace, saveModel, type ModelConfig } from '../../src/model/index.js'
import { cacheTeacher, finetune, openTeacher, readTeacherReport, type Distillation, type FinetuneOptions } from '../../src/specialize/index.js'
import { Tokenizer } from '../../src/text/index.js'
import { MetricsFile } from '../../src/train/index.js'
import { build, failure, temporaryFolder } from '../corpus/support.js'

const VOCABULARY = 257, CONTEXT = 16
const student = modelConfig('nano', VOCABULARY, { layers: 1, width: 16, heads: 2, context: CONTEXT }), larger = modelConfig('nano', VOCABULARY, { layers: 2, width: 24, heads: 2, context: CONTEXT + 4 })
const settings = {
  steps: 8, batch: 4, accumulate: 2, rate: 1e-3, warmup: 2, schedule: 'constant' as const, finalRate: 0.1, weightDecay: 0, betas: [0.9, 0.95] as const, epsilon: 1e-8, clip: 1,
  evaluateEvery: 4, checkpointEvery: 3, keep: 2, patience: 50,
}

/** A model whose logits differ: parameters start larger than they usually do. */
async function model(device: Device, folder: string, config: ModelConfig, seed: number, factor = 8): Promise<string> {
  using session = new ModelSession(device, { config, precision: 'f32', rows: 1 })
  await session.initialize(seed)
  for (const { name, shape } of session.specs('values')) if (shape.length > 1) session.write('values', name, session.read('values', name).map((value) => value * factor))
  await saveModel(folder, session)
  return folder
}

interface Scene extends Disposable { device: Device; folder: string; corpus: Corpus; teacher: string; student: string }
async function scene(t: TestContext): Promise<Scene> {
  const folder = temporaryFolder(t), device = new Device({ threads: 1 })
  const texts = Array.from({ length: 24 }, (_, i) => Array.from({ length: 20 + ((i * 13) % 50) }, (__, j) => 'the small language models of a domain'[(i * j + j) % 37]).join(''))
  await build(join(folder, 'corpus'), texts)
  const corpus = openCorpus(join(folder, 'corpus'))
  return {
    device, folder, corpus, teacher: await model(device, join(folder, 'teacher'), larger, 1), student: await model(device, join(folder, 'student'), student, 2, 1),
    [Symbol.dispose]() { corpus.dispose(); device.dispose() },
  }
}

/** A teacher's logits for one window alone. */
async function logitsOf(scene: Scene, window: number): Promise<{ logits: Float32Array; targets: number }> {
  const stored = openHuggingFace(scene.teacher), { length } = scene.corpus.window(window), tokens = new Int32Array(length)
  scene.corpus.readWindow(window, tokens)
  using session = new ModelSession(scene.device, { config: stored.config, precision: 'f32', rows: 1, length, logits: true })
  for (const { name, values } of stored.parameters()) session.write('values', name, values)
  const logits = await session.logits({ rows: 1, length, tokens, targets: new Int32Array(length), weights: new Float32Array(length), starts: new Int32Array(length) })
  return { logits, targets: length - 1 }
}

const softmax = (logits: ArrayLike<number>, temperature: number): number[] => {
  const largest = Math.max(...Array.from(logits)), e = Array.from(logits, (z) => Math.exp((z - largest) / temperature)), total = e.reduce((a, b) => a + b)
  return e.map((value) => value / total)
}

test("a cache holds each target's most probable tokens, and says what is left out", async (t) => {
  using s = await scene(t)
  const temperature = 2, k = 9, teacher = openTeacher(s.teacher, student, s.corpus)
  for (const probabilities of ['f16', 'f32'] as const) {
    using cache = await cacheTeacher({ folder: join(s.folder, probabilities), teacher, corpus: s.corpus, device: s.device, precision: 'f32', k, temperature, probabilities, partBytes: 2000 })
    assert.ok(readdirSync(join(s.folder, probabilities)).length > 4, 'it is in parts')
    let rest = 0, lost = 0, count = 0
    for (let window = 0; window < s.corpus.windows; window++) {
      const { logits, targets } = await logitsOf(s, window)
      const into = { ids: new Int32Array((targets + 2) * k).fill(-1), probabilities: new Float32Array((targets + 2) * k) }
      cache.read(window, targets, into, 1)
      assert.ok(into.ids.slice(0, k).every((id) => id === -1) && into.ids.slice(-k).every((id) => id === -1), 'nothing beside it is written')
      for (let target = 0; target < targets; target++) {
        const q = softmax(logits.subarray(target * VOCABULARY, (target + 1) * VOCABULARY), temperature), kept = into.ids.subarray((target + 1) * k, (target + 2) * k)
        const others = q.filter((_, v) => !kept.includes(v)), left = others.reduce((a, b) => a + b, 0)
        assert.ok(new Set(kept).size === k && Math.min(...Array.from(kept, (v) => q[v]!)) >= Math.max(...others) * (1 - 1e-5), 'they are the most probable')
        const values = into.probabilities.subarray((target + 1) * k, (target + 2) * k)
        kept.forEach((v, j) => assert.ok(Math.abs(values[j]! / q[v]! - 1) < (probabilities === 'f16' ? 1e-3 : 1e-5), `${values[j]} for ${q[v]}`))
        assert.ok(Math.abs(1 - left - values.reduce((a, b) => a + b, 0)) < 1e-6, 'they sum to what is not in the rest')
        rest += left
        lost += others.reduce((sum, p) => sum + p * Math.log((p * others.length) / left), 0)
        count++
      }
    }
    assert.equal(cache.truncation.targets, count)
    assert.ok(Math.abs(cache.truncation.restMass / (rest / count) - 1) < 1e-4, `${cache.truncation.restMass} and ${rest / count}`)
    assert.ok(Math.abs(cache.truncation.lost / (lost / count) - 1) < 1e-3, `${cache.truncation.lost} and ${lost / count}`)
    assert.equal(cache.costs.tokens, s.corpus.manifest.counts.tokens)
    assert.ok(cache.costs.flops > 0 && cache.costs.deviceHours > 0)
  }
})

function damage(file: string): void {
  const bytes = readFileSync(file)
  bytes[bytes.length - 5]! ^= 1
  writeFileSync(file, bytes)
}

test('an interrupted cache goes on where it was, and gives the same bytes', async (t) => {
  using s = await scene(t)
  const options = { teacher: openTeacher(s.teacher, student, s.corpus), corpus: s.corpus, device: s.device, precision: 'bf16' as const, k: 5, temperature: 1, partBytes: 1000 }
  const whole = join(s.folder, 'whole'), pieces = join(s.folder, 'pieces')
  using first = await cacheTeacher({ ...options, folder: whole })
  const abort = new AbortController()
  await assert.rejects(cacheTeacher({ ...options, folder: pieces, signal: abort.signal, onProgress: (windows) => windows > 8 && abort.abort() }), { code: 'INTERRUPTED' })
  const done = readdirSync(pieces).sort()
  assert.ok(done.length >= 2 && !existsSync(join(pieces, 'teacher.json')))
  // One part is damaged, as by a disk: it is computed again; the others are not.
  damage(join(pieces, done[0]!))
  const written = (name: string): number => statSync(join(pieces, name)).mtimeMs, before = done.map(written)
  using second = await cacheTeacher({ ...options, folder: pieces })
  assert.deepEqual(done.map((name, i) => written(name) === before[i]), done.map((_, i) => i > 0))
  const names = readdirSync(whole).filter((name) => name.endsWith('.safetensors')), data = (folder: string, name: string): Buffer => {
    const bytes = readFileSync(join(folder, name))
    return bytes.subarray(8 + Number(bytes.readBigUInt64LE()))
  }
  for (const name of names) assert.ok(data(whole, name).equals(data(pieces, name)), name)
  assert.deepEqual(second.truncation, first.truncation)
  assert.equal(second.costs.flops, first.costs.flops)
  await assert.rejects(cacheTeacher({ ...options, folder: whole, temperature: 2 }), failure('CONFIG', /holds another teacher's distributions/))
  damage(join(whole, names[1]!))
  using damaged = await cacheTeacher({ ...options, folder: whole })
  const into = { ids: new Int32Array(5 * CONTEXT), probabilities: new Float32Array(5 * CONTEXT) }
  assert.throws(() => { for (let window = 0; window < s.corpus.windows; window++) damaged.read(window, 1, into, 0) }, failure('CORRUPT', new RegExp(names[1]!)))
})

const run = (s: Scene, name: string, distill?: Distillation, changes: Partial<FinetuneOptions> = {}): FinetuneOptions => ({
  folder: join(s.folder, name), device: s.device, precision: 'f32', model: s.student, corpus: s.corpus, validationShare: 0.2, settings, seed: 3, identity: 'test', ...(distill ? { distill } : {}), ...changes,
})
const losses = (s: Scene, name: string): number[] => new MetricsFile(join(s.folder, name, 'metrics.jsonl')).read().flatMap((metric) => (metric.kind === 'train' ? [metric.loss] : [metric.nll]))
const close = (got: readonly number[], want: readonly number[], bound: number): void => {
  assert.equal(got.length, want.length)
  got.forEach((value, i) => assert.ok(Math.abs(value / want[i]! - 1) < bound, `${value} and ${want[i]}`))
}

test('a teacher that computes along and a cache of all tokens teach the same; without a share it is plain fine-tuning', async (t) => {
  using s = await scene(t)
  const distill = { teacher: s.teacher, alpha: 0.7, temperature: 2 }
  const plain = await finetune(run(s, 'plain')), online = await finetune(run(s, 'online', distill))
  const cached = await finetune(run(s, 'cached', { ...distill, cache: { folder: join(s.folder, 'cache'), k: VOCABULARY, probabilities: 'f32' } }))
  await finetune(run(s, 'few', { ...distill, cache: { folder: join(s.folder, 'few tokens'), k: 16 } }))
  await finetune(run(s, 'none', { ...distill, alpha: 0 }))
  close(losses(s, 'cached'), losses(s, 'online'), 1e-5)
  close(losses(s, 'none'), losses(s, 'plain'), 1e-5)
  assert.ok(losses(s, 'online').some((loss, i) => Math.abs(loss / losses(s, 'plain')[i]! - 1) > 0.01), 'the teacher matters')
  assert.ok(losses(s, 'few').some((loss, i) => Math.abs(loss / losses(s, 'online')[i]! - 1) > 1e-4), 'so does how much of it is kept')
  // The teacher's work is in the run's costs where it computes along, else in the cache's.
  assert.equal(cached.costs.flops, plain.costs.flops)
  assert.ok(online.costs.flops > 1.5 * plain.costs.flops, `${online.costs.flops} and ${plain.costs.flops}`)
  const report = readTeacherReport(join(s.folder, 'cached'))
  assert.ok(report.costs!.flops > 0 && report.truncation!.restMass === 0 && report.k === VOCABULARY)
  assert.ok(readTeacherReport(join(s.folder, 'online')).costs === null && readTeacherReport(join(s.folder, 'few')).truncation!.restMass > 0)
  assert.equal(readTeacherReport(join(s.folder, 'online')).teacher, report.teacher)
  // A finished run is read, with no teacher at hand.
  rmSync(join(s.folder, 'cache'), { recursive: true })
  assert.deepEqual(await finetune(run(s, 'cached', { ...distill, cache: { folder: join(s.folder, 'cache'), k: VOCABULARY, probabilities: 'f32' } })), cached)
  assert.ok(!existsSync(join(s.folder, 'cache')))
})

test('a student becomes like its teacher', async (t) => {
  using s = await scene(t)
  const distill = { teacher: s.teacher, alpha: 1, temperature: 1 }, long = { ...settings, steps: 120, rate: 1e-2, evaluateEvery: 0 }
  await finetune(run(s, 'run', distill, { settings: long }))
  const all = losses(s, 'run').filter((_, i) => i > 0), first = all[0]!, last = all.slice(-12, -2).reduce((a, b) => a + b) / 10
  assert.ok(last < 0.6 * first, `the divergence goes from ${first} to ${last}`)
})

test('an interrupted run goes on bit for bit', async (t) => {
  using s = await scene(t)
  const distill = { teacher: s.teacher, alpha: 0.5, temperature: 1.5, cache: { folder: join(s.folder, 'cache'), k: 8 } }
  await finetune(run(s, 'whole', distill, { precision: 'bf16' }))
  const abort = new AbortController()
  using other = new Device({ threads: availableThreads() })
  await assert.rejects(finetune(run(s, 'pieces', distill, { precision: 'bf16', device: other, signal: abort.signal, onProgress: ({ step }) => step >= 5 && abort.abort() })), { code: 'INTERRUPTED' })
  await finetune(run(s, 'pieces', distill, { precision: 'bf16' }))
  assert.deepEqual(losses(s, 'pieces'), losses(s, 'whole'))
  await assert.rejects(finetune(run(s, 'pieces', { ...distill, alpha: 0.6 }, { precision: 'bf16' })), { code: 'CONFIG' })
})

test('what cannot be is told before any work', async (t) => {
  using s = await scene(t)
  const refused = async (distill: Distillation, code: Parameters<typeof failure>[0], message: RegExp, changes: Partial<FinetuneOptions> = {}): Promise<void> => {
    await assert.rejects(finetune(run(s, 'run', distill, changes)), failure(code, message))
    assert.ok(!existsSync(join(s.folder, 'run')) && !existsSync(join(s.folder, 'cache')))
  }
  const good = { teacher: s.teacher, alpha: 0.5, temperature: 1 }, cache = { folder: join(s.folder, 'cache'), k: 8 }
  const words = await model(s.device, join(s.folder, 'words'), modelConfig('nano', 300, { layers: 1, width: 16, heads: 2, context: CONTEXT }), 1)
  await refused({ ...good, teacher: words }, 'INPUT', /vocabulary of 300 tokens, .* one of 257/)
  const short = await model(s.device, join(s.folder, 'short'), { ...student, context: CONTEXT - 1 }, 1)
  await refused({ ...good, teacher: short }, 'CONFIG', /context of 15 tokens/)
  await refused({ ...good, teacher: join(s.folder, 'nowhere') }, 'INPUT', /nowhere/)
  await refused({ ...good, alpha: 1.1, cache }, 'CONFIG', /alpha: must be from 0 to 1/)
  await refused({ ...good, temperature: 0, cache }, 'CONFIG', /temperature: must be positive/)
  await refused({ ...good, cache: { ...cache, k: 258 } }, 'CONFIG', /k: must be a whole number from 1 to the 257/)
  await refused({ ...good, cache }, 'CONFIG', /replay/, { replay: { corpus: s.corpus, share: 0.1 } })
  using tokenizer = await Tokenizer.train(['a tokenizer of its own'], { vocabularySize: 257 })
  const other = await model(s.device, join(s.folder, 'other'), larger, 1)
  tokenizer.save(join(s.folder, 'tokenizer.json'))
  copyFileSync(join(s.folder, 'tokenizer.json'), join(other, 'tokenizer.json'))
  await refused({ ...good, teacher: other }, 'INPUT', /another tokenizer/)
})
