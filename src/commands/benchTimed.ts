import Table from 'cli-table3'
import { Arena, type Device, type DeviceFacts, type OpTiming, type ProductFacts } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { Layout, lower } from '../graph/lower.js'
import { trace } from '../graph/op.js'
import { interruption, openDevice } from './frame.js'

export const about = ({ kind, isa, threads, gpu }: DeviceFacts) => (gpu ? { device: kind, gpu: gpu.name } : { device: kind, isa, threads })

export interface Rated { flopsPerSecond: number; peakFlopsPerSecond: number | null; peakFraction: number | null; device?: string }

/** A rate beside what the device can do. Throws INTERNAL where a GPU were faster than its maker says: then the count or the clock is wrong. */
export function rated(device: Device, flopsPerSecond: number, peak: number | undefined): Rated {
  const fraction = peak === undefined ? null : flopsPerSecond / peak, { gpu } = device.describe()
  if (gpu && fraction !== null && fraction > 1) throw impossible(`${(100 * fraction).toFixed(1)}% of what ${gpu.name} can compute`)
  return { flopsPerSecond, peakFlopsPerSecond: peak ?? null, peakFraction: fraction }
}
const impossible = (what: string): NichelmError => new NichelmError('INTERNAL', `measured ${what}: the measurement is wrong`, { fix: 'Report it with the command, the GPU\'s name and the driver\'s version.' })

export const share = ({ device, flopsPerSecond, peakFlopsPerSecond: peak, peakFraction }: Rated): string =>
  `${(flopsPerSecond / 1e9).toFixed(1)} GFLOP/s${peak === null || peakFraction === null ? '' : `, ${(100 * peakFraction).toFixed(1)}% of ${device === 'cuda' ? `the ${(peak / 1e12).toFixed(0)} TFLOP/s that its maker states` : 'the measured peak'}`}`

/** Who computed matrix products, where nichelm's own kernels were not the only ones to choose from. */
export const productsText = (products: ProductFacts | undefined): string => (products?.choices ?? []).map(({ product, by, ownSeconds: own, librarySeconds: library }) =>
  `\n${product}: by ${by === 'own' ? 'nichelm' : 'cuBLASLt'}${own === null || library === null ? '' : `, ${(1000 * own).toFixed(3)} ms by nichelm and ${(1000 * library).toFixed(3)} by cuBLASLt when it was measured`}`).join('')

export const utilisation = (tokensPerSecond: number, flopsPerToken: number, peak: number | undefined): string =>
  peak === undefined ? '' : `\nutilisation = tokens/s x FLOPs a token / peak FLOP/s = ${tokensPerSecond.toFixed(0)} x ${flopsPerToken.toExponential(3)} / ${peak.toExponential(3)}`

/** Ops by the time they take in all, and each one's share of what all take. */
export function profileText(profile: readonly OpTiming[]): string {
  const table = new Table({ head: ['op', 'calls', 'ms', 'share'], colAligns: ['left', 'right', 'right', 'right'], style: { head: [], border: [], compact: true } }), all = profile.reduce((sum, { seconds }) => sum + seconds, 0)
  for (const { op, calls, seconds } of profile) table.push([op, calls, (1000 * seconds).toFixed(3), `${(100 * seconds / all).toFixed(1)}%`])
  table.push(['all', profile.reduce((sum, { calls }) => sum + calls, 0), (1000 * all).toFixed(3), ''])
  return table.toString()
}

export interface Traffic { seconds: number; bytesPerSecond: number; bandwidthFraction: number | null }
export const traffic = ({ seconds, bytesPerSecond, bandwidthFraction }: Traffic): string =>
  `${(1000 * seconds).toFixed(3)} ms, ${(bytesPerSecond / 1e9).toFixed(1)} GB/s${bandwidthFraction === null ? '' : `, ${(100 * bandwidthFraction).toFixed(1)}% of the bandwidth that its maker states`}`

/** Runs of a program that are timed together on a GPU, so that the start of one counts for little. */
const TOGETHER = 20

/** Median time of a traced program on zeros; the first run is not counted. `bytes`: that it must read and write. */
export async function timed({ device: name, threads, precision, steps }: { device: string; threads: number; precision: 'f32' | 'bf16'; steps: number }, body: (dtype: 'f32' | 'bf16') => void, bytes = 0) {
  using device = openDevice({ device: name, threads })
  const peak = await device.peak(precision), layout = new Layout()
  const lowered = lower(trace(() => body(precision)), layout)
  using arena = new Arena(Math.max(1, layout.bytes + lowered.temporaryBytes), device)
  using program = device.compile(arena, lowered.text(layout))
  const { gpu } = device.describe(), commands = Array.from({ length: gpu ? TOGETHER : 1 }, () => ({ program })), all: number[] = []
  for (let step = 0; step <= steps; step++) {
    interruption.signal.throwIfAborted()
    const began = performance.now()
    await device.run(arena, commands)
    if (step > 0) all.push((performance.now() - began) / 1000 / commands.length)
  }
  const seconds = all.sort((a, b) => a - b)[Math.floor(all.length / 2)]!, bytesPerSecond = bytes / seconds
  const bandwidthFraction = gpu?.bandwidth === undefined ? null : bytesPerSecond / gpu.bandwidth
  // Less than the second-level cache holds may be faster than the memory.
  if (bandwidthFraction !== null && bandwidthFraction > 1 && bytes > 512 * 2 ** 20) throw impossible(`${(100 * bandwidthFraction).toFixed(1)}% of the bandwidth of ${gpu!.name}`)
  const products = device.describe().gpu?.products
  return { ...about(device.describe()), precision, steps, seconds, ...rated(device, lowered.flops / seconds, peak), bytesPerSecond, bandwidthFraction, ...(products && products.mode !== 'own' ? { products } : {}) }
}
