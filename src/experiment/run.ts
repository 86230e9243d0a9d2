import { join } from 'node:path'
import { writeJson } from '../base/files.js'
import { cellId, type Cell } from '../recipe/cell.js'
import { completeCells, findCells, stagesOf, type FailedCell, type FoundCell } from '../recipe/findCells.js'
import { Fingerprints } from '../recipe/fingerprint.js'
import type { LocalSteps } from '../recipe/localSteps.js'
import { Lock } from '../recipe/lock.js'
import { Estimate, type Plan } from '../recipe/plan.js'
import { Scheduler, type StageOutcome } from '../recipe/scheduler.js'
import { fingerprintsOf, Stages, type StagesOptions } from '../recipe/stages.js'
import type { Steps } from '../recipe/steps.js'
import type { ExperimentResults } from '../report/experiment/results.js'
import { duration } from '../train/index.js'
import { onlyCells, type Experiment } from './resolve.js'
import { clusteringOf, resultOf, writeResults, type ClusteringFound } from './results.js'

export interface RunExperimentOptions {
  signal: AbortSignal
  log(line: string): void
  /** Stages that run at the same time. */
  jobs?: number
  /** Names of methods and domains: only their cells. */
  only?: readonly string[]
  /** Device, versions, ... */
  machine: Record<string, unknown>
}

export interface ExperimentRun { results: ExperimentResults; failed: FailedCell[]; outcomes: StageOutcome[] }

async function stagesFor(experiment: Experiment, steps: Steps, fingerprints: Fingerprints, costOf?: StagesOptions['costOf']): Promise<Stages> {
  const { setup, runs, cells } = experiment
  const naming = new Set(cells.map(cell => cell.seed)).size === 1 ? { seed: cells[0]!.seed } : {}
  return new Stages({ setup, steps, fingerprints: await fingerprintsOf(setup, fingerprints), runs, naming, ...(costOf ? { costOf } : {}) })
}

/**
 * Finds every cell of an experiment, as far as it is not on disk yet; results.json and results.csv are written anew as each cell ends.
 * A training that diverges fails its cell, and is told at the end. Throws USAGE if another process works in the output folder, INTERRUPTED after a
 * signal, and what else stages throw.
 */
export async function runExperiment(experiment: Experiment, steps: Steps, { signal, log, jobs = 1, only = [], machine }: RunExperimentOptions): Promise<ExperimentRun> {
  const { setup, name, description } = experiment, cells = onlyCells(experiment, only)
  using _lock = new Lock(setup.output)
  const fingerprints = new Fingerprints(join(setup.output, 'files.json'))
  const stages = await stagesFor(experiment, steps, fingerprints)
  fingerprints.save()
  const { file: _, output: __, generic, domains, ...settings } = setup
  writeJson(join(setup.output, 'experiment.json'), { name, description, settings: { ...settings, generic, domains }, cells: experiment.cells })
  let ended = 0
  const scheduler = new Scheduler({
    signal, log, jobs, tolerates: error => error.code === 'DIVERGED',
    onEnd: ({ name: stage, cached, seconds }) => { if (!cached) log(`${stage.padEnd(44)} ${duration(seconds)}`) },
  })
  const order = new Map(experiment.cells.map((cell, at) => [cellId(cell), at]))
  // What an earlier run found of the other cells stays in the results.
  const found: FoundCell[] = await completeCells(stages, experiment.cells.filter(cell => !cells.includes(cell)))
  const collect = (): ExperimentResults => ({
    // Results are passed on: where text lies on this machine stays in experiment.json.
    experiment: { name, ...(description === undefined ? {} : { description }), settings: { ...settings, domains: domains.map(domain => domain.name) }, cells: experiment.cells.length },
    machine, date: new Date().toISOString(),
    cells: [...found].sort((a, b) => order.get(cellId(a.cell))! - order.get(cellId(b.cell))!).map(one => resultOf(setup, one)),
    clusterings: clusteringsOf(stages, experiment.cells).map(clusteringOf),
  })
  // Cells that end at once, as all do that were found before, are written together.
  let due = false
  const write = (): void => {
    due = false
    writeResults(setup.output, collect())
  }
  const { failed } = await findCells(scheduler, stages, cells, one => {
    found.push(one)
    ended++
    log(`cell ${ended} of ${cells.length}: ${cellId(one.cell)}, perplexity ${one.outcome.before === null ? '' : `${one.outcome.before.perplexity.toFixed(1)} -> `}${one.outcome.after.perplexity.toFixed(1)}`)
    if (due) return
    due = true
    setImmediate(write)
  })
  const results = collect()
  writeResults(setup.output, results)
  return { results, failed, outcomes: scheduler.outcomes }
}

/** Histograms of the generic set and the domains by every clustering that is there. */
function clusteringsOf(stages: Stages, cells: readonly Cell[]): ClusteringFound[] {
  const all = new Map<string, ClusteringFound>()
  for (const cell of cells) {
    const clusters = cell.clusters ?? cell.experts, { seed, domain, dataTokens } = cell
    if (clusters === null) continue
    const generic = stages.assign(stages.generic(), clusters, seed), own = stages.assign(stages.domain(cell), clusters, seed), key = `${clusters} ${seed}`
    if (!generic.complete || !own.complete) continue
    const entry = all.get(key) ?? { clusters, seed, genericEntropy: generic.result.entropy, domains: [] }
    all.set(key, entry)
    if (entry.domains.some(one => one.domain === domain && one.dataTokens === dataTokens)) continue
    const { entropy, topCluster, topFraction } = own.result
    entry.domains.push({ domain, dataTokens, entropy, topCluster, topFraction })
  }
  return [...all.values()]
}

/** The stages of an experiment in order, done or to do, with what training costs at most. Nothing is made. */
export async function planExperiment(experiment: Experiment, steps: LocalSteps, only: readonly string[] = []): Promise<Plan & { cells: string[] }> {
  const estimate = new Estimate(experiment.setup, steps), cells = onlyCells(experiment, only)
  const stages = await stagesFor(experiment, steps, new Fingerprints(join(experiment.setup.output, 'files.json')), estimate.costOf)
  return { ...await estimate.plan(await stagesOf(stages, cells)), cells: cells.map(cellId) }
}
