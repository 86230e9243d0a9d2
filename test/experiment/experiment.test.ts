import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { NichelmError } from '../../src/base/errors.js'
import { loadExperiment, runExperiment } from '../../src/experiment/index.js'
import { cellId } from '../../src/recipe/cell.js'
import type { Steps } from '../../src/recipe/steps.js'
import { readResults } from '../../src/report/experiment/results.js'
import { DATA, STEPS, textFolder } from '../recipe/support.js'

const EXPERIMENT = `name: small
${DATA}model: nano
llm: mini
projected: {experts: 3}
mixture: {count: 4}
clusters: {sample: 20000}
pretrain: {warmup: 2, batch: 10}
matrix:
  - {methods: [slm, slm-is, slm-pn, slm-mix, slm-d, slm-nopt, llm, llm-lora], dataTokens: [500], budgets: [64k, 128k]}
  - {methods: [slm-is], dataTokens: [500, 900], budgets: 128k, clusters: [4, 64]}
  - {methods: [slm-is], domains: medicine, dataTokens: [500], budgets: 64k, ngrams: [0.5, 1]}
  - {methods: [slm-mix], domains: law, dataTokens: [500], budgets: [32k], choices: [best-pretrained, best-finetuned], ownRuns: true}
`

function fileWith(t: TestContext, text = EXPERIMENT): string {
  const file = join(textFolder(t), 'experiment.yaml')
  writeFileSync(file, text)
  return file
}

/** Runs with steps that note what they made. */
async function run(file: string, { overrides = [], only = [], jobs = 1, steps = STEPS }: { overrides?: string[]; only?: string[]; jobs?: number; steps?: Steps } = {}) {
  const experiment = await loadExperiment(file, { overrides }), lines: string[] = []
  const { results, failed, outcomes } = await runExperiment(experiment, steps, { signal: new AbortController().signal, log: line => lines.push(line), only, jobs, machine: { device: 'none' } })
  return { experiment, results, failed, lines, made: outcomes.filter(outcome => !outcome.cached).map(outcome => outcome.name) }
}

const count = (names: string[], pattern: RegExp): number => names.filter(name => pattern.test(name)).length

test('the matrix: every combination once, in the order of its blocks', async t => {
  const { cells, runs } = await loadExperiment(fileWith(t)), ids = cells.map(cellId)
  assert.equal(new Set(ids).size, ids.length)
  // 2 domains of 7 methods at two budgets and slm-nopt; of 2 sizes and 2 numbers of clusters two are there already; 2 shares of n-grams; 2 choices.
  assert.equal(ids.length, 2 * (7 * 2 + 1) + 2 * 2 * 2 - 2 + 2 + 2)
  assert.deepEqual(ids.slice(0, 8), ['slm/law/500/64k/s1', 'slm-is/law/500/64k/c64/s1', 'slm-pn/law/500/64k/e3/frequent/s1', 'slm-mix/law/500/64k/e4/frequent/s1', 'slm-d/law/500/64k/s1', 'slm-nopt/law/500/s1', 'llm/law/500/64k/s1', 'llm-lora/law/500/64k/s1'])
  // A step is 640 tokens: one run of slm with a snapshot on the way, and a share of a quarter for each expert.
  assert.deepEqual([...runs.values()].filter(steps => steps.join() === '100,200').length, 5)
  assert.deepEqual([...runs.values()].filter(steps => steps.join() === '25,50').length, 1)
  assert.deepEqual([...runs.values()].filter(steps => steps.join() === '12').length, 1)
  // Of n-grams alone there are no clusters.
  assert.deepEqual(ids.filter(id => /\/n/.test(id)), ['slm-is/medicine/500/64k/c64/n0.5/s1', 'slm-is/medicine/500/64k/n1/s1'])
})

test('methods share pretraining; results are whole, and nothing is made twice', async t => {
  const file = fileWith(t), { results, made, experiment } = await run(file)
  assert.equal(results.cells.length, experiment.cells.length)
  assert.equal(new Set(made).size, made.length)
  assert.deepEqual(made.filter(name => /^pretrain-(slm|llm|slm-pn-e3)$/.test(name)).toSorted(), ['pretrain-llm', 'pretrain-slm', 'pretrain-slm-pn-e3'])
  assert.equal(count(made, /^pretrain-slm-mix-e4-expert/), 4)
  assert.equal(count(made, /^pretrain-slm-mix-e4-32k-own-expert/), 4)
  // slm-is: for each domain 500 tokens with 64 and 4 clusters, 900 tokens with both; two with n-grams.
  assert.equal(count(made, /^pretrain-slm-is-/), 10)
  assert.deepEqual(made.filter(name => /^(weights|select|pretrain).*-n/.test(name)).sort(), ['pretrain-slm-is-medicine-500-c64-n0.5', 'pretrain-slm-is-medicine-500-n1', 'select-medicine-500-n0.5', 'select-medicine-500-n1', 'weights-medicine-500-c64-n0.5'])
  const first = made.findIndex(name => name.startsWith('pretrain'))
  assert(made.slice(first).every(name => !/^(corpus|assign|clusters|weights)/.test(name)), 'text comes before training')

  const stored = readResults(experiment.setup.output)
  assert.deepEqual(stored.cells.map(cell => cell.id), experiment.cells.map(cellId))
  const cell = (id: string) => stored.cells.find(one => one.id === id)!
  const small = cell('slm/law/500/64k/s1'), large = cell('slm/law/500/128k/s1'), resampled = cell('slm-is/law/500/128k/c64/s1'), nopt = cell('slm-nopt/law/500/s1')
  assert.equal(large.cost.generic.tokens, 2 * small.cost.generic.tokens)
  assert.deepEqual(Object.keys(resampled.cost.specialization.parts!), ['histogram', 'pretraining', 'finetuning'])
  assert.equal(resampled.cost.generic.tokens, 0)
  const half = cell('slm-is/medicine/500/64k/c64/n0.5/s1'), alone = cell('slm-is/medicine/500/64k/n1/s1')
  assert.deepEqual([half, alone].map(({ clusters, settings, cost }) => [clusters, (settings['ngrams'] as { share: number }).share, Object.keys(cost.specialization.parts!)]), [
    [64, 0.5, ['histogram', 'selection', 'pretraining', 'finetuning']], [null, 1, ['selection', 'pretraining', 'finetuning']],
  ])
  assert.deepEqual([nopt.budgetTokens, nopt.before, nopt.parameters.pretraining, nopt.cost.generic.tokens], [null, null, null, 0])
  const chosen = cell('slm-mix/law/500/32k-own/e4/best-pretrained/s1'), tried = cell('slm-mix/law/500/32k-own/e4/best-finetuned/s1')
  assert.deepEqual([chosen.expert, chosen.cost.specialization.parts!['choice']!.tokens], [1, 7])
  // Four experts fine-tuned: three count as choice.
  assert.deepEqual([tried.cost.specialization.parts!['choice']!.tokens, tried.cost.specialization.tokens], [3, 4])
  assert.equal(cell('slm-d/law/500/64k/s1').cost.specialization.parts!['teacher']!.tokens, 1)
  assert.deepEqual(stored.clusterings.map(one => one.clusters).toSorted((a, b) => a - b), [3, 4, 64])
  const csv = readFileSync(join(experiment.setup.output, 'results.csv'), 'utf8').trimEnd().split('\n')
  assert.equal(csv.length, 1 + stored.cells.length)

  assert.deepEqual((await run(file)).made, [])
})

test('windows that training draws by clusters and by n-grams: its rows, shared out', async t => {
  const asked: string[] = []
  const steps: Steps = {
    ...STEPS,
    weights: (context, input) => (asked.push(`clusters ${input.draws}`), STEPS.weights(context, input)),
    select: (context, input) => (asked.push(`n-grams ${input.draws}`), STEPS.select(context, input)),
  }
  const drawn = async (ngrams: number) => {
    const file = fileWith(t, EXPERIMENT.replace(/matrix:[^]*/, `matrix:\n  - {methods: [slm-is], domains: medicine, dataTokens: 500, budgets: 64k, ngrams: ${ngrams}}\n`))
    await run(file, { steps })
    return asked.splice(0).sort()
  }
  // 100 steps of 10 rows.
  assert.deepEqual([await drawn(0), await drawn(0.3), await drawn(1)], [['clusters 1000'], ['clusters 700', 'n-grams 300'], ['n-grams 1000']])
})

test('some methods or domains only: what is made is what the whole needs', async t => {
  const file = fileWith(t), part = await run(file, { only: ['slm', 'llm', 'law'] })
  assert(part.results.cells.every(({ method, domain }) => domain === 'law' && (method === 'slm' || method === 'llm')))
  assert.equal(part.results.cells.length, 4)
  const rest = await run(file)
  assert(!rest.made.some(name => part.made.includes(name)))
  // What is there of other cells stays in the results.
  assert.deepEqual((await run(file, { only: ['slm-is'] })).results.cells, rest.results.cells)
  await assert.rejects(run(file, { only: ['slm-ps'] }), /neither a method nor a domain/)
})

test('jobs: as many as asked for at the same time, with the same results', async t => {
  const file = fileWith(t)
  let now = 0, most = 0
  const lanes = new Set<number>()
  const slow = async <Result>(lane: number, result: Promise<Result>): Promise<Result> => {
    most = Math.max(most, ++now)
    lanes.add(lane)
    await new Promise(done => setTimeout(done, 1))
    now--
    return result
  }
  const steps: Steps = { ...STEPS, finetune: (context, input) => slow(context.lane, STEPS.finetune(context, input)), pretrain: (context, input) => slow(context.lane, STEPS.pretrain(context, input)) }
  const three = await run(file, { jobs: 3, steps, overrides: [`output=${join(file, '..', 'three')}`] })
  assert.deepEqual([most, [...lanes].toSorted()], [3, [0, 1, 2]])
  const one = await run(file, { overrides: [`output=${join(file, '..', 'one')}`] })
  assert.deepEqual(three.results.cells, one.results.cells)
})

test('cells end early: the first before most pretraining has been done', async t => {
  const events: string[] = [], file = fileWith(t), experiment = await loadExperiment(file)
  await runExperiment(experiment, STEPS, { signal: new AbortController().signal, log: line => events.push(line), machine: {} })
  const cell = events.findIndex(line => line.startsWith('cell 1 ')), training = events.filter(line => line.startsWith('pretrain')).length
  assert(events.slice(0, cell).filter(line => line.startsWith('pretrain')).length <= 2, events.slice(0, cell).join('\n'))
  assert(training > 10)
})

test('a training that diverges fails its cells only; another error stops all', async t => {
  const file = fileWith(t), failing = (code: 'DIVERGED' | 'RESOURCE'): Steps => ({
    ...STEPS, finetune: async (context, input) => {
      if (context.name.startsWith('finetune-slm-law')) throw new NichelmError(code, 'no more')
      return STEPS.finetune(context, input)
    },
  })
  const { results, failed, experiment } = await run(file, { steps: failing('DIVERGED') })
  assert.deepEqual(failed.map(({ cell }) => cellId(cell)), ['slm/law/500/64k/s1', 'slm/law/500/128k/s1'])
  assert.equal(results.cells.length, experiment.cells.length - 2)
  await assert.rejects(run(fileWith(t), { steps: failing('RESOURCE') }), /no more/)
  assert.equal((await run(file)).results.cells.length, experiment.cells.length)
})

test('settings that cannot be are told with line and field, before anything is made', async t => {
  const cases: [string, string, string, RegExp][] = [
    ['budgets: [64k, 128k]', 'budgets: [600]', 'budgets', /600 tokens are less than one step of 10 rows of 64/],
    ['budgets: [32k]', 'budgets: [2k]', 'budgets', /2k tokens for each of 4 experts/],
    ['domains: law,', 'domains: lav,', 'domains.0', /no domain lav/],
    ['dataTokens: [500], budgets: [64k', 'dataTokens: [50], budgets: [64k', 'dataTokens', /too few/],
    ['projected: {experts: 3}', 'projected: {experts: 3, layers: 2-4}', 'projected.layers', /no layer 4: they are 0 to 3/],
    ['projected: {experts: 3}', 'projected: {experts: 3, groups: 4}', 'projected.groups', /10 rows cannot be split into 4/],
    ['mixture: {count: 4}', 'mixture: {count: 4, experts: 2-4}', 'mixture.experts', /no expert 4: they are 0 to 3/],
    ['mixture: {count: 4}', 'mixture: {count: 4, experts: "0,2"}\nchoice: {experts: 1}', 'choice.experts', /expert 1 is to be tried, but only 0,2 are trained/],
    ['llm: mini', 'llm: {preset: mini, context: 32}', 'llm', /at most 32 tokens/],
    ['pretrain: {warmup: 2,', 'pretrain: {warmup: 200,', 'pretrain.warmup', /rising/],
    ['clusters: [4, 64]', 'clusters: [4, 30000]', 'clusters.sample', /30000 clusters cannot be found/],
    ['budgets: 128k, ', '', 'matrix.1', /no budgets/],
    ['pretrain: {', 'pretrain: {tokens: 3M, ', 'pretrain.tokens', /unknown key/],
  ]
  for (const [from, to, field, message] of cases) {
    const file = fileWith(t, EXPERIMENT.replace(from, to))
    await assert.rejects(loadExperiment(file), (error: unknown) => {
      assert(error instanceof NichelmError, String(error))
      assert(error.place.field?.endsWith(field), `${to}: ${error.message}`)
      assert.match(error.message, message)
      assert(error.place.line !== undefined, error.message)
      return true
    })
  }
})

test('text that is too little is told before anything is trained', async t => {
  const trained: string[] = []
  const steps = (windows: number): Steps => ({
    ...STEPS, corpus: async () => ({ documents: 1, windows, tokens: 1000, textBytes: 1 }), pretrain: async (context, input) => (trained.push(context.name), STEPS.pretrain(context, input)),
  })
  await assert.rejects(run(fileWith(t), { steps: steps(40) }), /has 40 windows, too few for 64 clusters/)
  await assert.rejects(run(fileWith(t), { steps: steps(1), only: ['slm'] }), /domain law has 1 window/)
  assert.deepEqual(trained, [])
})
