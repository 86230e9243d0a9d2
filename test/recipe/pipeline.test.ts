import assert from 'node:assert/strict'
import { appendFileSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { packageRoot } from '../../bindings/index.js'
import { NichelmError } from '../../src/base/errors.js'
import { stagesOf } from '../../src/recipe/findCells.js'
import { Fingerprints } from '../../src/recipe/fingerprint.js'
import { readRecipe } from '../../src/recipe/read.js'
import { recipeCells, resolveRecipe, type Recipe } from '../../src/recipe/resolve.js'
import { recipeStages, runRecipe } from '../../src/recipe/run.js'
import { Tokenizer } from '../../src/text/index.js'
import { DATA, STEPS, textFolder } from './support.js'

const RECIPE = `name: small
${DATA}pretrain: {steps: 200}
`

function folderWith(t: TestContext, recipe = RECIPE): string {
  const folder = textFolder(t)
  writeFileSync(join(folder, 'recipe.yaml'), recipe)
  return folder
}

const resolved = (folder: string, overrides: string[] = []): Promise<Recipe> => {
  const file = join(folder, 'recipe.yaml')
  return resolveRecipe(readRecipe(file, overrides), file)
}

/** Names of the stages that a run had to make. */
async function made(folder: string, overrides: string[] = [], steps = STEPS): Promise<string[]> {
  const { outcomes } = await runRecipe(await resolved(folder, overrides), steps, { signal: new AbortController().signal, log: () => {} })
  return outcomes.filter(outcome => !outcome.cached).map(outcome => outcome.name)
}

/** Stages as a dry run names them. */
async function planned(folder: string, overrides: string[] = []) {
  const recipe = await resolved(folder, overrides)
  return stagesOf(await recipeStages(recipe, STEPS, new Fingerprints(join(folder, 'files.json'))), recipeCells(recipe))
}

test('every stage once, each after what it needs', async t => {
  const folder = folderWith(t), stages = await planned(folder), names = stages.map(stage => stage.name)
  assert.deepEqual(names.filter(name => /^(pretrain|weights|clusters|finetune)/.test(name)), [
    'clusters', 'weights-law', 'weights-medicine', 'pretrain-slm', 'finetune-slm-law', 'pretrain-slm-is-law', 'finetune-slm-is-law',
    'finetune-slm-medicine', 'pretrain-slm-is-medicine', 'finetune-slm-is-medicine'])
  for (const [at, stage] of stages.entries()) for (const need of stage.needs) assert(stages.indexOf(need) < at, `${stage.name} before ${need.name}`)
  assert.equal(new Set(names).size, names.length)
  assert.deepEqual((await made(folder)).toSorted(), [...names, 'report'].toSorted())
})

test('every method of the paper', async t => {
  const folder = folderWith(t), all = ['methods=[slm, slm-is, slm-pn, slm-mix, slm-d, slm-nopt, llm, llm-lora]', 'domains=[law]', 'model=nano', 'llm=mini', 'mixture.count=3', 'projected.experts=3', 'pretrain.warmup=10']
  const dry = (await planned(folder, all)).map(stage => stage.name)
  // The expert is not known before the clusters are.
  assert(dry.includes('instantiate-slm-pn-expert?') && dry.includes('finetune-slm-mix-expert?-law'), String(dry))
  assert.equal(existsSync(join(folder, 'runs')), false, 'a dry run makes nothing')
  const names = await made(folder, all)
  for (const name of [
    'pretrain-slm', 'pretrain-llm', 'pretrain-slm-is-law', 'pretrain-slm-pn', 'pretrain-slm-mix-expert0', 'pretrain-slm-mix-expert2', 'instantiate-slm-pn-expert0', 'finetune-slm-law',
    'finetune-slm-is-law', 'finetune-slm-pn-expert0-law', 'finetune-slm-mix-expert0-law', 'finetune-slm-d-law', 'finetune-slm-nopt-law', 'finetune-llm-law', 'finetune-llm-lora-law',
  ]) assert(names.includes(name), `${name} in ${names}`)
  assert.equal(new Set(names).size, names.length)
  assert.deepEqual(await made(folder, all), [])
  assert.deepEqual((await made(folder, [...all, 'distill.alpha=0.9'])).toSorted(), ['evaluate-slm-d-law-after', 'finetune-slm-d-law', 'report'])
})

test('the expert is that of the choice, and untrained ones are told before anything is trained', async t => {
  const folder = folderWith(t), only = ['methods=[slm-mix]', 'domains=[law]', 'mixture.count=3', 'pretrain.warmup=10'], ran: string[] = []
  const steps = { ...STEPS, pretrain: async (context: { name: string }, input: never) => (ran.push(context.name), STEPS.pretrain(context as never, input)) }
  await assert.rejects(made(folder, [...only, 'mixture.experts="1-2"'], steps), /law needs expert 0.*only 1-2 are trained/)
  assert.deepEqual(ran, [])
  assert((await made(folder, [...only, 'mixture.experts="0,2"'])).includes('finetune-slm-mix-expert0-law'))
  // What was trained of a part is there for the whole.
  const best = await made(folder, [...only, 'choice.by=best-pretrained'])
  assert(best.includes('finetune-slm-mix-expert1-law') && best.includes('pretrain-slm-mix-expert1') && !best.includes('pretrain-slm-mix-expert0'), String(best))
  const all = await made(folder, [...only, 'choice.by=best-finetuned'])
  assert.deepEqual(all.filter(name => name.startsWith('finetune')), ['finetune-slm-mix-expert2-law'])
})

test('a projected network starts from the mean of its experts, by the histogram of the domain', async t => {
  const folder = folderWith(t), only = ['methods=[slm-pn]', 'domains=[law]', 'projected.experts=3', 'pretrain.warmup=10', 'choice.by=mean'], weights: unknown[] = []
  const instantiate: typeof STEPS.instantiate = async (context, input) => { weights.push(input.expert); return STEPS.instantiate(context, input) }
  assert((await planned(folder, only)).some(({ name }) => name === 'finetune-slm-pn-mean-law'), 'known before the histogram is')
  const names = await made(folder, only, { ...STEPS, instantiate })
  assert(names.includes('instantiate-slm-pn-mean-law') && names.includes('finetune-slm-pn-mean-law'), String(names))
  const { counts } = await STEPS.assign({} as never, {} as never)
  assert.deepEqual(weights, [counts])
  await assert.rejects(made(folder, ['methods=[slm-mix]', ...only.slice(1)]), /slm-mix has no mean of experts/)
})

test('a changed setting redoes only what depends on it', async t => {
  const folder = folderWith(t)
  assert.equal((await made(folder)).length, 30)
  assert.deepEqual(await made(folder), [])
  assert.deepEqual(await made(folder, ['device.threads=1', 'pretrain.checkpointEvery=7', 'pretrain.keep=1', 'pretrain.recompute=blocks', 'finetune.recompute=mlp']), [])
  assert.deepEqual(await made(folder, ['device.threads=all']), [])
  assert.deepEqual(await made(folder, ['report.title=x']), ['report'])
  assert.deepEqual(await made(folder, ['description=what it is for']), ['report'])
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

test('a teacher must have the tokenizer of the recipe', async t => {
  const folder = folderWith(t), teacher = join(packageRoot, 'test', 'golden', 'gpt2-tiny'), own = join(folder, 'tokenizer.json')
  using tokenizer = await Tokenizer.train((async function* () { yield { text: 'court appeal judge section tribunal evidence order' } })(), { vocabularySize: 260 })
  tokenizer.save(own)
  const cases: [string[], RegExp][] = [
    [[`distill.teacher=${teacher}`], /trained here is not the teacher's/],
    [[`distill.teacher=${teacher}`, `tokenizer.file=${own}`], /has a vocabulary of \d+, but the tokenizer has \d+/],
    [['distill.teacher=/nowhere', `tokenizer.file=${own}`], /is not a Hugging Face folder/],
    [['distill.top=5', 'finetune.replay=0.1', 'methods=[slm-d]', 'llm=mini'], /of the domain alone/],
  ]
  for (const [overrides, message] of cases) {
    await assert.rejects(resolved(folder, overrides), (error: unknown) => {
      assert(error instanceof NichelmError, String(error))
      assert.match(error.message, message)
      assert.match(error.place.field ?? '', /distill\.(teacher|top)$/)
      return true
    })
  }
})
