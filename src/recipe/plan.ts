import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { countMethod, countModel, modelConfig, planMethod, planSession, projectedConfig, residentBytes, type ModelConfig, type Recompute } from '../model/index.js'
import { Tokenizer } from '../text/index.js'
import { duration, measureStep } from '../train/index.js'
import { stagesOf } from './findCells.js'
import { Fingerprints } from './fingerprint.js'
import type { LocalSteps } from './localSteps.js'
import { recipeCells, type Recipe } from './resolve.js'
import { recipeStages } from './run.js'
import type { Setup } from './setup.js'
import type { Stage, StageCost } from './stage.js'
import type { Work } from './stages.js'
import type { ModelChoice } from './steps.js'

export interface PlannedStage extends StageCost { name: string; cached: boolean; seconds?: number }
export interface Plan {
  parameters: number
  /** What the process would hold at the most while it trains: the program itself, and the largest of the stages that may train at the same time. */
  memoryBytes: number
  /** The same if only the inputs of layers were kept, the setting that takes the least (`recompute: blocks`). */
  recomputedMemoryBytes: number
  /** Of the training that is to do. */
  flops: number
  seconds: number
  /** How the time was found. */
  basis: string
  stages: PlannedStage[]
}

/** A share of the peak that training reaches, where measuring a step would take too long. */
const USUAL_SHARE = 0.4
/** What the heap of a process that has read text and clustered it still holds when it trains; measured. */
const READING = 40 * 2 ** 20
/** A step that takes longer by this guess is not measured. */
const LONGEST_MEASUREMENT = 5

/**
 * What running a recipe would do: stages in order, done or to do, with what training costs. Nothing is made.
 *
 * Time is that of training: from one measured step of each model, or for models too large for that from FLOPs and 40% of the device's peak, where it is known.
 */
export async function planRecipe(recipe: Recipe, steps: LocalSteps): Promise<Plan> {
  const estimate = new Estimate(recipe, steps)
  const stages = await stagesOf(await recipeStages(recipe, steps, new Fingerprints(join(recipe.output, 'files.json')), estimate.costOf), recipeCells(recipe))
  return estimate.plan([...stages, { name: 'report', complete: false, cost: {} }])
}

/** What training costs before it is done. */
export class Estimate {
  readonly #configs = new Map<ModelChoice, ModelConfig>()
  readonly #paces = new Map<string, number>()
  readonly #bases = new Set<string>()
  #vocabulary: number | undefined
  /** What the process holds before anything is trained. */
  readonly #program = residentBytes(0)
  constructor(readonly setup: Setup, readonly steps: LocalSteps) {}

  config(choice: ModelChoice): ModelConfig {
    const known = this.#configs.get(choice)
    if (known) return known
    const { preset, ...changes } = choice
    const config = modelConfig(preset, this.#vocabulary ??= vocabularyOf(this.setup), changes)
    this.#configs.set(choice, config)
    return config
  }

  readonly costOf = (work: Work): StageCost => {
    const { setup } = this, { precision } = setup.device, rows = work.batch / work.accumulate, length = setup.context
    const config = this.config(work.model), tokens = work.steps * work.batch * length, sizes = this.#sizes(work, config, rows)
    const flopsPerToken = sizes === undefined ? undefined : (work.projected ? countMethod(sizes).pretrainingFlopsPerToken! : countMethod(sizes).finetuningFlopsPerToken)
    const training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clip: 1 }
    const { flops } = planSession({ config, precision, rows, length, training }), { top } = work
    const memory = (recompute: Recompute): number => {
      const planned = planMethod({ ...sizes ?? { method: 'slm', model: config, length }, precision, rows, recompute, kernels: this.steps.device.describe(), ...(top === undefined ? {} : { top }) })
      return work.projected ? planned.pretraining! : planned.finetuning
    }
    return {
      parameters: countModel(config).parameters, tokens, flops: flopsPerToken === undefined ? work.steps * work.accumulate * flops : flopsPerToken * tokens,
      memoryBytes: memory(work.recompute), recomputedMemoryBytes: memory('blocks'), model: config,
    }
  }

  #sizes({ projected, lora, teacher }: Work, model: ModelConfig, rows: number): Parameters<typeof countMethod>[0] | undefined {
    const length = this.setup.context
    if (projected) {
      const { groups = 8, ...changes } = projected
      return { method: 'slm-pn', model, projected: projectedConfig(model, changes), rowsPerGroup: Math.max(1, rows / groups), length }
    }
    if (lora) return { method: 'llm-lora', model, lora, length }
    return teacher ? { method: 'slm-d', model, teacher: this.config(teacher), length } : undefined
  }

  async plan(stages: readonly (Pick<Stage, 'name' | 'complete' | 'cost'> & { definition?: { early?: boolean } })[]): Promise<Plan> {
    const planned: PlannedStage[] = []
    for (const { name, complete, cost: { model, ...cost } } of stages) {
      planned.push({ name, cached: complete, ...cost, ...(cost.flops === undefined || !model ? {} : { seconds: cost.flops / await this.#pace(model) }) })
    }
    const missing = planned.filter(stage => !stage.cached), sum = (values: (number | undefined)[]) => values.reduce<number>((total, value) => total + (value ?? 0), 0)
    const available = this.steps.device.describe().availableMemory, most = this.#together(planned, 'memoryBytes')
    if (available >= 0 && most > available) {
      throw new NichelmError('RESOURCE', `training needs ${mebibytes(most)}, but ${mebibytes(available)} are free`, { fix: 'Raise pretrain.accumulate or finetune.accumulate, set pretrain.recompute or finetune.recompute, or lower batch, corpus.context or the model\'s sizes.' })
    }
    // What a GPU holds is in its own memory.
    const program = this.steps.device.describe().gpu ? 0 : this.#program + (stages.some(({ complete, definition }) => !complete && definition?.early) ? READING : 0)
    return {
      parameters: countModel(this.config(this.setup.model)).parameters, memoryBytes: program + most, recomputedMemoryBytes: program + this.#together(planned, 'recomputedMemoryBytes'), flops: sum(missing.map(stage => stage.flops)), seconds: sum(missing.map(stage => stage.seconds)),
      basis: [...this.#bases].join(', ') || 'nothing that trains', stages: planned,
    }
  }

  /** Of as many stages as may train at the same time, the largest ones' bytes. */
  #together(stages: readonly PlannedStage[], what: 'memoryBytes' | 'recomputedMemoryBytes'): number {
    return stages.map(stage => stage[what] ?? 0).sort((a, b) => b - a).slice(0, this.steps.jobs).reduce((sum, bytes) => sum + bytes, 0)
  }

  /** FLOP/s that training a model reaches. */
  async #pace(config: ModelConfig): Promise<number> {
    const key = JSON.stringify(config), known = this.#paces.get(key)
    if (known !== undefined) return known
    const { setup: { device: { precision }, pretrain: { batch, accumulate }, context }, steps: { device } } = this, rows = batch / accumulate
    const peak = await device.peak(precision), usual = USUAL_SHARE * (peak ?? Infinity), guess = countModel(config, context).trainingFlopsPerToken * rows * context / usual
    let pace = usual
    if (guess > LONGEST_MEASUREMENT) this.#bases.add(`${USUAL_SHARE * 100}% of the peak of ${(usual / USUAL_SHARE / 1e9).toFixed(0)} GFLOP/s`)
    else {
      const { secondsPerStep, flopsPerStep } = await measureStep({ device, config, precision, rows, length: context, steps: 2 })
      this.#bases.add(`a measured step of ${(secondsPerStep * 1000).toFixed(0)} ms`)
      pace = flopsPerStep / secondsPerStep
    }
    this.#paces.set(key, pace)
    return pace
  }
}

function vocabularyOf({ tokenizer: from }: Setup): number {
  if (!('file' in from)) return from.vocabulary
  using tokenizer = Tokenizer.load(from.file)
  return tokenizer.vocabularySize
}

/** A plan as lines for a terminal. */
export function planText({ name, output }: { name: string; output: string }, plan: Plan): string {
  const width = Math.max(...plan.stages.map(stage => stage.name.length))
  const facts = ({ tokens, flops, seconds }: PlannedStage) => tokens === undefined ? '' : `at most ${(tokens / 1e6).toFixed(2)}M tokens, ${flops!.toExponential(1)} FLOPs, ${duration(seconds!)}`
  const lines = plan.stages.map(stage => `${stage.name.padEnd(width)}  ${stage.cached ? 'cached' : `to do   ${facts(stage)}`}`.trimEnd())
  const missing = plan.stages.filter(stage => !stage.cached).length
  return [
    ...lines, '',
    `${name}: ${missing} of ${plan.stages.length} stages to do, in ${output}`,
    `parameters  ${plan.parameters.toLocaleString('en')} of the small model`,
    `memory      ${mebibytes(plan.memoryBytes)} while it trains, the program itself included${plan.recomputedMemoryBytes < plan.memoryBytes ? `; ${mebibytes(plan.recomputedMemoryBytes)} with recompute: blocks` : ''}`,
    `FLOPs       ${plan.flops.toExponential(2)} of training at most`,
    `time        ${duration(plan.seconds)} of training at most, by ${plan.basis}; text, clusters and evaluation come on top`,
  ].join('\n')
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`
