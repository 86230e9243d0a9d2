import assert from 'node:assert/strict'
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { modelConfig, parameterSpecs, writeHuggingFace } from '../../src/model/index.js'
import { initialValues } from '../../src/model/initialize.js'
import { Tokenizer } from '../../src/text/index.js'
import { documents, nichelm, temporary } from './commandLine.js'

/** A model with random weights, wide enough to say anything, and a tokenizer that has few tokens beyond the 256 bytes. */
async function modelFolder(t: TestContext): Promise<string> {
  const folder = join(temporary(t), 'model'), texts = documents('ship sail harbour captain', 20).split('\n').filter(Boolean).map((line) => (JSON.parse(line) as { text: string }).text)
  mkdirSync(folder)
  using tokenizer = await Tokenizer.train(texts, { vocabularySize: 280, threads: 1 })
  tokenizer.save(join(folder, 'tokenizer.json'))
  const config = modelConfig('nano', 280, { layers: 2, width: 32, heads: 2, context: 64 }), values = new Map(parameterSpecs(config).map((spec) => [spec.name, initialValues(spec, 4).map((x) => ('normal' in spec.start ? 10 * x : x))]))
  writeHuggingFace(folder, config, (name) => values.get(name)!, tokenizer.endOfText)
  return folder
}

interface Outcome { texts: { prompt: string; text: string; tokens: number; end: string }[]; statistics: { prompt_tokens: number; new_tokens: number; decode_tokens_per_second: number }; seed: number }

test('generate continues a prompt, as text and as JSON, and prompts of a file together as each alone', async (t) => {
  const model = await modelFolder(t), settings = ['--model', model, '--max-tokens', '12', '--threads', '1', '--precision', 'f32']
  const json = async (...args: string[]): Promise<Outcome> => {
    const { code, out, err } = await nichelm(['generate', ...settings, ...args, '--json'])
    assert.equal(code, 0, err)
    assert.equal(out.split('\n').length, 2)
    return JSON.parse(out) as Outcome
  }
  const { texts: [alone], statistics } = await json('--prompt', 'the ship of')
  assert.equal(alone!.prompt, 'the ship of')
  assert(alone!.tokens <= 12 && alone!.tokens === statistics.new_tokens && statistics.prompt_tokens > 0)
  const plain = await nichelm(['generate', ...settings, '--prompt', 'the ship of'])
  assert.equal(plain.code, 0, plain.err)
  assert.equal(plain.out, `${alone!.text}\n`)
  assert.match(plain.err, /^\d+ tokens of 1 prompt in [\d.]+ s; \d+ new ones in [\d.]+ s/)
  assert.notEqual((await json('--prompt', 'the ship of', '--seed', '2')).texts[0]!.text, alone!.text)

  const prompts = ['the ship of', 'a', 'captain and the harbour was on it for the wind of'], file = join(model, '..', 'prompts.jsonl')
  writeFileSync(file, prompts.map((text) => `${JSON.stringify({ question: text })}\n`).join(''))
  const greedy = ['--temperature', '0'], all = await json('--prompts', file, '--field', 'question', ...greedy)
  assert.deepEqual(all.texts.map(({ prompt }) => prompt), prompts)
  for (const [i, prompt] of prompts.entries()) assert.deepEqual((await json('--prompt', prompt, ...greedy)).texts[0], all.texts[i])
  const printed = await nichelm(['generate', ...settings, '--prompts', file, '--field', 'question', ...greedy, '--batch', '2'])
  assert.equal(printed.out, all.texts.map(({ prompt, text }, i) => `--- ${i + 1}\n${prompt}${text}\n`).join(''))
})

test('generate refuses what it cannot continue, and says why', async (t) => {
  const model = await modelFolder(t)
  const refused = async (code: number, expected: RegExp, ...args: string[]): Promise<void> => {
    const outcome = await nichelm(['generate', '--threads', '1', ...args])
    assert.equal(outcome.code, code, outcome.err)
    assert.match(outcome.err, expected)
    assert.equal(outcome.out, '')
  }
  await refused(3, /prompt 1: has \d+ tokens, more than the model's context of 64/, '--model', model, '--prompt', 'x '.repeat(100))
  await refused(3, /nowhere.*no such file/, '--model', '/nowhere', '--prompt', 'x')
  await refused(3, /no such file/, '--model', model, '--prompts', '/nowhere/prompts.jsonl')
  const file = join(model, '..', 'prompts.jsonl')
  writeFileSync(file, '{"text": "fine"}\n{"text": ""}\n')
  await refused(3, /prompt 2: is empty/, '--model', model, '--prompts', file)
  const run = temporary(t)
  renameSync(model, join(run, 'model'))
  await refused(3, /is the folder of a run\nGive the model in it: --model .*model/, '--model', run, '--prompt', 'x')
  rmSync(join(run, 'model', 'tokenizer.json'))
  await refused(3, /holds no tokenizer\.json/, '--model', join(run, 'model'), '--prompt', 'x')
  writeFileSync(join(run, 'model', 'projected.json'), '{}')
  await refused(3, /holds a projected network.*\n.*nichelm instantiate/, '--model', join(run, 'model'), '--prompt', 'x')
})

test('bench inference tells speed as JSON', async () => {
  const { code, out, err } = await nichelm(['bench', 'inference', '--model', 'nano', '--vocab', '300', '--layers', '1', '--width', '32', '--heads', '2', '--batch', '2', '--context', '32', '--steps', '1', '--tokens', '3', '--threads', '1', '--json'])
  assert.equal(code, 0, err)
  const found = JSON.parse(out) as { forward_over_training: number; generation: Record<string, number>[] }
  assert(found.forward_over_training > 0)
  assert.deepEqual(found.generation.map(({ batch }) => batch), [1, 64])
  for (const one of found.generation) for (const key of ['prefill_tokens_per_second', 'decode_tokens_per_second', 'bytes_per_step', 'stream_bytes_per_second', 'bandwidth_fraction']) assert(one[key]! > 0, key)
})
