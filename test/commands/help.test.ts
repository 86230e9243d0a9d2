import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import test from 'node:test'
import { nichelm } from './commandLine.js'

const COMMANDS = [
  'run', 'experiment', 'tokenizer train', 'corpus build', 'corpus info', 'cluster fit', 'cluster assign', 'weights', 'select', 'train', 'finetune', 'instantiate', 'evaluate', 'generate', 'plan', 'params',
  'bench train', 'bench inference', 'bench matmul', 'bench attention', 'bench tokenizer', 'bench kmeans', 'doctor',
]

for (const command of COMMANDS) {
  test(`${command} --help has an example of itself, --json and the exit codes`, async () => {
    const { code, out, err } = await nichelm([...command.split(' '), '--help'])
    assert.equal(code, 0, err)
    assert.match(out, new RegExp(`Examples:\\s+nichelm ${command}`))
    assert.match(out, /--json/)
    assert.match(out, /Exit codes: 0 done/)
  })
}

test('--help lists every command', async () => {
  const { code, out } = await nichelm(['--help'])
  assert.equal(code, 0)
  for (const command of COMMANDS) assert(out.includes(`nichelm ${command.split(' ')[0]}`), command)
})

test('--version', async () => {
  const { code, out } = await nichelm(['--version'])
  assert.equal(code, 0)
  assert.match(out, /^\d+\.\d+\.\d+/)
})

const WRONG: [string[], RegExp][] = [
  [[], /which command/],
  [['rnu'], /rnu is not a command here\nDid you mean run\?/],
  [['tokenizer'], /which one\? train/],
  [['tokenizer', 'trian'], /Did you mean train\?/],
  [['params', '--modle', 'slm'], /--modle is not an option here\nDid you mean --model\?/],
  [['params'], /model/],
  [['params', '--model', 'smm'], /Did you mean slm\?/],
  [['params', '--model', 'slm', '--vocab', 'many'], /--vocab: must be a number/],
  [['params', '--model', 'slm', '--vocab', '2.5'], /--vocab 2.5: must be a whole number/],
  [['params', '--model', 'slm', '--batch', '0'], /--batch 0: must be at least 1/],
  [['params', '--model', 'slm', '--model', 'llm'], /--model: was given more than once/],
  [['params', '--model', 'slm', '--json=maybe'], /--json=maybe: is given or not, and takes no value\nWrite --json/],
  [['params', '--model', 'slm', '--stack=1'], /--stack=1: is given or not/],
  [['params', '--model', 'slm', '--heads', '3'], /heads/],
  [['params', '--model', 'slm', '--precision', 'f16'], /f32.*bf16/],
  [['params', '--model', 'slm', '--method', 'slm-np'], /slm-pn/],
  [['params', '--model', 'slm', '--experts', '4'], /--experts: belongs to slm-pn, slm-mix, not to slm/],
  [['params', '--model', 'slm', '--method', 'slm-pn', '--experts', '0'], /--experts 0: must be at least 1/],
  [['params', '--model', 'slm', '--method', 'slm-pn', '--projected-layers', '8'], /8 projected layers: the model has 7/],
  [['params', '--model', 'pn-32', '--method', 'slm-mix'], /pn-32: is a projected network, not slm-mix/],
  [['params', '--model', 'nano', '--method', 'slm-d'], /slm-d needs a teacher/],
  [['plan', '--domain-tokens', '1M', '--flops', '1e20'], /--model or --parameters: give one of them/],
  [['plan', '--model', 'slm', '--domain-tokens', '1M'], /--device-hours or --flops: give one of them/],
  [['plan', '--model', 'slm', '--domain-tokens', '1M', '--flops', '1e20', '--device-hours', '1'], /give one of them/],
  [['plan', '--model', 'slm', '--domain-tokens', 'many', '--flops', '1e20'], /--domain-tokens many: must be a positive number/],
  [['plan', '--model', 'slm', '--flops', '1e20'], /domain-tokens/],
  [['plan', '--parameters', '1M', '--width', '64', '--domain-tokens', '1M', '--flops', '1e20'], /--width: changes a named model/],
  [['plan', '--parameters', '10', '--domain-tokens', '1M', '--flops', '1e20'], /no model with a vocabulary of 32000 comes near/],
  [['generate', '--model', 'x'], /what to continue is missing\nGive --prompt or --prompts/],
  [['generate', '--model', 'x', '--prompt', 'y', '--prompts', 'z'], /prompt/],
  [['generate', '--model', 'x', '--prompt', 'y', '--temperature', '-1'], /--temperature -1: must be at least 0/],
  [['generate', '--model', 'x', '--prompt', 'y', '--top-p', '0'], /topP: must be above 0 and at most 1/],
  [['generate', '--model', 'x', '--prompt', 'y', '--top-k', '1.5'], /--top-k 1.5: must be a whole number/],
  [['generate', '--model', 'x', '--prompt', 'y', '--max-tokens', '0'], /--max-tokens 0: must be at least 1/],
  [['generate', '--model', 'x', '--prompt', 'y', '--batch', '65'], /batch: must be from 1 to 64/],
  [['evaluate', '--model', 'x', '--logits', 'y'], /tokens/],
  [['evaluate', '--model', 'x', '--corpus', 'y', '--tokens', 'z'], /corpus|tokens/],
  [['train', '--corpus', 'x', '--tokenizer', 'y', '--steps', '1', '--into', 'z', '--weights', 'w'], /--weights needs --assignments/],
  [['evaluate', '--model', 'x', '--corpus', 'y', '--tokens', 'z'], /--corpus and --tokens exclude each other/],
  [['params', '--model', 'slm', '--recompute', 'all'], /--recompute all: there is no such choice\nThere are none, attention, mlp, blocks/],
  [['tokenizer', 'train', '--text', 'x', '--vocab', '400', '--into', 'y'], /Did you mean --vocabulary\?/],
  [['plan', '--model', 'slm', '--domain-tokens', '1M', '--flops', '1e20', '--large', 'smm'], /--large smm: .*\nDid you mean slm\?/],
  [['corpus', 'build', '--text', 'x', '--tokenizer', 'y', '--context', '32', '--tokens', '5', '--into', 'z'], /--tokens 5: must be at least one window of 32/],
  [['corpus', 'build', '--text', 'x', '--tokenizer', 'y', '--context', '32', '--minimum-length', '64', '--into', 'z'], /--minimum-length 64: must be at most the context, 32/],
  [['finetune', '--model', 'x', '--corpus', 'y', '--into', import.meta.dirname], /is not empty, and holds no run/],
  [['run'], /not enough/],
  [['run', 'a.yaml', 'b.yaml'], /b\.yaml|non-option/],
]
for (const [args, expected] of WRONG) {
  test(`nichelm ${args.join(' ')} is a wrong command line`, async () => {
    const { code, out, err } = await nichelm(args)
    assert.equal(code, 2, err)
    assert.equal(out, '')
    assert.match(err, /^error: /)
    assert.match(err, expected)
    assert(!/\n {4}at /.test(err), 'a stack trace')
  })
}

test('a missing recipe is an input error; --stack tells where it came from', async () => {
  const plain = await nichelm(['run', '/nowhere/recipe.yaml'])
  assert.equal(plain.code, 3)
  assert.match(plain.err, /^error: \/nowhere\/recipe\.yaml: no such file/)
  assert(!/\n {4}at /.test(plain.err))
  assert.match((await nichelm(['run', '/nowhere/recipe.yaml', '--stack'])).err, /\n {4}at /)
})

test('a reader that goes away is no error', async () => {
  const main = fileURLToPath(new URL('../../src/commands/main.js', import.meta.url))
  const child = spawn('sh', ['-c', `"${process.execPath}" "${main}" --help | true`], { stdio: ['ignore', 'ignore', 'pipe'] })
  let err = ''
  child.stderr.on('data', (part: Buffer) => { err += part })
  await new Promise(done => child.on('close', done))
  assert.equal(err, '')
})

test('params as JSON', async () => {
  const { code, out, err } = await nichelm(['params', '--model', 'slm', '--vocab', '32000', '--json'])
  assert.equal(code, 0, err)
  const found = JSON.parse(out) as Record<string, number>
  // 7 layers of 12 width^2 + biases and norms; token and position tables.
  const width = 1024, layer = 12 * width * width + 13 * width
  assert.equal(found['parameters'], 7 * layer + 2 * width + (32000 + 1024) * width)
  assert(found['training_memory_bytes']! > 16 * found['parameters']!)
})

test('params of a method as JSON', async () => {
  const { code, out, err } = await nichelm(['params', '--method', 'slm-pn', '--model', 'slm', '--experts', '32', '--vocab', '32000', '--json'])
  assert.equal(code, 0, err)
  const found = JSON.parse(out) as Record<string, number>
  assert(Math.abs(found['pretraining_parameters']! / 1422e6 - 1) < 0.04)
  assert(Math.abs(found['served_parameters']! / 126e6 - 1) < 0.04)
  assert(found['pretraining_flops_per_token']! > found['finetuning_flops_per_token']!)
})

test('plan as JSON: by a given speed, and by a measured one', async () => {
  const given = await nichelm(['plan', '--model', 'slm', '--domains', '50', '--domain-tokens', '1M', '--device-hours', '400', '--flops-per-second', '100T', '--json'])
  assert.equal(given.code, 0, given.err)
  const found = JSON.parse(given.out) as { method: string; methods: { method: string; total_hours: number; relative: number }[]; split: { generic: number }; sources: string[] }
  assert.equal(found.method, 'slm-pn')
  assert.deepEqual(found.methods.map(({ method }) => method), ['slm', 'slm-is', 'slm-pn', 'slm-mix', 'slm-d', 'slm-nopt', 'llm'])
  assert(found.methods.every(({ total_hours }) => total_hours <= 400.001))
  assert.match(found.sources[0]!, /2402\.01093/)
  const measured = await nichelm(['plan', '--parameters', '300k', '--vocab', '1024', '--context', '64', '--domain-tokens', '100k', '--device-hours', '0.5', '--json'])
  assert.equal(measured.code, 0, measured.err)
  assert.match((JSON.parse(measured.out) as { pace: { basis: string } }).pace.basis, /a measured step of/)
})

test('plan without the results that were named', async () => {
  const { code, err } = await nichelm(['plan', '--model', 'slm', '--domain-tokens', '1M', '--flops', '1e20', '--results', '/nowhere/results.json'])
  assert.equal(code, 3)
  assert.match(err, /\/nowhere\/results\.json: no such file/)
})

test('doctor says what it found', async () => {
  const { code, out } = await nichelm(['doctor', '--json'])
  assert.equal(code, 0, out)
  const { ok, findings } = JSON.parse(out) as { ok: boolean; findings: { what: string; ok: boolean }[] }
  assert.equal(ok, true)
  assert(findings.some(finding => finding.what === 'native addon' && finding.ok))
})
