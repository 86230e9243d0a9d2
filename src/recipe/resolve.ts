import { existsSync, statfsSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, resolve } from 'node:path'
import { closest } from 'fastest-levenshtein'
import { NichelmError } from '../base/errors.js'
import { modelConfig, type ModelConfig } from '../model/config.js'
import { findSources } from '../text/index.js'
import type { Locate, ReadRecipe } from './read.js'
import type { Method, RecipeFile } from './schema.js'

const DEFAULT_VOCABULARY = 4096

export interface TextFiles { files: string[]; field: string }
export interface Domain { name: string; train: TextFiles; heldout: TextFiles; tokens: number | undefined }

/** A recipe ready to run: paths absolute, globs expanded, what was left open decided. */
export interface Recipe extends Omit<RecipeFile, 'data' | 'domains' | 'output' | 'tokenizer'> {
  /** The recipe file. */
  file: string
  /** Output folder. */
  output: string
  generic: TextFiles & { heldout: string[] }
  domains: Domain[]
  tokenizer: { file: string } | { vocabulary: number; documents: number }
  methods: Method[]
  /** Tokens of a window and of a row. */
  context: number
  /** Optimizer steps of pretraining. */
  steps: number
}

/**
 * Completes a recipe and checks what settings say together, before any time is spent.
 *
 * Throws CONFIG, INPUT (a path that matches nothing) or RESOURCE (no place on the disk), naming file, line and field.
 */
export async function resolveRecipe({ settings, place }: ReadRecipe, file: string): Promise<Recipe> {
  const folder = dirname(resolve(file)), root = resolve(folder, settings.data.root)
  if (!existsSync(root)) throw new NichelmError('INPUT', `the folder ${root} does not exist`, { place: place(['data', 'root']), fix: 'Give the folder of the text, in the recipe or by --set data.root=FOLDER.' })
  const find = (patterns: string[], ...path: string[]) => expand(root, patterns, path, place)
  const { generic } = settings.data
  const domains: Domain[] = []
  for (const name of chosen(settings, place)) {
    const { train, heldout, field, tokens } = settings.data.domains[name]!
    domains.push({
      name, tokens,
      train: { field, files: await find(train, 'data', 'domains', name, 'train') },
      heldout: { field, files: await find(heldout, 'data', 'domains', name, 'heldout') },
    })
  }
  const { data: _, domains: __, ...rest } = settings
  const context = contextOf(settings, checkModel(settings, place).context, place)
  const recipe: Recipe = {
    ...rest, file: resolve(file), domains, context,
    output: resolve(folder, settings.output ?? `runs/${settings.name}`),
    generic: { field: generic.field, files: await find(generic.files, 'data', 'generic', 'files'), heldout: await find(generic.heldout, 'data', 'generic', 'heldout') },
    tokenizer: tokenizerOf(settings, folder, place),
    methods: [...new Set(settings.methods)],
    steps: stepsOf(settings, context, place),
  }
  checkTogether(recipe, settings, place)
  checkDisk(recipe, place)
  return recipe
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

function chosen(settings: RecipeFile, place: Locate): string[] {
  const known = Object.keys(settings.data.domains)
  settings.domains?.forEach((name, at) => {
    if (!known.includes(name)) throw config(`there is no domain ${name} under data.domains`, place, ['domains', String(at)], `Did you mean ${closest(name, known)}?`)
  })
  return [...new Set(settings.domains ?? known)]
}

function checkModel(settings: RecipeFile, place: Locate): ModelConfig {
  const { preset, ...changes } = settings.model
  try { return modelConfig(preset, settings.tokenizer.vocabulary ?? DEFAULT_VOCABULARY, changes) } catch (error) {
    if (!(error instanceof NichelmError) || error.place.field === undefined) throw error
    const { field } = error.place
    throw new NichelmError('CONFIG', error.message.slice(field.length + 2), { place: place(['model', field]), cause: error, ...(error.fix ? { fix: error.fix } : {}) })
  }
}

function contextOf(settings: RecipeFile, limit: number, place: Locate): number {
  const context = settings.corpus.context ?? limit
  if (context > limit) throw config(`is ${context}, but the model takes rows of at most ${limit} tokens`, place, ['corpus', 'context'], `Lower it to ${limit}, or set model.context.`)
  if (settings.corpus.minimumLength > context) throw config(`is ${settings.corpus.minimumLength}, but a window has at most ${context} tokens`, place, ['corpus', 'minimumLength'])
  return context
}

function tokenizerOf({ tokenizer }: RecipeFile, folder: string, place: Locate): Recipe['tokenizer'] {
  const { file, vocabulary = DEFAULT_VOCABULARY, documents = 6000 } = tokenizer
  if (file === undefined) return { vocabulary, documents }
  for (const key of ['vocabulary', 'documents'] as const) {
    if (tokenizer[key] !== undefined) throw config('a tokenizer that comes from a file is not trained', place, ['tokenizer', key], 'Leave out this key, or tokenizer.file.')
  }
  const path = resolve(folder, file)
  if (!existsSync(path)) throw new NichelmError('INPUT', `${path} does not exist`, { place: place(['tokenizer', 'file']) })
  return { file: path }
}

function stepsOf({ pretrain: { tokens, steps, batch } }: RecipeFile, context: number, place: Locate): number {
  if (tokens !== undefined && steps !== undefined) throw config('tokens and steps both say how long to train', place, ['pretrain', 'steps'], 'Leave out one of them.')
  if (tokens === undefined && steps === undefined) throw config('says neither tokens nor steps', place, ['pretrain'], 'For example tokens: 3M')
  if (steps !== undefined) return steps
  const step = batch * context
  if (tokens! < step) throw config(`${tokens} tokens are less than one step of ${batch} rows of ${context}`, place, ['pretrain', 'tokens'])
  return Math.floor(tokens! / step)
}

function checkTogether(recipe: Recipe, settings: RecipeFile, place: Locate): void {
  for (const kind of ['pretrain', 'finetune'] as const) {
    const { batch, accumulate, warmup } = recipe[kind], steps = kind === 'pretrain' ? recipe.steps : recipe.finetune.steps
    if (batch % accumulate !== 0) throw config(`${batch} rows cannot be split into ${accumulate} equal parts`, place, [kind, 'accumulate'], `accumulate must divide ${kind}.batch.`)
    if (warmup >= steps) throw config(`the rate would still be rising at the last of ${steps} steps`, place, [kind, 'warmup'], `Use a warm-up shorter than ${steps} steps.`)
    for (const [at, beta] of recipe[kind].betas.entries()) if (beta === 1) throw config('is 1, but must be less than 1', place, [kind, 'betas', String(at)])
  }
  if (recipe.clusters.count > recipe.clusters.sample) throw config(`${recipe.clusters.count} clusters cannot be found in a sample of ${recipe.clusters.sample} windows`, place, ['clusters', 'count'])
  if (recipe.device.threads > availableParallelism()) throw config(`is ${recipe.device.threads}, but this machine gives ${availableParallelism()}`, place, ['device', 'threads'], 'Use 0 for all of them.')
  const trained = new Set([...recipe.generic.files, ...recipe.domains.flatMap(domain => domain.train.files)])
  const both = (files: string[], ...path: string[]) => {
    const file = files.find(item => trained.has(item))
    if (file) throw config(`${file} is trained on too`, place, path, 'Held-out text must not be trained on: use other files.')
  }
  both(recipe.generic.heldout, 'data', 'generic', 'heldout')
  for (const domain of recipe.domains) both(domain.heldout.files, 'data', 'domains', domain.name, 'heldout')
  for (const domain of recipe.domains) {
    if (domain.tokens !== undefined && domain.tokens < 2 * settings.corpus.minimumLength) throw config(`${domain.tokens} tokens are less than two windows of ${settings.corpus.minimumLength}`, place, ['data', 'domains', domain.name, 'tokens'])
  }
}

/** Text unpacks to about 3 times a packed file; a token of about 4 bytes is stored in 2 (or 4). */
function checkDisk(recipe: Recipe, place: Locate): void {
  const files = [recipe.generic, ...recipe.domains.map(domain => domain.train)].flatMap(({ files: all }) => all)
  const text = files.reduce((sum, file) => sum + statSync(file).size * (/\.(gz|zst|parquet)$/.test(file) ? 3 : 1), 0)
  const needed = Math.min(text, 4 * (recipe.corpus.tokens ?? Infinity) + text / 10) / 2
  let at = recipe.output
  while (!existsSync(at)) at = dirname(at)
  if (!statSync(at).isDirectory()) throw config(`${at} is a file`, place, ['output'])
  const { bavail, bsize } = statfsSync(at)
  if (bavail * bsize < needed) {
    throw new NichelmError('RESOURCE', `the token shards need about ${megabytes(needed)} MB, but ${at} has ${megabytes(bavail * bsize)} MB free`, { place: place(['output']), fix: 'Free some space, choose another output, or lower corpus.tokens.' })
  }
}

const megabytes = (bytes: number): string => Math.ceil(bytes / 1e6).toLocaleString('en')
