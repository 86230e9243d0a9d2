import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { cudaMissing, cudaTested } from '../base/devices.js'
import { documents, nichelm, temporary, type Outcome } from '../commands/commandLine.js'

const LAW = 'court appeal judge section tribunal evidence order applicant', SEA = 'ship sail harbour captain wind wave island anchor'
const RECIPE = `name: tiny
output: out
device: {kind: cuda, threads: 1}
data:
  generic: {files: generic.jsonl, heldout: generic-heldout.jsonl}
  domains: {law: {train: law.jsonl, heldout: law-heldout.jsonl, tokens: 2000}}
tokenizer: {vocabulary: 300}
corpus: {context: 24, minimumLength: 8, tokens: 4000}
model: {preset: nano, layers: 1, width: 16, heads: 2, mlp: 32, context: 24}
llm: {preset: nano, layers: 1, width: 32, heads: 2, mlp: 64, context: 24}
clusters: {count: 4, dimensions: 8}
projected: {experts: 2, groups: 2}
choice: {windows: 8}
distill: {top: 20}
methods: [slm-pn, slm-d]
pretrain: {steps: 4, batch: 4, rate: 2e-3, warmup: 1, evaluateEvery: 4, checkpointEvery: 4}
finetune: {steps: 3, batch: 4, evaluateEvery: 3, patience: 2}
`

function texts(folder: string): string {
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text)
  write('generic.jsonl', documents(LAW, 20, 40) + documents(SEA, 20, 40))
  write('generic-heldout.jsonl', documents(LAW, 2, 24) + documents(SEA, 2, 24))
  write('law.jsonl', documents(LAW, 20, 40))
  write('law-heldout.jsonl', documents(LAW, 2, 24))
  write('recipe.yaml', RECIPE)
  return join(folder, 'recipe.yaml')
}
function ok<Result>({ code, err, out }: Outcome): Result {
  assert.equal(code, 0, err)
  return JSON.parse(out) as Result
}
interface Costs { costs: { device: string } }

test('a recipe runs on a GPU as on the CPU: pretraining, a projected network, a teacher, fine-tuning, evaluation', { skip: cudaMissing }, async t => {
  const folder = temporary(t), recipe = texts(folder)
  const { results } = ok<{ results: { method: string; before: { perplexity: number }; after: { perplexity: number } }[] }>(await nichelm(['run', recipe, '--json']))
  assert.deepEqual(results.map(({ method }) => method), ['slm-pn', 'slm-d'])
  for (const { method, before, after } of results) assert.ok(after.perplexity < before.perplexity && after.perplexity > 1, `${method}: ${before.perplexity}, then ${after.perplexity}`)
  const again = await nichelm(['run', recipe])
  assert.equal(again.code, 0, again.err)
  assert.ok(!/step \d/.test(again.err), 'everything is there')
  // The CPU's results are others: its stages are not taken for the GPU's.
  const onCpu = ok<{ stages: { name: string; cached: boolean }[] }>(await nichelm(['run', recipe, '--dry-run', '--json', '--set', 'device.kind=cpu']))
  assert.deepEqual(onCpu.stages.filter(({ name }) => /^(tokenizer|corpus)/.test(name)).filter(({ cached }) => !cached), [])
  assert.deepEqual(onCpu.stages.filter(({ name }) => /^(clusters|assign|pretrain|finetune)/.test(name)).filter(({ cached }) => cached), [])

  const model = join(folder, 'out', 'finetune-slm-d-law', 'model'), { costs } = JSON.parse(readFileSync(join(folder, 'out', 'finetune-slm-d-law', 'result.json'), 'utf8')) as Costs
  if (cudaTested!.emulated) assert.equal(costs.device, 'emulated by the CPU')
  assert.ok(existsSync(model))
  const say = (...args: string[]) => nichelm(['generate', '--model', model, '--prompt', 'court appeal', '--max-tokens', '2', '--precision', 'f32', '--temperature', '0', '--json', ...args])
  const { texts: [there] } = ok<{ texts: { text: string; tokens: number }[] }>(await say('--device', 'cuda')), { texts: [here] } = ok<{ texts: { text: string; tokens: number }[] }>(await say())
  assert.equal(there!.text, here!.text)
})

test('commands name the device; one that is not there ends them at once', async t => {
  const folder = temporary(t), recipe = texts(folder), library = process.env.NICHELM_CUDA_LIBRARY
  process.env.NICHELM_CUDA_LIBRARY = '/nowhere/nichelm_cuda.so'
  try {
    for (const args of [['run', recipe], ['run', recipe, '--dry-run'], ['bench', 'train', '--device', 'cuda', '--model', 'pico']]) {
      const { code, err } = await nichelm(args)
      assert.equal(code, 6, args.join(' '))
      assert.match(err, /the CUDA library could not be loaded/)
    }
    assert.ok(!existsSync(join(folder, 'out')), 'nothing was made')
  } finally {
    if (library === undefined) delete process.env.NICHELM_CUDA_LIBRARY
    else process.env.NICHELM_CUDA_LIBRARY = library
  }
  const wrong = await nichelm(['bench', 'matmul', '--device', 'gpu'])
  assert.equal(wrong.code, 2)
  assert.match(wrong.err, /--device gpu: is no device/)
  const index = await nichelm(['run', recipe, '--set', 'device.kind=cpu', '--set', 'device.index=1'])
  assert.equal(index.code, 2)
  assert.match(index.err, /is the number of a GPU/)
})

test('doctor tells what there is of CUDA', async () => {
  const { findings } = ok<{ findings: { what: string; ok: boolean; found: string }[] }>(await nichelm(['doctor', '--json']))
  const of = (what: string) => findings.find(finding => finding.what === what)?.found ?? ''
  assert.match(of('NVIDIA driver'), /no NVIDIA driver|for CUDA \d+\.\d+/)
  assert.match(of('cuBLASLt'), /used where NICHELM_PRODUCTS|not found/)
  assert.match(of('NCCL'), /not used yet|not found/)
  if (cudaTested) assert.match(of('GPU 0'), /compute capability \d+\.\d, \d+ multiprocessors, .* GB free/)
})

test('benchmarks run on a GPU, and tell no share of a peak that is not known', { skip: cudaTested?.emulated ? false : 'for the emulator' }, async () => {
  const run = (...args: string[]) => nichelm(['bench', ...args, '--device', 'cuda', '--steps', '1', '--json'])
  for (const args of [['matmul', '-m', '16', '-n', '16', '-k', '16'], ['attention', '--rows', '1', '--context', '16', '--heads', '1', '--head-width', '16'], ['adamw', '--parameters', '1000']]) {
    const found = ok<{ device: string; gpu: string; seconds: number; peak_fraction: null; bandwidth_fraction: null }>(await run(...args))
    assert.ok(found.device === 'cuda' && found.seconds > 0 && found.peak_fraction === null && found.bandwidth_fraction === null, JSON.stringify(found))
  }
  const kmeans = ok<{ iterations: number; peak_fraction: null }>(await nichelm(['bench', 'kmeans', '--device', 'cuda', '--rows', '40', '--width', '4', '--clusters', '3', '--json']))
  assert.ok(kmeans.iterations > 0 && kmeans.peak_fraction === null)
  const { project, optimizer } = ok<{ project: { bytes_per_second: number }; optimizer: { bytes_per_second: number } }>(await run('project', '--rows', '8', '--columns', '8', '--experts', '2', '--groups', '2'))
  assert.ok(project.bytes_per_second > 0 && optimizer.bytes_per_second > 0)
  const train = ok<{ tokens_per_second: number; peak_fraction: null }>(await run('train', '--model', 'nano', '--layers', '1', '--width', '16', '--heads', '1', '--vocab', '64', '--batch', '2', '--context', '16'))
  assert.ok(train.tokens_per_second > 0 && train.peak_fraction === null)
  const tiny = ['--model', 'nano', '--layers', '1', '--width', '16', '--heads', '1', '--vocab', '64', '--batch', '1', '--context', '16']
  const { generation } = ok<{ generation: { batch: number; decode_tokens_per_second: number; prefill_tokens_per_second: number }[] }>(await run('inference', ...tiny, '--prompt', '2', '--tokens', '1'))
  assert.ok(generation.length === 2 && generation.every(one => one.decode_tokens_per_second > 0 && one.prefill_tokens_per_second > 0))
})
