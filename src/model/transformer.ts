import { add, attention, embedding, gelu, layerNorm, linearCrossEntropy, linearDistillation, rmsNorm, rotary, swiglu, type TeacherTensors } from '../graph/ops/index.js'
import { stretch } from '../graph/op.js'
import { persistent, type Tensor } from '../graph/tensor.js'
import type { ModelConfig } from './config.js'
import type { Weights } from './network.js'

/** Rows of packed windows as a program reads them. All [rows, length], i32 but tokenWeights f32. */
export interface Rows { tokens: Tensor; starts: Tensor; targets: Tensor; tokenWeights: Tensor }

/** Input tensors for `rows` rows of `length` tokens. */
export function rowTensors(rows: number, length: number): Rows {
  return {
    tokens: persistent('tokens', 'i32', [rows, length]),
    starts: persistent('document starts', 'i32', [rows, length]),
    targets: persistent('targets', 'i32', [rows, length]),
    tokenWeights: persistent('token weights', 'f32', [rows, length]),
  }
}

/**
 * Activations that the backward pass makes again instead of keeping them (activation checkpointing), in every layer: those up to the attention's result, those
 * inside the MLP, or all but the layer's input.
 */
export const RECOMPUTE = ['none', 'attention', 'mlp', 'blocks'] as const
export type Recompute = (typeof RECOMPUTE)[number]

/** How a layer attends: from queries, keys and values before positions, [rows, length, (heads + 2 kvHeads) · headWidth], to [rows, length, width]. */
export type Attend = (qkv: Tensor, layer: number) => Tensor

/** Attention within packed rows: what training and evaluation do. */
const withinRows = ({ heads, keyValueHeads, positions, theta }: ModelConfig, starts: Tensor): Attend => (qkv) =>
  attention(positions === 'rotary' ? rotary(qkv, starts, heads, keyValueHeads, theta) : qkv, starts, heads, keyValueHeads)

/** Final hidden states [rows, length, width] of a transformer, after its last norm. */
export function transformer(p: Weights, config: ModelConfig, { tokens, starts }: Pick<Rows, 'tokens' | 'starts'>, { recompute = 'none', attend = withinRows(config, starts) }: { recompute?: Recompute; attend?: Attend } = {}): Tensor {
  const marked = (which: Recompute, body: () => Tensor): Tensor => (recompute === which ? stretch(body) : body())
  const norm = (x: Tensor, name: string): Tensor =>
    config.norm === 'layer' ? layerNorm(x, p.get(`${name}.gain`), p.get(`${name}.bias`), config.normEpsilon) : rmsNorm(x, p.get(`${name}.gain`), config.normEpsilon)

  let x = embedding(tokens, starts, p.get('wte.weight'), p.find('wpe.weight'))
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `h.${layer}`, input = x
    x = marked('blocks', () => {
      const seen = marked('attention', () => attend(p.linear(norm(input, `${at}.norm_1`), `${at}.attention.qkv`), layer))
      const middle = add(input, p.linear(seen, `${at}.attention.projection`))
      const inner = marked('mlp', () => {
        const up = p.linear(norm(middle, `${at}.norm_2`), `${at}.mlp.up`)
        return config.activation === 'gelu' ? gelu(up) : swiglu(up)
      })
      return add(middle, p.linear(inner, `${at}.mlp.down`))
    })
  }
  return norm(x, 'norm_f')
}

/** The output projection [vocabulary, width]. */
export const outputWeight = (p: Weights, config: ModelConfig): Tensor => p.get(config.tied ? 'wte.weight' : 'head.weight')

/**
 * Next-token loss of the rows: nll [rows · length] f32 (nats, 0 where a token does not count) and loss [1] f32, the sum of tokenWeights · nll,
 * or with `distill` of the mixture with a teacher's distributions (see `linearDistillation`).
 */
export function transformerLoss(
  p: Weights, config: ModelConfig, rows: Rows, into: { nll: Tensor; loss: Tensor }, distill?: { teacher: TeacherTensors; alpha: number; temperature: number }, recompute: Recompute = 'none',
): void {
  const operands = [transformer(p, config, rows, { recompute }), outputWeight(p, config), rows.targets, rows.tokenWeights] as const
  if (distill) linearDistillation(...operands, distill.teacher, distill, into)
  else linearCrossEntropy(...operands, into)
}
