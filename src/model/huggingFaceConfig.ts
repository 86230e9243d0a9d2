import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { readJson } from '../base/files.js'
import { checkConfig, headWidth, type ModelConfig } from './config.js'

type Json = Record<string, unknown>

/** Which Hugging Face architecture a configuration is; undefined if it mixes choices of both. */
export function familyOf(config: ModelConfig): 'gpt2' | 'llama' | undefined {
  if (config.norm === 'layer' && config.positions === 'learned' && config.activation === 'gelu' && config.biases && config.keyValueHeads === config.heads) return 'gpt2'
  if (config.norm === 'rms' && config.positions === 'rotary' && config.activation === 'swiglu' && !config.biases) return 'llama'
  return undefined
}

/** config.json of a Hugging Face folder. Throws CONFIG if neither architecture can say it. */
export function toHuggingFaceConfig(config: ModelConfig, endOfText?: number): Json {
  const family = familyOf(config)
  const common = { vocab_size: config.vocabulary, tie_word_embeddings: config.tied, dtype: 'float32', use_cache: true, initializer_range: 0.02, ...(endOfText === undefined ? {} : { bos_token_id: endOfText, eos_token_id: endOfText }) }
  if (family === 'gpt2') return {
    architectures: ['GPT2LMHeadModel'], model_type: 'gpt2', activation_function: 'gelu_new', n_positions: config.context, n_ctx: config.context, n_embd: config.width,
    n_layer: config.layers, n_head: config.heads, n_inner: config.mlp, layer_norm_epsilon: config.normEpsilon, attn_pdrop: 0, embd_pdrop: 0, resid_pdrop: 0, ...common,
  }
  if (family === 'llama') return {
    architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_act: 'silu', max_position_embeddings: config.context, hidden_size: config.width,
    num_hidden_layers: config.layers, num_attention_heads: config.heads, num_key_value_heads: config.keyValueHeads, head_dim: headWidth(config),
    intermediate_size: config.mlp, rms_norm_eps: config.normEpsilon, rope_theta: config.theta, rope_parameters: { rope_type: 'default', rope_theta: config.theta },
    attention_bias: false, mlp_bias: false, ...common,
  }
  throw new NichelmError('CONFIG', 'this mixture of choices is neither GPT-2 nor Llama, so it has no Hugging Face form', {
    fix: 'Use layer norm, learned positions, GELU and biases together, or RMS norm, rotary positions and SwiGLU without biases.',
  })
}

/** Reads config.json of a Hugging Face folder. Throws INPUT that names the field for what is not supported. */
export function fromHuggingFaceConfig(folder: string): ModelConfig {
  const file = join(folder, 'config.json')
  if (!existsSync(file) && existsSync(join(folder, 'projected.json')))
    throw new NichelmError('INPUT', 'holds a projected network, not an ordinary model', { place: { file: folder }, fix: 'Write one of its experts with `nichelm instantiate`, and name that.' })
  const json = readJson(file)
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new NichelmError('CORRUPT', 'is not a JSON object', { place: { file } })
  const from = new Fields(json as Json, file)
  const family = from.text('model_type')
  if (family === 'gpt2') return checkConfig(gpt2(from), file)
  if (family === 'llama') return checkConfig(llama(from), file)
  return from.refuse('model_type', `"${family}" is not supported; there are "gpt2" and "llama"`)
}

function gpt2(from: Fields): ModelConfig {
  from.oneOf('activation_function', ['gelu_new', 'gelu_pytorch_tanh'])
  from.oneOf('scale_attn_weights', [true, undefined])
  from.oneOf('scale_attn_by_inverse_layer_idx', [false, undefined])
  from.oneOf('add_cross_attention', [false, undefined])
  const width = from.count('n_embd'), heads = from.count('n_head')
  return {
    vocabulary: from.count('vocab_size'), context: from.count('n_positions'), layers: from.count('n_layer'), width, heads, keyValueHeads: heads,
    mlp: from.has('n_inner') ? from.count('n_inner') : 4 * width, norm: 'layer', normEpsilon: from.number('layer_norm_epsilon', 1e-5),
    positions: 'learned', theta: 10000, activation: 'gelu', biases: true, tied: from.flag('tie_word_embeddings', true),
  }
}

function llama(from: Fields): ModelConfig {
  from.oneOf('hidden_act', ['silu', undefined])
  from.oneOf('attention_bias', [false, undefined])
  from.oneOf('mlp_bias', [false, undefined])
  const rope = new Fields((from.json.rope_parameters ?? from.json.rope_scaling ?? {}) as Json, from.file)
  rope.oneOf('rope_type', ['default', undefined])
  const width = from.count('hidden_size'), heads = from.count('num_attention_heads')
  if (from.has('head_dim') && from.count('head_dim') * heads !== width) from.refuse('head_dim', `${from.count('head_dim')} times ${heads} heads is not the width ${width}`)
  return {
    vocabulary: from.count('vocab_size'), context: from.count('max_position_embeddings'), layers: from.count('num_hidden_layers'), width, heads,
    keyValueHeads: from.has('num_key_value_heads') ? from.count('num_key_value_heads') : heads, mlp: from.count('intermediate_size'), norm: 'rms',
    normEpsilon: from.number('rms_norm_eps', 1e-6), positions: 'rotary', theta: rope.number('rope_theta', from.number('rope_theta', 10000)), activation: 'swiglu', biases: false,
    tied: from.flag('tie_word_embeddings', false),
  }
}

/** Fields of a JSON object, told by name when they are missing or of another kind. */
class Fields {
  constructor(readonly json: Json, readonly file: string) {}
  refuse(field: string, what: string): never { throw new NichelmError('INPUT', what, { place: { file: this.file, field } }) }
  has(field: string): boolean { return this.json[field] !== undefined && this.json[field] !== null }
  text(field: string): string {
    const value = this.json[field]
    return typeof value === 'string' ? value : this.refuse(field, 'is missing')
  }
  number(field: string, otherwise?: number): number {
    const value = this.json[field] ?? otherwise
    return typeof value === 'number' && Number.isFinite(value) ? value : this.refuse(field, 'must be a number')
  }
  count(field: string): number {
    const value = this.number(field)
    return Number.isSafeInteger(value) && value > 0 ? value : this.refuse(field, `must be a positive whole number; it is ${value}`)
  }
  flag(field: string, otherwise: boolean): boolean {
    const value = this.json[field] ?? otherwise
    return typeof value === 'boolean' ? value : this.refuse(field, 'must be true or false')
  }
  oneOf(field: string, allowed: unknown[]): void {
    const value = this.json[field] ?? undefined
    if (!allowed.includes(value)) this.refuse(field, `${JSON.stringify(value)} is not supported; it can be ${allowed.map((v) => (v === undefined ? 'absent' : JSON.stringify(v))).join(' or ')}`)
  }
}
