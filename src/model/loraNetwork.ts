import { NichelmError } from '../base/errors.js'
import { add, globalNorm, matmul, scale } from '../graph/ops/index.js'
import type { Tensor } from '../graph/tensor.js'
import type { ModelConfig } from './config.js'
import { plainLinear, updateStore, type Network, type Weights } from './network.js'
import { parameterSpecs, Parameters, type ParameterSpec, type Precision } from './parameters.js'

/** Linear layers of a transformer's block that LoRA can adapt. */
export const LORA_MATRICES = ['attention.qkv', 'attention.projection', 'mlp.up', 'mlp.down'] as const
export type LoraMatrix = (typeof LORA_MATRICES)[number]

/** Low-rank adaptation (arXiv 2106.09685): y = x W + (alpha / rank) x A B, with W frozen, A [inputs, rank] and B [rank, outputs] trained. */
export interface LoraConfig {
  rank: number
  /** The factor of the product is alpha / rank. */
  alpha: number
  /** Adapted in every layer. */
  matrices: readonly LoraMatrix[]
}

/** Throws CONFIG that names the field if it cannot be; returns it else. */
export function checkLora(config: ModelConfig, lora: LoraConfig): LoraConfig {
  const wrong = (field: string, what: string): never => { throw new NichelmError('CONFIG', what, { place: { field: `lora.${field}` } }) }
  if (!Number.isSafeInteger(lora.rank) || lora.rank < 1) wrong('rank', `must be a positive whole number; got ${lora.rank}`)
  if (lora.rank > config.width) wrong('rank', `${lora.rank} is more than the model's width of ${config.width}`)
  if (!(lora.alpha > 0 && Number.isFinite(lora.alpha))) wrong('alpha', `must be positive; got ${lora.alpha}`)
  if (!lora.matrices.length) wrong('matrices', 'names no matrix')
  for (const name of lora.matrices) if (!LORA_MATRICES.includes(name)) wrong('matrices', `there is no '${name}'; there are ${LORA_MATRICES.join(', ')}`)
  return lora
}

/** The adapted linear layers by name, and the parameters that adapt them. A starts normal with variance 1 / inputs, B at zero: the adapted model starts as the frozen one. */
export function loraSpecs(config: ModelConfig, { rank, matrices }: LoraConfig): { adapted: string[]; specs: ParameterSpec[] } {
  const adapted: string[] = [], specs: ParameterSpec[] = []
  for (const { name, shape } of parameterSpecs(config)) {
    const linear = /^h\.\d+\.(.*)\.weight$/.exec(name)
    if (!linear || !matrices.includes(linear[1] as LoraMatrix)) continue
    const [inputs, outputs] = shape as [number, number], at = name.replace(/\.weight$/, '')
    adapted.push(at)
    specs.push({ name: `${at}.lora_a`, shape: [inputs, rank], start: { normal: 1 / Math.sqrt(inputs) } }, { name: `${at}.lora_b`, shape: [rank, outputs], start: { constant: 0 } })
  }
  return { adapted, specs }
}

/** A transformer whose weights are frozen, and hold neither gradients nor moments, but for the low-rank adapters beside some of them. */
export function loraNetwork(config: ModelConfig, lora: LoraConfig, precision: Precision, training: boolean): Network {
  checkLora(config, lora)
  const { adapted, specs } = loraSpecs(config, lora), factor = lora.alpha / lora.rank
  const frozen = new Parameters(parameterSpecs(config), { copy: precision === 'bf16', gradient: false, moments: false })
  const adapters = new Parameters(specs, { copy: precision === 'bf16', gradient: training, moments: training })
  const isAdapted = new Set(adapted)
  const weights: Weights = {
    get: (name) => frozen.get(name), find: (name) => frozen.find(name),
    linear: (x, name) => {
      const y = plainLinear(frozen, x, name)
      return isAdapted.has(name) ? add(matmul(scale(matmul(x, adapters.get(`${name}.lora_a`)), factor), adapters.get(`${name}.lora_b`)), y) : y
    },
  }
  return {
    stores: [frozen, adapters], starts: [adapters], weights, adapted: adapted.map((name) => `${name}.weight`), gradients: adapters.gradient ? [adapters.gradient] : [],
    update: (update) => updateStore(adapters, globalNorm(adapters.gradient!, update.settings.clip, update.norm).clip, update),
    delta: (name, into) => {
      const value = (part: string): Tensor => adapters.viewOf(adapters.values, name.replace(/weight$/, part))
      matmul(scale(value('lora_a'), factor), value('lora_b'), { into })
    },
  }
}
