import { add, attention, embedding, gelu, layerNorm, linearCrossEntropy, linearDistillation, rmsNorm, rotary, swiglu, type TeacherTensors } from '../graph/ops/index.js'
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

/** Final hidden states [rows, length, width] of a transformer, after its last norm. */
export function transformer(p: Weights, config: ModelConfig, { tokens, starts }: Rows): Tensor {
  const { heads, keyValueHeads } = config
  const norm = (x: Tensor, name: string): Tensor =>
    config.norm === 'layer' ? layerNorm(x, p.get(`${name}.gain`), p.get(`${name}.bias`), config.normEpsilon) : rmsNorm(x, p.get(`${name}.gain`), config.normEpsilon)

  let x = embedding(tokens, starts, p.get('wte.weight'), p.find('wpe.weight'))
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `h.${layer}`
    let qkv = p.linear(norm(x, `${at}.norm_1`), `${at}.attention.qkv`)
    if (config.positions === 'rotary') qkv = rotary(qkv, starts, heads, keyValueHeads, config.theta)
    x = add(x, p.linear(attention(qkv, starts, heads, keyValueHeads), `${at}.attention.projection`))
    const up = p.linear(norm(x, `${at}.norm_2`), `${at}.mlp.up`)
    x = add(x, p.linear(config.activation === 'gelu' ? gelu(up) : swiglu(up), `${at}.mlp.down`))
  }
  return norm(x, 'norm_f')
}

/** The output projection [vocabulary, width]. */
export const outputWeight = (p: Weights, config: ModelConfig): Tensor => p.get(config.tied ? 'wte.weight' : 'head.weight')

/**
 * Next-token loss of the rows: nll [rows · length] f32 (nats, 0 where a token does not count) and loss [1] f32, the sum of tokenWeights · nll,
 * or with `distill` of the mixture with a teacher's distributions (see `linearDistillation`).
 */
export function transformerLoss(p: Weights, config: ModelConfig, rows: Rows, into: { nll: Tensor; loss: Tensor }, distill?: { teacher: TeacherTensors; alpha: number; temperature: number }): void {
  const operands = [transformer(p, config, rows), outputWeight(p, config), rows.targets, rows.tokenWeights] as const
  if (distill) linearDistillation(...operands, distill.teacher, distill, into)
  else linearCrossEntropy(...operands, into)
}
