import { join } from 'node:path'
import { writeJson } from '../base/files.js'
import { duration } from '../train/index.js'
import { planRuns } from './cell.js'
import { findCells, type FoundCell } from './findCells.js'
import { Fingerprints } from './fingerprint.js'
import { Lock } from './lock.js'
import { readRecipe } from './read.js'
import { recipeCells, resolveRecipe, type Recipe } from './resolve.js'
import { Scheduler, type StageOutcome } from './scheduler.js'
import { Stage } from './stage.js'
import { fingerprintsOf, Stages, type Naming, type StagesOptions } from './stages.js'
import type { RecipeReport, ReportInput, Steps } from './steps.js'

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

/** The maker of a recipe's stages. */
export async function recipeStages(recipe: Recipe, steps: Steps, fingerprints: Fingerprints, costOf?: StagesOptions['costOf']): Promise<Stages> {
  const { clusters, importance, projected, mixture, seed, methods } = recipe
  // There is one of everything, but as many clusterings as there are numbers of clusters and experts.
  const naming: Naming = { dataTokens: 'one', budget: 'one', experts: 'one', seed, ngrams: importance.ngrams, clusters: methods.includes('slm-is') ? clusters.count : methods.includes('slm-pn') ? projected.experts : mixture.count }
  return new Stages({ setup: recipe, steps, fingerprints: await fingerprintsOf(recipe, fingerprints), runs: planRuns(recipe, recipeCells(recipe)), naming, ...(costOf ? { costOf } : {}) })
}

/** The last stage of a recipe: it reads what all the others found. */
export function reportStage(recipe: Recipe, steps: Pick<Steps, 'report'>, needs: readonly string[], input: () => ReportInput): Stage<RecipeReport> {
  const { name, description, report: settings, output } = recipe
  return new Stage<RecipeReport>(output, {
    name: 'report', version: 2, settings: { name, description, ...settings }, inputs: [...needs], planned: { table: '', results: [] },
    run: context => steps.report(context, input()),
  })
}

/**
 * Runs what is missing of a recipe and returns its report's figures.
 * Throws USAGE if another process works in the output folder, INTERRUPTED after a signal, and what stages throw.
 */
export async function runRecipe(recipe: Recipe, steps: Steps, options: { signal: AbortSignal; log(line: string): void; jobs?: number }): Promise<RecipeRun> {
  const { log, signal, jobs } = options
  using _lock = new Lock(recipe.output)
  const fingerprints = new Fingerprints(join(recipe.output, 'files.json'))
  const stages = await recipeStages(recipe, steps, fingerprints)
  fingerprints.save()
  writeJson(join(recipe.output, 'recipe.json'), recipe)
  const scheduler = new Scheduler({
    signal, log, ...(jobs ? { jobs } : {}),
    onEnd: ({ name, cached, seconds }) => log(`${name.padEnd(NAME_WIDTH)}  ${cached ? 'cached' : duration(seconds)}`),
  })
  const { found } = await findCells(scheduler, stages, recipeCells(recipe))
  const report = reportStage(recipe, steps, stages.made().filter(stage => stage.complete).map(stage => stage.hash).sort(), () => ({ recipe, found }))
  return { recipe, report: await scheduler.at(Infinity).get(report), outcomes: scheduler.outcomes }
}

const NAME_WIDTH = 36
export type { FoundCell }
