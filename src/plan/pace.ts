import type { Device } from '../../bindings/index.js'
import { countModel, type ModelConfig, type Precision } from '../model/index.js'
import { deviceName, measureStep } from '../train/index.js'

export interface Pace {
  flopsPerSecond: number
  /** How it was found. */
  basis: string
  device: string
}

/** A share of the peak that training reaches on a CPU, where measuring a step would take too long. */
const USUAL_SHARE = 0.4
/** Seconds that a step may take to be measured. */
const LONGEST_STEP = 3
/** Bytes that a measured step may take: beyond, the peak is enough. */
const MOST_MEMORY = 1 << 30

/** How fast this machine trains the model: two measured steps of few rows, or for models too large for that 40% of the device's peak, where it is known. */
export async function paceOf(config: ModelConfig, { device, precision, signal }: { device: Device; precision: Precision; signal?: AbortSignal }): Promise<Pace> {
  const name = deviceName(device.describe()), peak = await device.peak(precision)
  const { trainingFlopsPerToken, parameters } = countModel(config), rows = Math.max(1, Math.min(32, Math.floor(8192 / config.context)))
  const most = device.describe().kind === 'cuda' ? Infinity : MOST_MEMORY
  if (peak !== undefined && (trainingFlopsPerToken * rows * config.context / (USUAL_SHARE * peak) > LONGEST_STEP || 20 * parameters > most)) {
    return { flopsPerSecond: USUAL_SHARE * peak, basis: `${100 * USUAL_SHARE}% of the peak of ${(peak / 1e9).toFixed(0)} GFLOP/s`, device: name }
  }
  const { secondsPerStep, flopsPerStep } = await measureStep({ device, config, precision, rows, length: config.context, steps: 2, ...signal ? { signal } : {} })
  return { flopsPerSecond: flopsPerStep / secondsPerStep, basis: `a measured step of ${(1000 * secondsPerStep).toFixed(0)} ms`, device: name }
}
