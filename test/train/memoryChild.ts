// Trains for some steps in a process of its own, then prints what was planned that it would hold and what it did hold at the most, in bytes.
import { Device } from '../../bindings/index.js'
import { modelConfig, residentBytes, trainingMemory, type Recompute, type SessionOptions } from '../../src/model/index.js'
import { peakResidentBytes, randomRows } from '../../src/train/measure.js'
import { train } from '../../src/train/index.js'

const [folder, precision, recompute, count] = process.argv.slice(2) as [string, 'f32' | 'bf16', Recompute, string]
const config = modelConfig('nano', 4096), rows = Number(count), training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 1 }
const options: SessionOptions = { config, precision, rows, training, recompute }
using device = new Device({ threads: 1 })
const planned = residentBytes(trainingMemory([options], device.describe()))
const batch = { ...randomRows(rows, config.context, config.vocabulary), tokenCount: rows * config.context, textBytes: 4 * rows * config.context }
await train({
  folder, device, config, precision, start: { seed: 1 }, rows: () => batch, validation: () => [batch], identity: 'memory',
  settings: {
    steps: 3, batch: rows, accumulate: 1, recompute, rate: 1e-3, warmup: 1, schedule: 'constant', finalRate: 1, weightDecay: 0, betas: [0.9, 0.95], epsilon: 1e-8, clip: 1,
    evaluateEvery: 1, checkpointEvery: 1, keep: 1,
  },
})
console.log(JSON.stringify({ planned, held: peakResidentBytes() }))
