import { cpus } from 'node:os'
import type { DeviceFacts } from '../../bindings/index.js'

/** What was spent. Adds up over stages and over starts of a run. */
export interface Costs {
  /** Tokens trained on, padding left out. */
  tokens: number
  /** By the formula of the model's programs: products and attention, forward and backward, evaluation and padding included. */
  flops: number
  /** Hours that the device computed for, evaluation included. */
  deviceHours: number
  /** What the hours are of. */
  device: string
}

export const noCosts = (device: string): Costs => ({ tokens: 0, flops: 0, deviceHours: 0, device })

/** Sum of costs; hours of different devices cannot be added, so the name lists both. */
export function addCosts(...costs: readonly Costs[]): Costs {
  return costs.reduce((a, b) => ({
    tokens: a.tokens + b.tokens, flops: a.flops + b.flops, deviceHours: a.deviceHours + b.deviceHours,
    device: a.device === b.device || !b.deviceHours ? a.device : a.deviceHours ? `${a.device} + ${b.device}` : b.device,
  }))
}

/** The device in words: the GPU's name, or the processor's, threads, instruction set. */
export function deviceName(facts: DeviceFacts): string {
  if (facts.gpu) return facts.gpu.name
  return `${cpus()[0]?.model.trim() || 'CPU'}, ${facts.threads} ${facts.threads === 1 ? 'thread' : 'threads'}, ${facts.isa}`
}
