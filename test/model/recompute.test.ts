import assert from 'node:assert/strict'
import { test } from 'node:test'
import { availableThreads, Device } from '../../bindings/index.js'
import { initialValues } from '../../src/model/initialize.js'
import { planPrograms } from '../../src/model/sessionPlan.js'
import { modelConfig, ModelSession, projectedConfig, RECOMPUTE, type HostRows, type ModelConfig, type Recompute, type SessionOptions } from '../../src/model/index.js'
import { randomRows } from '../../src/train/measure.js'

const training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1 }, rows = 4, vocabulary = 67
const gpt2 = modelConfig('pico', vocabulary, { context: 20 }), llama = modelConfig('pico', vocabulary, { context: 20, norm: 'rms', positions: 'rotary', activation: 'swiglu', biases: false, tied: false, heads: 2, keyValueHeads: 1 })
const probabilities = new Float32Array(rows * 20 * 3).fill(0.25), ids = Int32Array.from({ length: rows * 20 * 3 }, (_, i) => (7 * i) % vocabulary)

/** What is trained in each way that there is, and what its rows bring besides tokens. */
const networks: Record<string, { config: ModelConfig; options?: Partial<SessionOptions>; brings?: Partial<HostRows> }> = {
  slm: { config: gpt2 },
  llama: { config: llama },
  'slm-pn': { config: gpt2, options: { network: { kind: 'projected', projected: projectedConfig(gpt2, { experts: 3 }), groups: 2 } }, brings: { experts: Int32Array.of(2, 0) } },
  'llm-lora': { config: gpt2, options: { network: { kind: 'lora', lora: { rank: 4, alpha: 8, matrices: ['attention.qkv', 'mlp.down'] } } } },
  'slm-d': { config: gpt2, options: { distill: { teacher: { k: 3 }, alpha: 0.5, temperature: 2 } }, brings: { teacher: { ids, probabilities } } },
}

/** Loss, every gradient and, after two steps, every value. */
async function learned(name: string, precision: 'f32' | 'bf16', threads: number, recompute: Recompute | undefined): Promise<Map<string, Float32Array>> {
  const { config, options, brings } = networks[name]!, found = new Map<string, Float32Array>()
  using device = new Device({ threads })
  using session = new ModelSession(device, { config, precision, rows, training, ...options, ...(recompute ? { recompute } : {}) })
  // Frozen weights are nobody's to start.
  for (const { name: parameter, shape } of session.specs('values')) session.write('values', parameter, initialValues({ name: parameter, shape, start: { normal: 0.1 } }, 5))
  await session.initialize(3)
  const batch = { ...randomRows(rows, config.context, vocabulary), ...brings }
  for (let step = 1; step <= 2; step++) {
    // Adapters' first factors get a gradient from the second step on.
    found.set(`loss of step ${step}`, Float32Array.of(await session.accumulate([batch, batch])))
    for (const spec of session.specs('gradient')) found.set(`gradient of ${spec.name} in step ${step}`, session.read('gradient', spec.name))
    found.set(`norm of step ${step}`, Float32Array.of(await session.update(step, 1e-2)))
  }
  for (const spec of session.specs('values')) found.set(spec.name, session.read('values', spec.name))
  return found
}

for (const name of Object.keys(networks))
  test(`${name}: what is made again has the same bits as what is kept`, async () => {
    for (const precision of ['f32', 'bf16'] as const) {
      const kept = await learned(name, precision, 1, undefined)
      assert.ok([...kept].some(([what, values]) => what.startsWith('gradient') && values.some((value) => value !== 0)))
      for (const recompute of RECOMPUTE) assert.deepEqual(await learned(name, precision, recompute === 'blocks' ? availableThreads() : 1, recompute), kept, `${precision}, ${recompute}`)
    }
  })

test('making activations again takes less memory, and no FLOPs of the model', () => {
  for (const [name, { options }] of Object.entries(networks)) {
    const config = modelConfig('nano', 4096), network = options?.network
    const planned = RECOMPUTE.map((recompute) => {
      const projected = network?.kind === 'projected' ? { network: { ...network, projected: projectedConfig(config, { experts: 3 }) } } : {}
      const { memory, programs: { micro } } = planPrograms({ config, precision: 'bf16', rows: 8, training, ...options, ...projected, recompute })
      return { activations: memory.activations, flops: micro!.flops, calls: micro!.nodes.length }
    })
    const [none, attention, mlp, blocks] = planned as [typeof planned[0], typeof planned[0], typeof planned[0], typeof planned[0]]
    assert.ok(attention.activations < 0.8 * none.activations && mlp.activations < 0.85 * none.activations && blocks.activations < 0.5 * none.activations, `${name}: ${planned.map((one) => one.activations).join(', ')}`)
    assert.ok(blocks.calls > none.calls)
    for (const { flops } of planned) assert.equal(flops, none.flops)
  }
})

test('no plan takes much more than what is alive at once', () => {
  for (const precision of ['f32', 'bf16'] as const)
    for (const preset of ['nano', 'mini', 'slm'] as const)
      for (const name of Object.keys(networks))
        for (const recompute of RECOMPUTE) {
          const { options, config: { norm } } = networks[name]!, base = modelConfig(preset, 8192), network = options?.network
          const config: ModelConfig = norm === 'rms' ? { ...base, norm, positions: 'rotary', activation: 'swiglu', biases: false, tied: false } : base
          const projected = network?.kind === 'projected' ? { network: { ...network, projected: projectedConfig(config, { experts: 16 }) } } : {}
          for (const [program, lowered] of Object.entries(planPrograms({ config, precision, rows: 8, training, ...options, ...projected, recompute }).programs)) {
            if (!lowered) continue
            assert.ok(lowered.liveBytes <= lowered.temporaryBytes && lowered.temporaryBytes <= 1.1 * lowered.liveBytes, `${preset}, ${name}, ${precision}, ${recompute}, ${program}: ${lowered.temporaryBytes} for ${lowered.liveBytes}`)
          }
        }
})
