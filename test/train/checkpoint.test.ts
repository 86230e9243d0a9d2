import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Device } from '../../bindings/index.js'
import type { NichelmError } from '../../src/base/errors.js'
import { modelConfig, ModelSession, type LoraMatrix } from '../../src/model/index.js'
import { loadCheckpoint, saveCheckpoint } from '../../src/train/checkpoint.js'
import { noCosts } from '../../src/train/index.js'

test('a checkpoint of other adapters is refused, also where all that is asked for is in it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-checkpoint-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  using device = new Device({ threads: 1 })
  const session = (...matrices: LoraMatrix[]): ModelSession => new ModelSession(device, {
    config: modelConfig('nano', 61, { layers: 1, width: 16, heads: 2, context: 8 }), precision: 'f32', rows: 1, network: { kind: 'lora', lora: { rank: 2, alpha: 2, matrices } },
    training: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 0 },
  })
  using both = session('attention.qkv', 'mlp.up'), one = session('attention.qkv')
  await both.initialize(1)
  saveCheckpoint(folder, both, { step: 3, evaluated: -1, best: null, withoutGain: 0, costs: noCosts('test') }, 1)
  assert.equal((await loadCheckpoint(folder, both))?.step, 3)
  await assert.rejects(loadCheckpoint(folder, one), (error: NichelmError) => error.code === 'CORRUPT' && /holds 288 trained parameters; this run trains 128/.test(error.message))
})
