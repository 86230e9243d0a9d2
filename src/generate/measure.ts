import { Arena, type Device } from '../../bindings/index.js'
import { philox } from '../base/random.js'
import { Layout, lower } from '../graph/lower.js'
import { trace } from '../graph/op.js'
import { globalNorm } from '../graph/ops/index.js'
import { persistent } from '../graph/tensor.js'
import { initialValues } from '../model/initialize.js'
import { ModelSession, parameterSpecs, type ModelConfig, type Precision } from '../model/index.js'
import { randomRows } from '../train/measure.js'
import { MOST_STEPS } from './generate.js'
import { InferenceSession } from './session.js'

export interface MeasureInferenceOptions { device: Device; config: ModelConfig; precision: Precision; signal?: AbortSignal }

const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Seconds of one forward pass over `rows` full rows, by the programs of evaluation: the median of `steps`; one more comes first and is not counted. */
export async function measureForward({ device, config, precision, signal, rows, length, steps }: MeasureInferenceOptions & { rows: number; length: number; steps: number }): Promise<{ secondsPerStep: number; tokensPerStep: number; memoryBytes: number }> {
  using session = new ModelSession(device, { config, precision, rows, length })
  await session.initialize(1)
  const batch = randomRows(rows, length, config.vocabulary), seconds: number[] = []
  for (let step = 0; step <= steps; step++) {
    signal?.throwIfAborted()
    const began = performance.now()
    await session.evaluate(batch)
    if (step > 0) seconds.push((performance.now() - began) / 1000)
  }
  return { secondsPerStep: median(seconds), tokensPerStep: rows * length, memoryBytes: session.memory.total }
}

export interface GenerationMeasurement {
  /** Texts at once, and tokens of each prompt. */
  batch: number
  promptTokens: number
  prefillTokensPerSecond: number
  decodeTokensPerSecond: number
  /** Of one decoding step, in the middle of the measurement: weights, and keys and values of all texts. */
  bytesPerStep: number
  bytesPerSecond: number
  /** What the device reads of as many bytes when it does nothing else, in the same run. */
  streamBytesPerSecond: number
  bandwidthFraction: number
  memoryBytes: number
}

/** Of decoding, at least. */
const LEAST_SECONDS = 0.5

/** Speed of reading prompts and of `steps` decoding steps after them, of `batch` texts at once. */
export async function measureGeneration(options: MeasureInferenceOptions & { batch: number; promptTokens: number; steps: number }): Promise<GenerationMeasurement> {
  const { device, config, precision, signal, batch, promptTokens, steps } = options
  using session = new InferenceSession(device, { config, precision, slots: batch, capacity: promptTokens + steps, sampling: { temperature: 0, topK: 0, topP: 1 } })
  session.load({ *parameters() { for (const spec of parameterSpecs(config)) yield { name: spec.name, values: initialValues(spec, 1) } } })
  const prompts = Array.from({ length: batch }, (_, text) => Array.from({ length: promptTokens }, (__, i) => philox(text, i, 0)[0] % config.vocabulary))
  const prefill = async (): Promise<number> => {
    const began = performance.now()
    for (const [slot, prompt] of prompts.entries()) await session.prefill(slot, prompt)
    return (performance.now() - began) / 1000
  }
  for (let warm = 0; warm < 2; warm++) await session.prefill(0, prompts[0]!)  // on a GPU the first run loads kernels, and the second records
  const prefillSeconds = await prefill(), seconds: number[] = []
  // From the prompts' ends again and again, so that what small models do in little time is no matter of a few calls.
  for (let spent = 0; spent < LEAST_SECONDS;) {
    let tokens = new Int32Array(batch)
    for (let step = 0; step < steps;) {
      signal?.throwIfAborted()
      const began = performance.now(), together = Math.min(MOST_STEPS, steps - step)
      const drawn = await session.decodeSteps(Array.from(tokens, (token, slot) => ({ slot, cached: promptTokens + step, token, uniform: 0 })), together, () => 0)
      tokens = drawn.at(-1) as Int32Array<ArrayBuffer>
      const took = (performance.now() - began) / 1000
      seconds.push(took / together)
      spent += took
      step += together
    }
  }
  const element = precision === 'bf16' ? 2 : 4, keyWidth = (config.keyValueHeads * config.width) / config.heads
  const matrices = parameterSpecs(config).filter(({ name }) => name.endsWith('.weight') && name !== 'wpe.weight' && (name !== 'wte.weight' || config.tied))
  const weightBytes = element * matrices.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0)
  const bytesPerStep = weightBytes + batch * config.layers * 2 * keyWidth * element * (promptTokens + steps / 2), secondsPerStep = median(seconds)
  const streamBytesPerSecond = await measureStreaming(device, bytesPerStep)
  return {
    batch, promptTokens, prefillTokensPerSecond: (batch * promptTokens) / prefillSeconds, decodeTokensPerSecond: batch / secondsPerStep, bytesPerStep, bytesPerSecond: bytesPerStep / secondsPerStep,
    streamBytesPerSecond, bandwidthFraction: bytesPerStep / secondsPerStep / streamBytesPerSecond, memoryBytes: session.memory.total,
  }
}

/** Bytes a second of reading so many bytes again and again, from whichever cache or memory holds them: the fastest of several passes of a sum of squares. */
async function measureStreaming(device: Device, bytes: number): Promise<number> {
  const count = Math.max(1024, Math.ceil(bytes / 4)), x = persistent('x', 'f32', [count]), norm = persistent('norm', 'f32', [1]), layout = new Layout()
  const lowered = lower(trace(() => void globalNorm(x, 0, norm)), layout)
  using arena = new Arena(layout.bytes + lowered.temporaryBytes, device)
  using program = device.compile(arena, lowered.text(layout))
  const timings: number[] = [], passes = Math.max(3, Math.min(200, Math.floor(2e9 / bytes)))
  for (let pass = 0; pass < passes; pass++) timings.push(...(await device.profile(program)).map(({ seconds }) => seconds))
  return (4 * count) / Math.min(...timings)
}
