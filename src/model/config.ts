import { NichelmError } from '../base/errors.js'

/** A transformer's choices. GPT-2: layer, learned, gelu, biases; Llama: rms, rotary, swiglu, no biases. */
export interface ModelConfig {
  /** Number of tokens. */
  vocabulary: number
  /** Longest row, in tokens. */
  context: number
  layers: number
  /** Length of a token's vector. */
  width: number
  /** Query heads; they divide the width. */
  heads: number
  /** Key and value heads; they divide `heads`. Fewer than heads: grouped-query attention (arXiv 2305.13245). */
  keyValueHeads: number
  /** Width inside the MLP. */
  mlp: number
  norm: 'layer' | 'rms'
  /** Added to the variance in norms. */
  normEpsilon: number
  positions: 'learned' | 'rotary'
  /** Base of the rotary angles; used with rotary positions only. */
  theta: number
  activation: 'gelu' | 'swiglu'
  biases: boolean
  /** The output projection is the token embedding. */
  tied: boolean
}

const gpt2 = { norm: 'layer', normEpsilon: 1e-5, positions: 'learned', theta: 10000, activation: 'gelu', biases: true, tied: true } as const

const sizes = (layers: number, width: number, heads: number, mlp: number, context: number): Omit<ModelConfig, 'vocabulary'> =>
  ({ layers, width, heads, keyValueHeads: heads, mlp, context, ...gpt2 })

/** The named models. pico is small enough to be short of capacity; nano and mini are for trying out; gpt2 is GPT-2 small; slm and llm are those of arXiv 2402.01093, section 3. */
export const PRESETS = {
  pico: sizes(2, 64, 2, 256, 128),
  nano: sizes(4, 128, 4, 512, 256),
  mini: sizes(4, 256, 4, 1024, 256),
  gpt2: sizes(12, 768, 12, 3072, 1024),
  slm: sizes(7, 1024, 8, 4096, 1024),
  llm: sizes(7, 2816, 22, 11264, 1024),
} as const satisfies Record<string, Omit<ModelConfig, 'vocabulary'>>

export type Preset = keyof typeof PRESETS
/** What may be changed of a preset; a key that is absent or undefined keeps the preset's value. */
export type ModelChanges = { [Key in Exclude<keyof ModelConfig, 'vocabulary'>]?: ModelConfig[Key] | undefined }

/**
 * A preset for a vocabulary, with changes. Key-value heads follow `heads`, and the MLP stays 4 times the width, unless they are given.
 * Throws CONFIG if the result cannot be.
 */
export function modelConfig(preset: Preset, vocabulary: number, changes: ModelChanges = {}): ModelConfig {
  // Programs in JavaScript may name any.
  if (!Object.hasOwn(PRESETS, preset)) throw new NichelmError('CONFIG', `there is no model named ${preset}`, { fix: `Named are ${Object.keys(PRESETS).join(', ')}.` })
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)) as ModelChanges
  const derived = { ...(given.heads ? { keyValueHeads: given.heads } : {}), ...(given.width ? { mlp: 4 * given.width } : {}) }
  return checkConfig({ vocabulary, ...PRESETS[preset], ...derived, ...given } as ModelConfig)
}

/** Throws CONFIG that names the field if a configuration cannot be; returns it else. */
export function checkConfig(config: ModelConfig, file?: string): ModelConfig {
  const wrong = (field: string, what: string): never => {
    throw new NichelmError('CONFIG', what, { place: { ...(file ? { file } : {}), field } })
  }
  for (const field of ['vocabulary', 'context', 'layers', 'width', 'heads', 'keyValueHeads', 'mlp'] as const)
    if (!Number.isSafeInteger(config[field]) || config[field] < 1) wrong(field, `must be a positive whole number; got ${config[field]}`)
  if (config.width % config.heads) wrong('heads', `${config.heads} heads do not divide the width ${config.width}`)
  if (config.heads % config.keyValueHeads) wrong('keyValueHeads', `${config.keyValueHeads} key-value heads do not divide ${config.heads} heads`)
  if (config.positions === 'rotary' && (config.width / config.heads) % 2) wrong('heads', `rotary positions need an even head width; it is ${config.width / config.heads}`)
  if (!(config.normEpsilon > 0)) wrong('normEpsilon', `must be positive; got ${config.normEpsilon}`)
  if (!(config.theta > 0)) wrong('theta', `must be positive; got ${config.theta}`)
  return config
}

/** Width of one attention head. */
export const headWidth = (config: ModelConfig): number => config.width / config.heads
/** Columns of the joint query, key and value projection. */
export const qkvWidth = (config: ModelConfig): number => (config.heads + 2 * config.keyValueHeads) * headWidth(config)
