import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { NichelmError } from '../../src/base/errors.js'
import { Fingerprints } from '../../src/recipe/fingerprint.js'
import { buildPipeline } from '../../src/recipe/pipeline.js'
import { readRecipe } from '../../src/recipe/read.js'
import { resolveRecipe, type Recipe } from '../../src/recipe/resolve.js'
import { runStages } from '../../src/recipe/stage.js'
import type { RunResult, Steps } from '../../src/recipe/steps.js'

const RECIPE = `name: small
data:
  root: text
  generic: {files: generic/*.txt, heldout: heldout.txt}
  domains:
    law: {train: law.txt, heldout: law-heldout.txt, tokens: 1000}
    medicine: {train: medicine, heldout: medicine-heldout.txt}
corpus: {context: 64}
pretrain: {steps: 200}
`

function folderWith(t: TestContext, recipe = RECIPE): string {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-pipeline-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'text', 'generic'), { recursive: true })
  mkdirSync(join(folder, 'text', 'medicine'))
  for (const name of ['generic/a', 'generic/b', 'heldout', 'law', 'law-heldout', 'medicine/x', 'medicine-heldout']) writeFileSync(join(folder, 'text', `${name}.txt`), `${name}\n`)
  writeFileSync(join(folder, 'recipe.yaml'), recipe)
  return folder
}

const resolved = (folder: string, overrides: string[] = []): Promise<Recipe> => {
  const file = join(folder, 'recipe.yaml')
  return resolveRecipe(readRecipe(file, overrides), file)
}

/** Steps that write nothing. */
const RUN: RunResult = { steps: 1, kept: 1, loss: 1, parameters: 1, tokens: 1, flops: 1, deviceHours: 1, device: 'none' }
const STEPS: Steps = {
  tokenizer: async () => ({ vocabulary: 300, hash: '' }),
  corpus: async () => ({ documents: 1, windows: 1, tokens: 1, textBytes: 1 }),
  clusters: async () => ({ clusters: 1, dimensions: 1, sample: 1, iterations: 1 }),
  assign: async () => ({ counts: [1], windows: 1, entropy: 0, topCluster: 0, topFraction: 1 }),
  weights: async () => ({ target: [1], effectiveSampleSize: 1, divergence: 0, genericEntropy: 0, specializationEntropy: 0, topFraction: 1, mostRepeated: 1, movedMass: 0, warnings: [] }),
  pretrain: async () => RUN,
  finetune: async () => RUN,
  evaluate: async () => ({ nll: 1, perplexity: Math.E, bitsPerByte: 1, targets: 1 }),
  report: async () => ({ table: '', results: [] }),
}

/** Names of the stages that a run had to make. */
async function made(folder: string, overrides: string[] = []): Promise<string[]> {
  const recipe = await resolved(folder, overrides)
  const { stages } = await buildPipeline(recipe, STEPS, new Fingerprints(join(recipe.output, 'files.json')))
  const outcomes = await runStages(stages, { signal: new AbortController().signal, log: () => {} })
  return outcomes.filter(outcome => !outcome.cached).map(outcome => outcome.name)
}

test('every stage once, each after what it needs', async t => {
  const folder = folderWith(t), recipe = await resolved(folder)
  const { stages } = await buildPipeline(recipe, STEPS, new Fingerprints(join(folder, 'files.json')))
  const names = stages.map(stage => stage.name)
  assert.deepEqual(names.filter(name => /^(pretrain|weights|clusters|finetune)/.test(name)), [
    'clusters', 'weights-law', 'weights-medicine', 'pretrain-slm', 'finetune-slm-law', 'pretrain-slm-is-law', 'finetune-slm-is-law',
    'finetune-slm-medicine', 'pretrain-slm-is-medicine', 'finetune-slm-is-medicine'])
  for (const [at, stage] of stages.entries()) for (const need of stage.needs) assert(stages.indexOf(need) < at, `${stage.name} before ${need.name}`)
  assert.equal(names.at(-1), 'report')
  assert.equal(new Set(names).size, names.length)
})

test('a changed setting redoes only what depends on it', async t => {
  const folder = folderWith(t)
  assert.equal((await made(folder)).length, 30)
  assert.deepEqual(await made(folder), [])
  assert.deepEqual(await made(folder, ['device.threads=1', 'pretrain.checkpointEvery=7', 'pretrain.keep=1']), [])
  assert.deepEqual(await made(folder, ['report.title=x']), ['report'])
  const tuned = await made(folder, ['finetune.rate=1e-3'])
  assert.equal(tuned.length, 9)
  assert(tuned.every(name => /^(finetune|evaluate-.*-after|report)/.test(name)), String(tuned))
  const clustered = await made(folder, ['clusters.count=8'])
  assert(clustered.includes('clusters') && clustered.includes('pretrain-slm-is-law') && clustered.includes('finetune-slm-is-law'))
  assert(!clustered.some(name => /^(tokenizer|corpus|pretrain-slm$|finetune-slm-law|evaluate-slm-law)/.test(name)), String(clustered))
  const pretrained = await made(folder, ['pretrain.rate=3e-3'])
  assert(!pretrained.some(name => /^(tokenizer|corpus|clusters|assign|weights)/.test(name)), String(pretrained))
  assert.deepEqual(await made(folder, ['methods=[slm]', 'domains=[law]']), ['report'])
})

test('a changed text redoes what it goes into', async t => {
  const folder = folderWith(t)
  await made(folder)
  appendFileSync(join(folder, 'text', 'law.txt'), 'more\n')
  const again = await made(folder)
  assert(again.includes('corpus-law') && again.includes('pretrain-slm-is-law') && again.includes('finetune-slm-law'))
  assert(!again.some(name => name.includes('medicine') || name === 'pretrain-slm' || name === 'clusters'), String(again))
})

test('settings that contradict each other are told with line and field', async t => {
  const folder = folderWith(t)
  const cases: [string[], string, RegExp][] = [
    [['corpus.context=512'], 'corpus.context', /at most 256/],
    [['corpus.minimumLength=65'], 'corpus.minimumLength', /at most 64/],
    [['pretrain.tokens=1M'], 'pretrain.steps', /both/],
    [['pretrain.accumulate=3'], 'pretrain.accumulate', /32 rows/],
    [['pretrain.warmup=200'], 'pretrain.warmup', /rising/],
    [['domains=[lav]'], 'domains.0', /no domain lav/],
    [['model.heads=5'], 'model.heads', /divide/],
    [['clusters.count=30000'], 'clusters.count', /sample/],
    [['data.generic.heldout=generic/a.txt'], 'data.generic.heldout', /trained on/],
    [['data.domains.law.heldout=law.txt'], 'data.domains.law.heldout', /trained on/],
    [['data.domains.law.train=nothing/*.txt'], 'data.domains.law.train', /no file matches/],
    [['data.domains.law.train=nothing.txt'], 'data.domains.law.train', /no such file/],
    [['data.root=/nowhere/at/all'], 'data.root', /does not exist/],
    [['tokenizer.file=none.json'], 'tokenizer.file', /does not exist/],
    [['tokenizer.file=recipe.yaml', 'tokenizer.vocabulary=300'], 'tokenizer.vocabulary', /not trained/],
    [['device.threads=4096'], 'device.threads', /this machine gives/],
    [[`output=${join(folder, 'recipe.yaml')}`], 'output', /is a file/],
  ]
  for (const [overrides, field, message] of cases) {
    await assert.rejects(resolved(folder, overrides), (error: unknown) => {
      assert(error instanceof NichelmError, String(error))
      assert(error.place.field?.endsWith(field), `${overrides}: ${error.message}`)
      assert.match(error.message, message)
      return true
    })
  }
  writeFileSync(join(folder, 'recipe.yaml'), RECIPE.replace('context: 64', 'context: 640'))
  await assert.rejects(resolved(folder), /recipe\.yaml:8: corpus\.context: is 640/)
})

test('tokens are turned into whole steps', async t => {
  const folder = folderWith(t, RECIPE.replace('steps: 200', 'tokens: 3M'))
  assert.equal((await resolved(folder)).steps, Math.floor(3e6 / (32 * 64)))
  await assert.rejects(resolved(folder, ['pretrain.tokens=100']), /less than one step/)
})
