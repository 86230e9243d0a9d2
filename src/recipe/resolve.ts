import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { closest } from 'fastest-levenshtein'
import { NichelmError } from '../base/errors.js'
import { modelConfig, type ModelConfig } from '../model/config.js'
import { findSources } from '../text/index.js'
import { plainCell, planRuns, type Cell } from './cell.js'
import { checkCells, checkDisk, checkTeacher, checkTogether } from './check.js'
import type { Locate, ReadRecipe, ReadSettings } from './read.js'
import type { CommonFile, Method, RecipeFile } from './schema.js'
import type { Domain, Setup } from './setup.js'

const DEFAULT_VOCABULARY = 4096

/** A recipe ready to run. */
export interface Recipe extends Setup {
  name: string
  description: string | undefined
  seed: number
  methods: Method[]
  report: RecipeFile['report']
  /** Optimizer steps of pretraining. */
  steps: number
}

/**
 * Completes a recipe and checks what settings say together, before any time is spent.
 *
 * Throws CONFIG, INPUT (a path that matches nothing) or RESOURCE (no place on the disk), naming file, line and field.
 */
export async function resolveRecipe({ settings, place }: ReadRecipe, file: string): Promise<Recipe> {
  const { name, description, seed, methods, domains, report, ...common } = settings
  const setup = await resolveSetup({ settings: common, place }, { file, name, domains: chosenDomains(common, domains, ['domains'], place) })
  const recipe: Recipe = { ...setup, name, description, seed, report, methods: [...new Set(methods)], steps: stepsOf(setup.pretrain, setup.context, place) }
  const cells = recipeCells(recipe)
  checkCells(setup, cells, planRuns(setup, cells), place)
  return recipe
}

/** A recipe is an experiment of one value each. */
export function recipeCells({ methods, domains, seed, steps, clusters, importance, projected, mixture, choice, pretrain, context }: Recipe): Cell[] {
  return domains.flatMap(domain => methods.map(method => plainCell({
    method, domain: domain.name, dataTokens: domain.tokens ?? null, budgetTokens: steps * pretrain.batch * context, clusters: clusters.count, ngrams: importance.ngrams,
    experts: method === 'slm-mix' ? mixture.count : projected.experts, choice: choice.by, seed, ownRun: false,
  })))
}

/** Completes what recipes and experiments have in common; throws as resolveRecipe. `domains`: those in use. */
export async function resolveSetup({ settings, place }: ReadSettings<CommonFile>, { file, name, domains: names }: { file: string; name: string; domains: readonly string[] }): Promise<Setup> {
  const folder = dirname(resolve(file)), root = resolve(folder, settings.data.root)
  if (!existsSync(root)) throw new NichelmError('INPUT', `the folder ${root} does not exist`, { place: place(['data', 'root']), fix: 'Give the folder of the text, in the file or by --set data.root=FOLDER.' })
  const find = (patterns: string[], ...path: string[]) => expand(root, patterns, path, place)
  const { generic } = settings.data
  const domains: Domain[] = []
  for (const name of names) {
    const { train, heldout, field, tokens } = settings.data.domains[name]!
    domains.push({
      name, tokens,
      train: { field, files: await find(train, 'data', 'domains', name, 'train') },
      heldout: { field, files: await find(heldout, 'data', 'domains', name, 'heldout') },
    })
  }
  const { data: _, ...rest } = settings
  const context = contextOf(settings, checkModel(settings, 'model', place).context, place), { teacher } = settings.distill
  const setup: Setup = {
    ...rest, file: resolve(file), domains, context,
    output: resolve(folder, settings.output ?? `runs/${name}`),
    generic: { field: generic.field, files: await find(generic.files, 'data', 'generic', 'files'), heldout: await find(generic.heldout, 'data', 'generic', 'heldout') },
    tokenizer: tokenizerOf(settings, folder, place),
    distill: { ...settings.distill, ...(teacher === undefined ? {} : { teacher: resolve(folder, teacher) }) },
  }
  checkTogether(setup, place)
  checkTeacher(setup, place)
  checkDisk(setup, place)
  return setup
}

const config = (what: string, place: Locate, path: string[], fix?: string) => new NichelmError('CONFIG', what, { place: place(path), ...(fix ? { fix } : {}) })

async function expand(root: string, patterns: string[], path: string[], place: Locate): Promise<string[]> {
  try {
    return (await findSources(patterns.map(pattern => resolve(root, pattern)))).map(source => source.file)
  } catch (error) {
    if (!(error instanceof NichelmError)) throw error
    throw new NichelmError(error.code, error.message, { place: place(path), fix: error.fix ?? 'Paths of data start at data.root, which itself starts at the recipe.', cause: error })
  }
}

/** The domains that are named, or all. Throws CONFIG for one that there is not. */
export function chosenDomains(settings: CommonFile, domains: readonly string[] | undefined, path: string[], place: Locate): string[] {
  const known = Object.keys(settings.data.domains)
  domains?.forEach((name, at) => {
    if (!known.includes(name)) throw config(`there is no domain ${name} under data.domains`, place, [...path, String(at)], `Did you mean ${closest(name, known)}?`)
  })
  return [...new Set(domains ?? known)]
}

function checkModel(settings: Pick<CommonFile, 'model' | 'llm'> & { tokenizer: { vocabulary?: number | undefined } }, key: 'model' | 'llm', place: Locate): ModelConfig {
  const { preset, ...changes } = settings[key]
  try { return modelConfig(preset, settings.tokenizer.vocabulary ?? DEFAULT_VOCABULARY, changes) } catch (error) {
    if (!(error instanceof NichelmError) || error.place.field === undefined) throw error
    const { field } = error.place
    throw new NichelmError('CONFIG', error.message.slice(field.length + 2), { place: place([key, field]), cause: error, ...(error.fix ? { fix: error.fix } : {}) })
  }
}

function contextOf(settings: CommonFile, limit: number, place: Locate): number {
  const context = settings.corpus.context ?? limit
  if (context > limit) throw config(`is ${context}, but the model takes rows of at most ${limit} tokens`, place, ['corpus', 'context'], `Lower it to ${limit}, or set model.context.`)
  if (settings.corpus.minimumLength > context) throw config(`is ${settings.corpus.minimumLength}, but a window has at most ${context} tokens`, place, ['corpus', 'minimumLength'])
  return context
}

function tokenizerOf({ tokenizer }: CommonFile, folder: string, place: Locate): Recipe['tokenizer'] {
  const { file, vocabulary = DEFAULT_VOCABULARY, documents = 6000 } = tokenizer
  if (file === undefined) return { vocabulary, documents }
  for (const key of ['vocabulary', 'documents'] as const) {
    if (tokenizer[key] !== undefined) throw config('a tokenizer that comes from a file is not trained', place, ['tokenizer', key], 'Leave out this key, or tokenizer.file.')
  }
  const path = resolve(folder, file)
  if (!existsSync(path)) throw new NichelmError('INPUT', `${path} does not exist`, { place: place(['tokenizer', 'file']) })
  return { file: path }
}

function stepsOf({ tokens, steps, batch }: CommonFile['pretrain'], context: number, place: Locate): number {
  if (tokens !== undefined && steps !== undefined) throw config('tokens and steps both say how long to train', place, ['pretrain', 'steps'], 'Leave out one of them.')
  if (tokens === undefined && steps === undefined) throw config('says neither tokens nor steps', place, ['pretrain'], 'For example tokens: 3M')
  if (steps !== undefined) return steps
  const step = batch * context
  if (tokens! < step) throw config(`${tokens} tokens are less than one step of ${batch} rows of ${context}`, place, ['pretrain', 'tokens'])
  return Math.floor(tokens! / step)
}
