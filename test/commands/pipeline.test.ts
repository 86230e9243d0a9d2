import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { SafetensorsFile, writeSafetensors } from '../../src/base/safetensors.js'
import { documents, nichelm, temporary, type Outcome } from './commandLine.js'

const LAW = 'court appeal judge section tribunal evidence order applicant', SEA = 'ship sail harbour captain wind wave island anchor'
const RECIPE = `name: tiny
description: Law from a sea of texts
output: out
device: {threads: 1, precision: f32}
data:
  generic: {files: generic.jsonl, heldout: generic-heldout.jsonl}
  domains: {law: {train: law.jsonl, heldout: law-heldout.jsonl, tokens: 4000}}
tokenizer: {vocabulary: 300}
corpus: {context: 32, minimumLength: 8}
model: {preset: nano, layers: 1, width: 32, heads: 2, context: 32}
clusters: {count: 4, dimensions: 8}
pretrain: {steps: 30, batch: 4, rate: 2e-3, warmup: 5, evaluateEvery: 10, checkpointEvery: 5}
finetune: {steps: 10, batch: 4, evaluateEvery: 5, patience: 2}
`

function texts(folder: string): void {
  mkdirSync(folder, { recursive: true })
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text)
  write('generic.jsonl', documents(LAW, 40) + documents(SEA, 120))
  write('generic-heldout.jsonl', documents(LAW, 5, 100) + documents(SEA, 10, 100))
  write('law.jsonl', documents(LAW, 30, 110))
  write('law-heldout.jsonl', documents(LAW, 8, 90))
}

function ok<Result>({ code, err, out }: Outcome): Result {
  assert.equal(code, 0, err)
  return JSON.parse(out) as Result
}

interface Run { stages: { name: string; cached: boolean }[]; report: string; results: { method: string; before: { perplexity: number }; after: { perplexity: number } }[] }

test('a model learns from a teacher that computes along, or from its most probable tokens kept on disk', async t => {
  const folder = temporary(t), recipe = join(folder, 'recipe.yaml')
  texts(folder)
  writeFileSync(recipe, `${RECIPE}methods: [slm, slm-d]\nllm: {preset: nano, layers: 1, width: 64, heads: 2, context: 32}\n`)
  const costsOf = () => (JSON.parse(readFileSync(join(folder, 'out', 'finetune-slm-d-law', 'stage.json'), 'utf8')) as { result: { costs: { flops: number }; steps: number } }).result
  const plain = ok<Run>(await nichelm(['run', recipe, '--json', '--set', 'distill.alpha=0.7'])), along = costsOf()
  const kept = ok<Run>(await nichelm(['run', recipe, '--json', '--set', 'distill.alpha=0.7', '--set', 'distill.top=20'])), cached = costsOf()
  for (const { results } of [plain, kept]) {
    assert.deepEqual(results.map(result => result.method), ['slm', 'slm-d'])
    assert(results[1]!.after.perplexity < results[1]!.before.perplexity)
    assert.notEqual(results[1]!.after.perplexity, results[0]!.after.perplexity)
  }
  const report = JSON.parse(readFileSync(join(folder, 'out', 'finetune-slm-d-law', 'teacher.json'), 'utf8')) as { k: number; truncation: { restMass: number }; costs: { flops: number } }
  assert(report.k === 20 && report.truncation.restMass > 0 && report.truncation.restMass < 1)
  assert(cached.costs.flops > report.costs.flops && along.costs.flops > 0)
})

test('a recipe from text to a specialized model; the second run does nothing; a changed setting redoes what it must', async t => {
  const folder = temporary(t), recipe = join(folder, 'recipe.yaml')
  texts(folder)
  writeFileSync(recipe, RECIPE)
  const dry = ok<{ parameters: number; flops: number; stages: Run['stages'] }>(await nichelm(['run', recipe, '--dry-run', '--json']))
  assert(dry.parameters > 0 && dry.flops > 0 && dry.stages.every(stage => !stage.cached))
  assert.equal(existsSync(join(folder, 'out')), false, 'a dry run makes nothing')

  const first = await nichelm(['run', recipe, '--json'])
  const { stages, results, report } = ok<Run>(first)
  assert.deepEqual(stages.map(stage => stage.name), dry.stages.map(stage => stage.name))
  assert.deepEqual(results.map(result => result.method), ['slm', 'slm-is'])
  for (const { before, after } of results) assert(after.perplexity < before.perplexity)
  assert.match(readFileSync(report, 'utf8'), /Law from a sea of texts[^]*<svg/)
  for (const name of ['config.json', 'model.safetensors', 'tokenizer.json']) assert(existsSync(join(folder, 'out', 'finetune-slm-is-law', 'model', name)), name)

  const second = await nichelm(['run', recipe])
  assert.equal(second.code, 0, second.err)
  assert.equal(second.err.split('\n').filter(line => line.endsWith('cached')).length, stages.length)
  assert.match(second.out, /slm-is/)

  const third = ok<Run>(await nichelm(['run', recipe, '--json', '--set', 'finetune.rate=1e-3', '--set', 'finetune.patience=3']))
  assert(third.stages.filter(stage => !stage.cached).every(stage => /^(finetune|evaluate-.*-after|report)/.test(stage.name)))
  assert.equal(third.stages.filter(stage => !stage.cached).length, 5)
})

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`a run stopped by ${signal} in the middle of training goes on, bit for bit`, async t => {
    const folder = temporary(t), recipe = join(folder, 'recipe.yaml')
    texts(folder)
    writeFileSync(recipe, RECIPE)
    const run = (output: string) => ['run', recipe, '--set', 'methods=[slm]', '--set', 'pretrain.steps=300', '--output', join(folder, output)]
    const stopped = await nichelm(run('stopped'), { signal, when: () => losses(join(folder, 'stopped')).length > 12 })
    if (signal === 'SIGTERM') assert.equal(stopped.code, 130, stopped.err)
    else assert.equal(stopped.signal, signal, stopped.err)
    const done = losses(join(folder, 'stopped')).length
    assert(done > 12 && done < 300, `stopped after ${done} steps`)
    assert.equal(existsSync(join(folder, 'stopped', 'pretrain-slm')), false)

    const again = await nichelm([...run('stopped'), '--json'])
    const stages = ok<Run>(again).stages
    assert.equal(stages.find(stage => stage.name === 'corpus-generic')?.cached, true)
    assert.equal(stages.find(stage => stage.name === 'pretrain-slm')?.cached, false)
    ok<Run>(await nichelm([...run('whole'), '--json']))
    assert.equal(losses(join(folder, 'whole')).length, 300)
    assert.deepEqual(losses(join(folder, 'stopped')), losses(join(folder, 'whole')))
  })
}

/** Training losses of pretrain-slm so far. */
function losses(output: string): number[] {
  const stages = join(output, 'stages')
  const run = existsSync(stages) ? readdirSync(stages).find(name => name.startsWith('pretrain-slm-')) : undefined
  const file = run && join(stages, run, 'metrics.jsonl')
  if (!file || !existsSync(file)) return []
  return readFileSync(file, 'utf8').split('\n').slice(0, -1).map(line => JSON.parse(line) as { kind: string; loss: number }).filter(metric => metric.kind === 'train').map(metric => metric.loss)
}

test('the same work verb by verb', async t => {
  const folder = temporary(t), at = (name: string) => join(folder, name)
  texts(folder)
  const json = async (...args: string[]) => ok<Record<string, number>>(await nichelm([...args, '--json']))
  const tokenizer = at('tokenizer.json')
  assert.equal((await json('tokenizer', 'train', '--text', at('generic.jsonl'), '--vocabulary', '300', '--into', tokenizer))['vocabulary'], 300)
  for (const name of ['generic', 'law', 'law-heldout']) {
    const built = await json('corpus', 'build', '--text', at(`${name}.jsonl`), '--tokenizer', tokenizer, '--context', '32', '--minimum-length', '8', '--into', at(name))
    const { windows, tokens } = await json('corpus', 'info', at(name))
    assert(windows! > 0)
    assert.deepEqual([built['windows'], built['tokens']], [windows, tokens])
  }
  await json('cluster', 'fit', '--corpus', at('generic'), '--tokenizer', tokenizer, '--clusters', '4', '--dimensions', '8', '--into', at('clusters'))
  for (const name of ['generic', 'law']) await json('cluster', 'assign', '--corpus', at(name), '--tokenizer', tokenizer, '--clusters', at('clusters'), '--into', at(`${name}-clusters`))
  const weights = await json('weights', '--generic', at('generic-clusters'), '--specialization', at('law-clusters'), '--draws', '80', '--into', at('weights.json'))
  assert(weights['effective_sample_size']! > 0)
  const model = ['--layers', '1', '--width', '32', '--heads', '2', '--threads', '1', '--precision', 'f32']
  await json('train', '--corpus', at('generic'), '--tokenizer', tokenizer, '--weights', at('weights.json'), '--assignments', at('generic-clusters'), ...model, '--steps', '20', '--warmup', '5', '--rate', '2e-3', '--batch', '4', '--into', at('run'))
  const before = await json('evaluate', '--model', at('run/model'), '--corpus', at('law-heldout'))
  await json('finetune', '--model', at('run/model'), '--corpus', at('law'), '--steps', '10', '--batch', '4', '--evaluate-every', '5', '--threads', '1', '--into', at('law-run'))
  const after = await json('evaluate', '--model', at('law-run/model'), '--corpus', at('law-heldout'))
  assert(after['perplexity']! < before['perplexity']! && before['perplexity']! < 300)

  // Raw ids, and the logits that give the same loss.
  const ids = BigInt64Array.from({ length: 2 * 16 }, (_, i) => BigInt((i * 37) % 300))
  writeSafetensors(at('ids.safetensors'), [{ name: 'input_ids', dtype: 'I64', shape: [2, 16], data: ids }])
  const { loss, perplexity } = await json('evaluate', '--model', at('run/model'), '--tokens', at('ids.safetensors'), '--logits', at('logits.safetensors'), '--precision', 'f32')
  assert.equal(perplexity, Math.exp(loss!))
  using file = new SafetensorsFile(at('logits.safetensors'))
  assert.deepEqual(file.entry('logits').shape, [2, 16, 300])
  assert(Math.abs(lossOf(file.readF32('logits'), ids, 16, 300) - loss!) < 1e-4)

  const wrong = await nichelm(['train', '--corpus', at('generic'), '--tokenizer', tokenizer, '--weights', at('weights.json'), '--assignments', at('law-clusters'), '--steps', '5', '--into', at('no')])
  assert.equal(wrong.code, 3, wrong.err)
  assert.match(wrong.err, /another corpus/)
})

/** Mean negative log-likelihood of each row's next ids under its logits, in double. */
function lossOf(logits: Float32Array, ids: BigInt64Array, length: number, vocabulary: number): number {
  let sum = 0, count = 0
  for (let i = 0; i < ids.length; i++) {
    if ((i + 1) % length === 0) continue
    const row = Array.from(logits.subarray(i * vocabulary, (i + 1) * vocabulary)), most = Math.max(...row)
    sum += most + Math.log(row.reduce((total, x) => total + Math.exp(x - most), 0)) - row[Number(ids[i + 1])]!
    count++
  }
  return sum / count
}

test('bad text is an input error that names file and line, and leaves earlier results', async t => {
  const folder = temporary(t), recipe = join(folder, 'recipe.yaml')
  texts(folder)
  writeFileSync(recipe, RECIPE)
  writeFileSync(join(folder, 'law-heldout.jsonl'), '{"text": "fine"}\n{"text": "cut sho')
  const { code, err } = await nichelm(['run', recipe])
  assert.equal(code, 3)
  assert.match(err, /law-heldout\.jsonl:2: /)
  assert(existsSync(join(folder, 'out', 'corpus-law', 'corpus.json')))
  assert.equal(existsSync(join(folder, 'out', 'corpus-law-heldout')), false)
  assert.equal(existsSync(join(folder, 'out', 'lock.json')), false)
})

test('a damaged shard is told with what to delete, and is then made again', async t => {
  const folder = temporary(t), recipe = join(folder, 'recipe.yaml'), run = ['run', recipe, '--set', 'methods=[slm]']
  texts(folder)
  writeFileSync(recipe, RECIPE)
  ok(await nichelm([...run, '--json']))
  const corpus = realpathSync(join(folder, 'out', 'corpus-generic')), shard = join(corpus, 'tokens-00000.bin'), bytes = readFileSync(shard)
  bytes[100]! ^= 1
  writeFileSync(shard, bytes)
  const damaged = await nichelm([...run, '--set', 'pretrain.rate=1e-3'])
  assert.equal(damaged.code, 4)
  assert.match(damaged.err, /tokens-00000\.bin: /)
  assert(damaged.err.includes(`Delete ${corpus} and run again`), damaged.err)
  rmSync(corpus, { recursive: true })
  const { stages } = ok<Run>(await nichelm([...run, '--set', 'pretrain.rate=1e-3', '--json']))
  assert.deepEqual(stages.filter(stage => !stage.cached).map(stage => stage.name), ['corpus-generic', 'pretrain-slm', 'evaluate-slm-generic', 'evaluate-slm-law-before', 'finetune-slm-law', 'evaluate-slm-law-after', 'report'])
})

test('bench tells speed as JSON', async () => {
  const train = ok<Record<string, number>>(await nichelm(['bench', 'train', '--model', 'nano', '--vocab', '300', '--layers', '1', '--width', '32', '--heads', '2', '--batch', '2', '--context', '32', '--steps', '2', '--threads', '1', '--json']))
  for (const key of ['tokens_per_second', 'parameters', 'flops_per_token', 'peak_fraction']) assert(train[key]! > 0, key)
  const profiled = await nichelm(['bench', 'train', '--model', 'nano', '--vocab', '300', '--layers', '1', '--width', '32', '--heads', '2', '--batch', '2', '--context', '32', '--steps', '2', '--threads', '1', '--profile'])
  assert.equal(profiled.code, 0, profiled.err)
  for (const op of ['matmul', 'attention_gradient', 'linear_cross_entropy_gradient', 'adamw']) assert.match(profiled.out, new RegExp(`│ ${op} +│ +\\d+ │ +\\d+\\.\\d+ │ +\\d+\\.\\d%`), op)
  assert(ok<Record<string, number>>(await nichelm(['bench', 'matmul', '--m', '64', '--n', '64', '--k', '64', '--steps', '2', '--threads', '1', '--json']))['flops_per_second']! > 0)
  assert(ok<Record<string, number>>(await nichelm(['bench', 'attention', '--rows', '1', '--context', '32', '--heads', '2', '--head-width', '16', '--steps', '2', '--threads', '1', '--json']))['flops_per_second']! > 0)
  assert(ok<Record<string, number>>(await nichelm(['bench', 'kmeans', '--rows', '500', '--width', '8', '--clusters', '4', '--threads', '1', '--json']))['iterations']! > 0)
})
