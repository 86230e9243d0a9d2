import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { countModel, modelConfig, planSession, type ModelConfig } from '../model/index.js'
import { Tokenizer } from '../text/index.js'
import { duration } from '../train/index.js'
import { Fingerprints } from './fingerprint.js'
import type { LocalSteps } from './localSteps.js'
import { measureStep } from '../train/index.js'
import { buildPipeline } from './pipeline.js'
import type { Recipe } from './resolve.js'
import type { StageCost } from './stage.js'

export interface PlannedStage extends StageCost { name: string; cached: boolean; seconds?: number }
export interface Plan {
  parameters: number
  /** Greatest memory of a stage. */
  memoryBytes: number
  /** Of the training that is to do. */
  flops: number
  seconds: number
  /** How the time was found. */
  basis: string
  stages: PlannedStage[]
}

/** A share of the peak that training reaches on a CPU, where measuring a step would take too long. */
const USUAL_SHARE = 0.4
/** A step that takes longer by this guess is not measured. */
const LONGEST_MEASUREMENT = 5

/**
 * What running a recipe would do: stages in order, done or to do, with what training costs. Nothing is made.
 *
 * Time is that of training: from one measured step, or for models too large for that from FLOPs and 40% of the measured peak.
 */
export async function planRecipe(recipe: Recipe, steps: LocalSteps): Promise<Plan> {
  const config = configOf(recipe), pace = await paceOf(recipe, config, steps)
  const costs = { pretrain: costOf(recipe, config, 'pretrain'), finetune: costOf(recipe, config, 'finetune') }
  const { stages } = await buildPipeline(recipe, steps, new Fingerprints(join(recipe.output, 'files.json')), kind => costs[kind])
  const planned = stages.map((stage): PlannedStage => ({
    name: stage.name, cached: stage.complete, ...stage.cost, ...(stage.cost.flops === undefined ? {} : { seconds: stage.cost.flops / pace.flopsPerSecond }),
  }))
  const todo = planned.filter(stage => !stage.cached), sum = (values: (number | undefined)[]) => values.reduce<number>((total, value) => total + (value ?? 0), 0)
  const available = steps.device.describe().availableMemory, memoryBytes = Math.max(costs.pretrain.memoryBytes!, costs.finetune.memoryBytes!)
  if (available >= 0 && memoryBytes > available) {
    throw new NichelmError('RESOURCE', `training needs ${mebibytes(memoryBytes)}, but ${mebibytes(available)} are free`, { fix: 'Raise pretrain.accumulate or finetune.accumulate, or lower batch, corpus.context or the model\'s sizes.' })
  }
  return {
    parameters: countModel(config).parameters, memoryBytes, flops: sum(todo.map(stage => stage.flops)), seconds: sum(todo.map(stage => stage.seconds)), basis: pace.basis, stages: planned,
  }
}

function configOf({ model: { preset, ...changes }, tokenizer: from }: Recipe): ModelConfig {
  if (!('file' in from)) return modelConfig(preset, from.vocabulary, changes)
  using tokenizer = Tokenizer.load(from.file)
  return modelConfig(preset, tokenizer.vocabularySize, changes)
}

function costOf(recipe: Recipe, config: ModelConfig, kind: 'pretrain' | 'finetune'): Required<StageCost> {
  const { batch, accumulate } = recipe[kind], steps = kind === 'pretrain' ? recipe.steps : recipe.finetune.steps
  const training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clip: 1 }
  const { memory, flops } = planSession({ config, precision: recipe.device.precision, rows: batch / accumulate, length: recipe.context, training })
  return { parameters: countModel(config).parameters, tokens: steps * batch * recipe.context, flops: steps * accumulate * flops, memoryBytes: memory.total }
}

async function paceOf(recipe: Recipe, config: ModelConfig, steps: LocalSteps): Promise<{ flopsPerSecond: number; basis: string }> {
  const { device } = steps, { precision } = recipe.device, rows = recipe.pretrain.batch / recipe.pretrain.accumulate
  const peak = await device.peak(precision)
  const guess = countModel(config, recipe.context).trainingFlopsPerToken * rows * recipe.context / (USUAL_SHARE * peak)
  if (guess > LONGEST_MEASUREMENT) return { flopsPerSecond: USUAL_SHARE * peak, basis: `${USUAL_SHARE * 100}% of the measured peak of ${(peak / 1e9).toFixed(0)} GFLOP/s` }
  const { secondsPerStep, flopsPerStep } = await measureStep({ device, config, precision, rows, length: recipe.context, steps: 2 })
  return { flopsPerSecond: flopsPerStep / secondsPerStep, basis: `a measured step of ${(secondsPerStep * 1000).toFixed(0)} ms` }
}

/** A plan as lines for a terminal. */
export function planText(recipe: Recipe, plan: Plan): string {
  const width = Math.max(...plan.stages.map(stage => stage.name.length))
  const facts = ({ tokens, flops, seconds }: PlannedStage) => tokens === undefined ? '' : `at most ${(tokens / 1e6).toFixed(2)}M tokens, ${flops!.toExponential(1)} FLOPs, ${duration(seconds!)}`
  const lines = plan.stages.map(stage => `${stage.name.padEnd(width)}  ${stage.cached ? 'cached' : `to do   ${facts(stage)}`}`.trimEnd())
  const todo = plan.stages.filter(stage => !stage.cached).length
  return [
    ...lines, '',
    `${recipe.name}: ${todo} of ${plan.stages.length} stages to do, in ${recipe.output}`,
    `parameters  ${plan.parameters.toLocaleString('en')}`,
    `memory      ${mebibytes(plan.memoryBytes)} for training`,
    `FLOPs       ${plan.flops.toExponential(2)} of training at most`,
    `time        ${duration(plan.seconds)} of training at most, by ${plan.basis}; text, clusters and evaluation come on top`,
  ].join('\n')
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`
