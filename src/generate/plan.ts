import { Layout, lower, type Lowered } from '../graph/lower.js'
import { trace } from '../graph/op.js'
import { cachedAttention, matmul, rotaryTable, sample, type KeyValueCache, type SampleSettings } from '../graph/ops/index.js'
import { persistent, viewOf, type Tensor } from '../graph/tensor.js'
import { headWidth } from '../model/config.js'
import type { ModelConfig, Precision } from '../model/index.js'
import { outputWeight, transformer } from '../model/transformer.js'
import { ServedWeights } from './weights.js'

export interface InferenceOptions {
  config: ModelConfig
  precision: Precision
  /** Texts that are continued at once, at most MOST_SLOTS. */
  slots: number
  /** Tokens that a text can have; at most the model's context. */
  capacity: number
  sampling: SampleSettings
}

/**
 * Rows that one decoding step can have. Products of so few rows compute the same bits for a row whatever the others hold (native/ops/matmul/thin.h), so a text
 * does not depend on what is generated beside it; and beyond that the weights' way from memory is no longer what takes the time.
 */
export const MOST_SLOTS = 64

/** Tokens of a prompt that are read at once; a rest that is shorter than the least is padded. By the model alone, so that a text's bits depend on nothing else. */
const piecesOf = ({ context }: ModelConfig): number[] => [...new Set([256, 64, 16].map((length) => Math.min(length, context)))]

/** Bytes of the arena, by what they hold. */
export interface InferenceMemory { parameters: number; cache: number; inputs: number; activations: number; total: number }

/** What a program reads of its rows: tokens [rows, length]; starts, as many, minus the number of tokens before the row; slot and that number again, [rows]. All i32. */
export interface RowInputs { tokens: Tensor; starts: Tensor; slots: Tensor; cached: Tensor }

export interface InferencePlan {
  weights: ServedWeights
  layout: Layout
  /** By the number of tokens that they read: they only fill the cache. */
  prefill: { length: number; inputs: RowInputs; program: Lowered }[]
  /** By the number of rows. The drawn ids take the place of the tokens, so that the next step can follow at once. */
  decode: { rows: number; inputs: RowInputs; uniform: Tensor; logits: Tensor; program: Lowered }[]
  /** The angles of all positions, where the model turns by them. */
  angles: { cosine: Tensor; sine: Tensor } | undefined
  memory: InferenceMemory
}

/** Traces, lowers and places everything that generating text will run; nothing is allocated. */
export function planInference(options: InferenceOptions): InferencePlan {
  const { config, precision, slots, capacity, sampling } = options
  const weights = new ServedWeights(config, precision), layout = new Layout(), half = headWidth(config) / 2
  const caches = Array.from({ length: config.layers }, (_, layer) => (['keys', 'values'] as const).map((what) => persistent(`${what} of layer ${layer}`, precision, [slots, config.keyValueHeads, capacity, headWidth(config)])))
  const angles = config.positions === 'rotary' ? { cosine: persistent('cosines', 'f32', [capacity, half]), sine: persistent('sines', 'f32', [capacity, half]) } : undefined
  weights.place(layout)
  layout.place(...caches.flat(), ...(angles ? [angles.cosine, angles.sine] : []))

  const hidden = ({ tokens, starts, slots: of, cached }: RowInputs): Tensor =>
    transformer(weights, config, { tokens, starts }, {
      attend: (qkv, layer) => {
        const [keys, values] = caches[layer] as [Tensor, Tensor], cache: KeyValueCache = { keys, values, slots: of, cached }
        return cachedAttention(angles ? rotaryTable(qkv, starts, angles, config.heads, config.keyValueHeads) : qkv, cache, config.heads, config.keyValueHeads)
      },
    })
  const prefill = piecesOf(config).map((length) => {
    const inputs = rowInputs(`a piece of ${length}`, 1, length)
    return { length, inputs, program: lower(trace(() => void hidden(inputs)), layout) }
  })
  // The largest first: the smaller ones take the beginning of its tensors.
  const whole = { inputs: rowInputs('the rows', slots, 1), uniform: persistent('uniform numbers', 'f32', [slots]), logits: persistent('logits', 'f32', [slots, 1, config.vocabulary]) }
  const decode = rowCounts(slots).map((rows) => {
    const part = (tensor: Tensor): Tensor => viewOf(tensor, 0, [rows, ...tensor.shape.slice(1)])
    const inputs: RowInputs = { tokens: part(whole.inputs.tokens), starts: part(whole.inputs.starts), slots: part(whole.inputs.slots), cached: part(whole.inputs.cached) }
    const uniform = part(whole.uniform), logits = part(whole.logits)
    return {
      rows, inputs, uniform, logits,
      program: lower(trace(() => sample(matmul(hidden(inputs), outputWeight(weights, config), { transposeB: true, f32: true, into: logits }), uniform, sampling, viewOf(whole.inputs.tokens, 0, [rows]))), layout),
    }
  })
  const activations = Math.max(...[...prefill, ...decode].map(({ program }) => program.temporaryBytes)), cache = caches.flat().reduce((sum, tensor) => sum + tensor.bytes, 0)
  const memory = { parameters: weights.bytes, cache, inputs: layout.bytes - weights.bytes - cache, activations, total: layout.bytes + activations }
  return { weights, layout, prefill, decode, angles, memory }
}

const rowInputs = (of: string, rows: number, length: number): RowInputs => ({
  tokens: persistent(`tokens of ${of}`, 'i32', [rows, length]), starts: persistent(`starts of ${of}`, 'i32', [rows, length]),
  slots: persistent(`slots of ${of}`, 'i32', [rows]), cached: persistent(`lengths of ${of}`, 'i32', [rows]),
})

/** Numbers of rows that there are programs for: the powers of two, and all slots. */
function rowCounts(slots: number): number[] {
  const counts = [slots]
  for (let rows = 2 ** Math.floor(Math.log2(slots)); rows >= 1; rows /= 2) if (rows < slots) counts.push(rows)
  return counts
}

/** Cosines and sines [positions, headWidth / 2] of position · theta^(-2 i / headWidth), in double and then rounded. */
export function anglesOf(config: ModelConfig, positions: number): { cosine: Float32Array<ArrayBuffer>; sine: Float32Array<ArrayBuffer> } {
  const half = headWidth(config) / 2, cosine = new Float32Array(positions * half), sine = new Float32Array(positions * half)
  for (let i = 0; i < half; i++) {
    const step = config.theta ** (-i / half)
    for (let position = 0; position < positions; position++) {
      cosine[position * half + i] = Math.cos(position * step)
      sine[position * half + i] = Math.sin(position * step)
    }
  }
  return { cosine, sine }
}
