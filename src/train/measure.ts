import { readFileSync } from 'node:fs'
import type { Device, OpTiming } from '../../bindings/index.js'
import { philox } from '../base/random.js'
import { ModelSession, residentBytes, trainingMemory, type HostRows, type ModelConfig, type NetworkOptions, type Precision, type Recompute, type SessionOptions } from '../model/index.js'

export interface StepMeasurement {
  /** Median of the steps. */
  secondsPerStep: number
  tokensPerStep: number
  flopsPerStep: number
  memoryBytes: number
  /** Bytes that the process was to hold at the most, by the plan, and those it did hold since it began. Null on a GPU, whose memory is not the process's; the second too where the system does not tell. */
  plannedResidentBytes: number | null
  peakResidentBytes: number | null
  /** One step's time, op by op, each alone: what lies between them is not in it. Where it was asked for. */
  profile?: OpTiming[]
}

export interface MeasureOptions { device: Device; config: ModelConfig; precision: Precision; network?: NetworkOptions | undefined; rows: number; length: number; steps: number; recompute?: Recompute | undefined; profile?: boolean; signal?: AbortSignal }

/** Times whole training steps (forward, backward, clipping, AdamW) on random full rows; one step more comes first and is not counted. */
export async function measureStep({ device, config, precision, network, rows, length, steps, recompute, profile, signal }: MeasureOptions): Promise<StepMeasurement> {
  const options: SessionOptions = {
    config, precision, rows, length, ...(network ? { network } : {}), ...(recompute ? { recompute } : {}), training: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clip: 1 },
  }
  const facts = device.describe(), plannedResidentBytes = facts.gpu ? null : residentBytes(trainingMemory([options], facts))
  using session = new ModelSession(device, options)
  await session.initialize(1)
  const experts = network?.kind === 'projected' ? { experts: Int32Array.from({ length: network.groups }, (_, group) => group % network.projected.experts) } : {}
  const batch = { ...randomRows(rows, length, config.vocabulary), ...experts }, seconds: number[] = []
  for (let step = 1; step <= steps + 1; step++) {
    signal?.throwIfAborted()
    const began = performance.now()
    await session.accumulate([batch])
    await session.update(step, 1e-4, [batch])
    if (step > 1) seconds.push((performance.now() - began) / 1000)
  }
  seconds.sort((a, b) => a - b)
  return { secondsPerStep: seconds[Math.floor(seconds.length / 2)]!, tokensPerStep: rows * length, flopsPerStep: session.flops, memoryBytes: session.memory.total, plannedResidentBytes, peakResidentBytes: facts.gpu ? null : peakResidentBytes(), ...profile ? { profile: await session.profile() } : {} }
}

/** The most bytes that this process has held since it began; null where the system does not tell. */
export function peakResidentBytes(): number | null {
  try {
    const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))
    return found ? 1024 * Number(found[1]) : null
  } catch { return null }
}

/** Full rows of one document each. */
export function randomRows(rows: number, length: number, vocabulary: number): HostRows {
  const tokens = Int32Array.from({ length: rows * length }, (_, i) => philox(1, i, 0)[0] % vocabulary)
  const weights = new Float32Array(rows * length).fill(1)
  for (let row = 1; row <= rows; row++) weights[row * length - 1] = 0
  return { rows, length, tokens, targets: Int32Array.from(tokens, (_, i) => tokens[i + 1] ?? 0), weights, starts: new Int32Array(rows * length) }
}
