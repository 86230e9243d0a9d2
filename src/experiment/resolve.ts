import { NichelmError } from '../base/errors.js'
import { readText } from '../base/files.js'
import { cellId, plainCell, planRuns, type Cell } from '../recipe/cell.js'
import { checkCells } from '../recipe/check.js'
import { parseSettings, type Locate } from '../recipe/read.js'
import { chosenDomains, resolveSetup } from '../recipe/resolve.js'
import { METHODS } from '../recipe/schema.js'
import type { Setup } from '../recipe/setup.js'
import { ExperimentSchema, type Block, type ExperimentFile } from './schema.js'

/** An experiment ready to run. */
export interface Experiment {
  name: string
  description: string | undefined
  setup: Setup
  /** Each once, in the order of the matrix. */
  cells: Cell[]
  /** Steps of each pretraining. */
  runs: Map<string, number[]>
}

export interface ExperimentOptions {
  /** `KEY=VALUE` settings that replace those of the file. */
  overrides?: readonly string[]
  /** Output folder instead of the file's; relative to the current folder. */
  output?: string
}

/** Reads and checks an experiment. Throws CONFIG, INPUT or RESOURCE with the place. */
export async function loadExperiment(file: string, { overrides = [], output }: ExperimentOptions = {}): Promise<Experiment> {
  const all = output === undefined ? overrides : [...overrides, `output=${JSON.stringify(output)}`]
  const { settings, place } = parseSettings(ExperimentSchema, readText(file), file, all)
  const { name, description, seed, matrix, pretrain, ...rest } = settings
  const common = { ...rest, pretrain: { ...pretrain, tokens: undefined, steps: undefined } }
  const domains = [...new Set(matrix.flatMap((block, at) => chosenDomains(common, block.domains, ['matrix', String(at), 'domains'], place)))]
  const setup = await resolveSetup({ settings: common, place }, { file, name, domains })
  const cells = new Map<string, Cell>()
  for (const [at, block] of matrix.entries()) {
    const own = cellsOf(block, setup, seed, settings, (...path) => place(['matrix', String(at), ...path]))
    checkCells(setup, own, planRuns(setup, own), path => path[0] === 'pretrain' && path[1] === 'tokens' ? place(['matrix', String(at), 'budgets']) : place(path))
    // The first mention of a cell says when it is run.
    for (const cell of own) if (!cells.has(cellId(cell))) cells.set(cellId(cell), cell)
  }
  const list = [...cells.values()]
  return { name, description, setup, cells: list, runs: planRuns(setup, list) }
}

/** All combinations, so that cells end early and evenly: of a seed and a size one domain after the other, on each all budgets and methods. */
function cellsOf(block: Block, setup: Setup, seed: number, { data }: ExperimentFile, place: (...path: string[]) => ReturnType<Locate>): Cell[] {
  const methods = block.methods ?? METHODS, domains = block.domains ?? Object.keys(data.domains)
  if (block.budgets === undefined && methods.some(method => method !== 'slm-nopt')) throw new NichelmError('CONFIG', 'says no budgets', { place: place(), fix: 'For example budgets: [8M]' })
  const cells: Cell[] = []
  for (const ofSeed of block.seeds ?? [seed]) for (const size of block.dataTokens ?? [undefined]) for (const domain of domains) for (const budgetTokens of block.budgets ?? [0]) for (const method of methods) {
    const dataTokens = size ?? setup.domains.find(({ name }) => name === domain)?.tokens ?? null
    if (dataTokens !== null && dataTokens < Math.max(setup.context, 2 * setup.corpus.minimumLength)) throw new NichelmError('CONFIG', `${dataTokens} tokens are too few: a window has up to ${setup.context}`, { place: place('dataTokens') })
    const is = method === 'slm-is', expert = method === 'slm-pn' || method === 'slm-mix'
    for (const clusters of is && block.clusters || [setup.clusters.count]) for (const ngrams of is && block.ngrams || [setup.importance.ngrams]) for (const experts of expert && block.experts || [method === 'slm-mix' ? setup.mixture.count : setup.projected.experts]) {
      for (const choice of expert && block.choices || [setup.choice.by]) {
        cells.push(plainCell({ method, domain, dataTokens, budgetTokens, clusters, ngrams, experts, choice, seed: ofSeed, ownRun: block.ownRuns }))
      }
    }
  }
  return cells
}

/** The cells of some methods or domains only; what they share with the others stays as it is. Throws USAGE for a name that there is not. */
export function onlyCells({ cells }: Experiment, only: readonly string[]): Cell[] {
  if (!only.length) return cells
  const known = new Set(cells.flatMap(({ method, domain }) => [method, domain] as string[]))
  for (const word of only) if (!known.has(word)) throw new NichelmError('USAGE', `--only ${word}: is neither a method nor a domain of the experiment`, { fix: `There are ${[...known].join(', ')}.` })
  const methods = only.filter(word => (METHODS as readonly string[]).includes(word)), domains = only.filter(word => !methods.includes(word))
  return cells.filter(({ method, domain }) => (!methods.length || methods.includes(method)) && (!domains.length || domains.includes(domain)))
}
