import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Device, packageRoot } from '../../bindings/index.js'
import { SafetensorsFile } from '../../src/base/safetensors.js'
import { evaluateTokens } from '../../src/evaluate/index.js'
import { modelConfig, planSession } from '../../src/model/index.js'

const folder = join(packageRoot, 'test', 'golden', 'llama-tiny')

test('rows of ids give the loss and the logits of Hugging Face, whatever is computed at once', async () => {
  using device = new Device({ threads: 1 })
  using expected = new SafetensorsFile(join(folder, 'expected.safetensors'))
  const [, rows, length] = expected.entry('input_ids').shape as [number, number, number]
  const ids = (expected.read('input_ids') as unknown as BigInt64Array).subarray(0, rows * length), want = expected.readF32('logits')
  const seen: number[] = []
  const single = await evaluateTokens({ rows, length, ids }, { device, precision: 'f32', model: folder, onLogits: (row, logits) => {
    seen.push(row)
    const theirs = want.subarray(row * logits.length, (row + 1) * logits.length)
    for (let i = 0; i < logits.length; i++) assert.ok(Math.abs(logits[i]! - theirs[i]!) < 1e-3 * Math.max(1, Math.abs(theirs[i]!)), `row ${row}, logit ${i}: ${logits[i]} and ${theirs[i]}`)
  } })
  assert.deepEqual(seen, [0, 1, 2])
  const together = await evaluateTokens({ rows, length, ids }, { device, precision: 'f32', model: folder })
  for (const result of [single, together]) {
    assert.ok(Math.abs(result.nll / expected.readF32('loss')[0]! - 1) < 1e-5)
    assert.equal(result.targets, rows * (length - 1))
  }
})

test('ids outside the vocabulary and rows that are too long are refused with their place', async () => {
  using device = new Device({ threads: 1 })
  const evaluate = (rows: number, length: number, ids: number[]) => evaluateTokens({ rows, length, ids }, { device, precision: 'f32', model: folder })
  await assert.rejects(evaluate(2, 3, [1, 2, 3, 4, 101, 5]), /token 101 in row 1, place 1 is outside the vocabulary of 101/)
  await assert.rejects(evaluate(1, 3, [1, -1, 3]), { code: 'INPUT' })
  await assert.rejects(evaluate(1, 65, new Array<number>(65).fill(1)), /longer than the model's context of 64/)
  await assert.rejects(evaluate(1, 1, [1]), { code: 'INPUT' })
})

test('evaluation keeps no activations: they take as much room for two layers as for twelve', () => {
  const activations = (layers: number, training?: object): number => planSession({ config: modelConfig('nano', 300, { layers }), precision: 'bf16', rows: 4, length: 64, ...training }).memory.activations
  assert.equal(activations(12), activations(2))
  const training = { training: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 1 } }
  assert(activations(12, training) > 3 * activations(2, training))
})
