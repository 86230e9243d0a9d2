import { join } from 'node:path'
import { writeJson } from '../base/files.js'
import { duration } from '../train/index.js'
import { Fingerprints } from './fingerprint.js'
import { Lock } from './lock.js'
import { buildPipeline } from './pipeline.js'
import { readRecipe } from './read.js'
import { resolveRecipe, type Recipe } from './resolve.js'
import { runStages, type Stage, type StageOutcome } from './stage.js'
import type { RecipeReport, Steps } from './steps.js'

export interface RecipeOptions {
  /** `KEY=VALUE` settings that replace those of the recipe. */
  overrides?: readonly string[]
  /** Output folder instead of the recipe's; relative to the current folder. */
  output?: string
}

export interface RecipeRun { recipe: Recipe; outcomes: StageOutcome[]; report: RecipeReport }

/** Reads and checks a recipe. Throws CONFIG, INPUT or RESOURCE with the place. */
export async function loadRecipe(file: string, { overrides = [], output }: RecipeOptions = {}): Promise<Recipe> {
  return resolveRecipe(readRecipe(file, output === undefined ? overrides : [...overrides, `output=${JSON.stringify(output)}`]), file)
}

/** The stages of a recipe in order, without running any. */
export async function stagesOf(recipe: Recipe, steps: Steps): Promise<Stage[]> {
  return (await buildPipeline(recipe, steps, new Fingerprints(join(recipe.output, 'files.json')))).stages
}

/**
 * Runs what is missing of a recipe and returns its report's figures.
 * Throws USAGE if another process works in the output folder, INTERRUPTED after a signal, and what stages throw.
 */
export async function runRecipe(recipe: Recipe, steps: Steps, options: { signal: AbortSignal; log(line: string): void }): Promise<RecipeRun> {
  const { log, signal } = options
  using _lock = new Lock(recipe.output)
  const fingerprints = new Fingerprints(join(recipe.output, 'files.json'))
  const { stages, report } = await buildPipeline(recipe, steps, fingerprints)
  fingerprints.save()
  writeJson(join(recipe.output, 'recipe.json'), recipe)
  const width = Math.max(...stages.map(stage => stage.name.length))
  const outcomes = await runStages(stages, {
    signal, log,
    onEnd: ({ name, cached, seconds }) => log(`${name.padEnd(width)}  ${cached ? 'cached' : duration(seconds)}`),
  })
  return { recipe, outcomes, report: report.result }
}
