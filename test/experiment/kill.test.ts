import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { documents, nichelm, temporary } from '../commands/commandLine.js'

const LAW = 'court appeal judge section tribunal evidence order applicant', SEA = 'ship sail harbour captain wind wave island anchor'
const EXPERIMENT = `name: tiny
output: out
device: {precision: f32}
data:
  generic: {files: generic.jsonl, heldout: generic-heldout.jsonl}
  domains:
    law: {train: law.jsonl, heldout: law-heldout.jsonl}
    sea: {train: sea.jsonl, heldout: sea-heldout.jsonl}
tokenizer: {vocabulary: 300}
corpus: {context: 32, minimumLength: 8}
model: {preset: nano, layers: 1, width: 32, heads: 2, context: 32}
llm: {preset: nano, layers: 1, width: 64, heads: 2, context: 32}
clusters: {count: 4, dimensions: 8}
projected: {experts: 2}
mixture: {count: 2}
lora: {rank: 4, steps: 10}
pretrain: {batch: 4, warmup: 2, evaluateEvery: 0, checkpointEvery: 5}
finetune: {steps: 10, batch: 4, rate: 1e-3, evaluateEvery: 5, patience: 2, replay: 0.2}
matrix:
  - {methods: [slm, slm-is, slm-pn, slm-mix, slm-d, slm-nopt, llm, llm-lora], dataTokens: 3k, budgets: [1280, 2560]}
  - {methods: [slm-pn, slm-mix], dataTokens: 3k, budgets: 2560, choices: [best-pretrained, best-finetuned], domains: law}
`

interface Results { cells: { id: string; after: { nll: number }; cost: { generic: { tokens: number }; specialization: { tokens: number } } }[] }
const resultsOf = (output: string): Results => JSON.parse(readFileSync(join(output, 'results.json'), 'utf8')) as Results

test('an experiment killed at any point goes on where it was, with the same numbers; jobs change none', async t => {
  const folder = temporary(t), file = join(folder, 'experiment.yaml'), at = (name: string) => join(folder, name)
  for (const [name, topic, count] of [['law', LAW, 30], ['sea', SEA, 30], ['law-heldout', LAW, 6], ['sea-heldout', SEA, 6]] as const) writeFileSync(at(`${name}.jsonl`), documents(topic, count, name.length * 17))
  writeFileSync(at('generic.jsonl'), documents(LAW, 60) + documents(SEA, 90))
  writeFileSync(at('generic-heldout.jsonl'), documents(LAW, 8, 100) + documents(SEA, 8, 100))
  writeFileSync(file, EXPERIMENT)
  const run = (output: string, ...more: string[]) => ['experiment', file, '--output', at(output), ...more]
  // Three times: as soon as there is a result, and twice in the middle.
  for (const cells of [1, 9, 18]) {
    const stopped = await nichelm(run('killed'), { signal: 'SIGKILL', when: () => existsSync(at('killed/results.json')) && resultsOf(at('killed')).cells.length >= cells })
    assert.equal(stopped.signal, 'SIGKILL', stopped.err)
  }
  const kept = resultsOf(at('killed')).cells.length, again = await nichelm(run('killed'))
  assert.equal(again.code, 0, again.err)
  const whole = await nichelm(run('whole', '--jobs', '2', '--json'))
  assert.equal(whole.code, 0, whole.err)
  const numbers = (output: string) => resultsOf(output).cells.map(({ id, after, cost }) => ({ id, nll: after.nll, tokens: [cost.generic.tokens, cost.specialization.tokens] }))
  const all = numbers(at('whole'))
  assert.equal(all.length, 2 * (7 * 2 + 1) + 4)
  assert(kept >= 18 && kept < all.length)
  assert(all.every(cell => Number.isFinite(cell.nll)))
  assert.deepEqual(numbers(at('killed')), all)
})
