import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { documents, nichelm, temporary } from './commandLine.js'

const LAW = 'court appeal judge section tribunal evidence order applicant', SEA = 'ship sail harbour captain wind wave island anchor'

test('experts, projected networks, adapters and teachers verb by verb', async t => {
  const folder = temporary(t), at = (name: string) => join(folder, name)
  const json = async (...args: string[]) => {
    const { code, err, out } = await nichelm([...args, '--json'])
    assert.equal(code, 0, err)
    return JSON.parse(out) as Record<string, unknown>
  }
  const refused = async (expected: RegExp, ...args: string[]) => {
    const { code, err } = await nichelm(args)
    assert(code === 2 || code === 3, err)
    assert.match(err, expected)
  }
  writeFileSync(at('generic.jsonl'), documents(LAW, 40) + documents(SEA, 60))
  writeFileSync(at('law.jsonl'), documents(LAW, 30, 110))
  const tokenizer = at('tokenizer.json'), model = ['--layers', '1', '--width', '32', '--heads', '2']
  await json('tokenizer', 'train', '--text', at('generic.jsonl'), '--vocabulary', '300', '--into', tokenizer)
  for (const name of ['generic', 'law']) await json('corpus', 'build', '--text', at(`${name}.jsonl`), '--tokenizer', tokenizer, '--context', '32', '--minimum-length', '8', '--into', at(name))
  await json('cluster', 'fit', '--corpus', at('generic'), '--tokenizer', tokenizer, '--clusters', '3', '--dimensions', '8', '--into', at('clusters'))
  await json('cluster', 'assign', '--corpus', at('generic'), '--tokenizer', tokenizer, '--clusters', at('clusters'), '--into', at('assigned'))

  await json('cluster', 'assign', '--corpus', at('law'), '--tokenizer', tokenizer, '--clusters', at('clusters'), '--into', at('law-assigned'))
  await json('weights', '--generic', at('assigned'), '--specialization', at('law-assigned'), '--into', at('weights.json'))
  const selected = await json('select', '--corpus', at('generic'), '--specialization', at('law'), '--draws', '24', '--buckets', '100', '--into', at('selection'))
  assert.equal(selected['windows'], 12)
  assert.deepEqual(Object.keys(selected['divergence'] as object), ['generic', 'selected'])
  await refused(/is there already/, 'select', '--corpus', at('generic'), '--specialization', at('law'), '--draws', '24', '--buckets', '100', '--into', at('selection'))

  const train = ['train', '--corpus', at('generic'), '--tokenizer', tokenizer, ...model, '--steps', '6', '--warmup', '2', '--batch', '4', '--threads', '1', '--precision', 'f32']
  const weighted = ['--assignments', at('assigned'), '--weights', at('weights.json')]
  await json(...train, '--selection', at('selection'), '--into', at('by-ngrams'))
  await json(...train, ...weighted, '--selection', at('selection'), '--ngrams', '0.25', '--into', at('by-both'))
  await json(...train, ...weighted, '--into', at('by-clusters'))
  await json(...train, '--into', at('by-nothing'))
  const losses = (run: string) => readFileSync(at(`${run}/metrics.jsonl`), 'utf8').trim().split('\n').map(line => (JSON.parse(line) as { loss: number }).loss).join()
  // Four ways of drawing are four runs.
  assert.equal(new Set(['by-ngrams', 'by-both', 'by-clusters', 'by-nothing'].map(losses)).size, 4)
  await refused(/another run|other settings/, ...train, ...weighted, '--selection', at('selection'), '--into', at('by-both'))
  await refused(/--ngrams 1: must lie between 0 and 1/, ...train, ...weighted, '--selection', at('selection'), '--ngrams', '1', '--into', at('no'))
  await refused(/belongs to slm-is/, ...train, '--method', 'slm-pn', '--assignments', at('assigned'), '--selection', at('selection'), '--into', at('no'))
  const { experts } = await json(...train, '--method', 'slm-mix', '--assignments', at('assigned'), '--experts', '0,2', '--into', at('mixture')) as { experts: unknown[] }
  assert.equal(experts.length, 2)
  assert.deepEqual([0, 1, 2].map(expert => existsSync(at(`mixture/expert-${expert}/model/tokenizer.json`))), [true, false, true])
  await json(...train, '--method', 'slm-pn', '--assignments', at('assigned'), '--groups', '2', '--into', at('projected'))
  await json('instantiate', '--from', at('projected'), '--expert', '1', '--out', at('expert'), '--tokenizer', tokenizer)
  await json('finetune', '--model', at('expert'), '--corpus', at('law'), '--steps', '4', '--batch', '4', '--threads', '1', '--evaluate-every', '2', '--into', at('law-expert'))

  const tune = (name: string, ...more: string[]) => json('finetune', '--corpus', at('law'), '--steps', '4', '--batch', '4', '--threads', '1', '--evaluate-every', '2', '--into', at(name), ...more)
  const start = at('mixture/expert-0/model')
  const lora = await tune('lora', '--model', start, '--lora-rank', '2', '--lora-matrix', 'mlp.up', '--lora-alpha', '4')
  // The first MLP matrix of one layer, [32, 128], by updates of rank 2.
  assert.equal(lora['trained'], 2 * (32 + 128))
  await tune('distilled', '--model', start, '--teacher', at('law-expert/model'), '--top', '10')
  await tune('replayed', '--model', start, '--replay', '0.5', '--replay-corpus', at('generic'))
  const nopt = await tune('nopt', '--model', 'nano', '--tokenizer', tokenizer, ...model, '--rate', '2e-3')
  assert(existsSync(join(String(nopt['model']), 'tokenizer.json')))

  await refused(/no expert 3: they are 0 to 2/, ...train, '--method', 'slm-mix', '--assignments', at('assigned'), '--experts', '1-3', '--into', at('no'))
  await refused(/--experts: belongs to slm-mix/, ...train, '--method', 'slm-pn', '--assignments', at('assigned'), '--experts', '1', '--into', at('no'))
  await refused(/needs the clusters/, ...train, '--method', 'slm-pn', '--into', at('no'))
  await refused(/no layer 1: they are 0 to 0/, ...train, '--method', 'slm-pn', '--assignments', at('assigned'), '--projected-layers', '0-1', '--into', at('no'))
  await refused(/no expert 3/, 'instantiate', '--from', at('projected'), '--expert', '3', '--out', at('no'))
  await refused(/holds no projected network/, 'instantiate', '--from', at('mixture/expert-0'), '--expert', '0', '--out', at('no'))
  await refused(/holds a model already/, 'instantiate', '--from', at('projected'), '--expert', '1', '--out', at('expert'))
  assert.equal(existsSync(at('no')), false)
})
