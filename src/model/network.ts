import { adamw, globalNorm, matmul, type AdamwSettings } from '../graph/ops/index.js'
import type { Tensor } from '../graph/tensor.js'
import type { ModelConfig } from './config.js'
import { parameterSpecs, Parameters, type Precision } from './parameters.js'

export interface OptimizerSettings extends AdamwSettings {
  /** Greatest norm of the whole gradient; 0: no clipping. */
  clip: number
}

/** The parameters as the model's function reads them. */
export interface Weights {
  /** Throws INTERNAL if there is none of this name. */
  get(name: string): Tensor
  find(name: string): Tensor | undefined
  /** x · weight + bias of the linear layer `name`. */
  linear(x: Tensor, name: string): Tensor
}

export const plainLinear = (p: Pick<Weights, 'get' | 'find'>, x: Tensor, name: string): Tensor => matmul(x, p.get(`${name}.weight`), { bias: p.find(`${name}.bias`) })

/** What a step's update works with; `project`: whether it also makes the weights of the next step's experts. */
export interface Update { settings: OptimizerSettings; norm: Tensor; schedule: Tensor; project?: boolean }

/** What a session computes with: which parameters there are, where they lie, and how the model's function reads them. */
export interface Network {
  /** Parameters; those that are trained have moments. */
  readonly stores: readonly Parameters[]
  /** The stores that `initialize` fills. */
  readonly starts: readonly Parameters[]
  readonly weights: Weights
  /** What is set to zero before a step's gradients are added up. */
  readonly gradients: readonly Tensor[]
  /** The expert of each group of rows, [groups] i32, where there are experts; and of the step to come, which an update may project. */
  readonly experts?: Tensor
  readonly nextExperts?: Tensor
  /** Elements of what is made from parameters for a step, by type: weights of experts and their gradients. */
  readonly derived?: readonly Tensor[]
  /** Records what makes the weights of a step's experts. */
  project?(): void
  /** What is added to frozen weights, for LoRA: the weights' names, and what records weight - frozen weight, [inputs, outputs] f32. */
  readonly adapted?: readonly string[]
  delta?(name: string, into: Tensor): void
  /** Records one step of the optimizer. */
  update(update: Update): void
}

/** AdamW over a store: matrices with weight decay, vectors without. */
export function updateStore(p: Parameters, clip: Tensor, { settings, schedule }: Update): void {
  for (const part of ['matrices', 'vectors'] as const) {
    const run = { gradient: p.part(p.gradient!, part), p: p.part(p.values, part), m: p.part(p.moments!.m, part), v: p.part(p.moments!.v, part), copy: p.copy && p.part(p.copy, part) }
    if (run.p.size) adamw(run, clip, schedule, { ...settings, weightDecay: part === 'matrices' ? settings.weightDecay : 0 })
  }
}

export const weightsOf = (p: Parameters): Weights => ({ get: (name) => p.get(name), find: (name) => p.find(name), linear: (x, name) => plainLinear(p, x, name) })

/** An ordinary transformer: every parameter is trained, or none. */
export function plainNetwork(config: ModelConfig, precision: Precision, training: boolean): Network {
  const store = new Parameters(parameterSpecs(config), { copy: precision === 'bf16', gradient: training, moments: training })
  return {
    stores: [store], starts: [store], weights: weightsOf(store), gradients: store.gradient ? [store.gradient] : [],
    update: (update) => updateStore(store, globalNorm(store.gradient!, update.settings.clip, update.norm).clip, update),
  }
}
