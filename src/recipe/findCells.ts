import { NichelmError } from '../base/errors.js'
import { cellId, type Cell } from './cell.js'
import { findCell, prepareCell } from './methods/index.js'
import type { Outcome } from './outcome.js'
import { DryRun, onlyComplete, type Getter, type Scheduler } from './scheduler.js'
import type { Stage } from './stage.js'
import type { Stages } from './stages.js'

export interface FoundCell { cell: Cell; outcome: Outcome }
export interface FailedCell { cell: Cell; error: NichelmError }

/**
 * Finds cells, in order as far as possible: first all that reads text, for all of them, then what trains. `onCell` is called as each ends.
 * A cell that fails with an error that the scheduler tolerates does not keep the others from going on. Throws what stops everything.
 */
export async function findCells(scheduler: Scheduler, stages: Stages, cells: readonly Cell[], onCell: (found: FoundCell) => void = () => {}): Promise<{ found: FoundCell[]; failed: FailedCell[] }> {
  const contexts = cells.map((cell, order) => contextOf(scheduler.at(order), stages, cell))
  await settle(scheduler, contexts.map(context => prepareCell(context)))
  const failed: FailedCell[] = []
  const found = await settle(scheduler, contexts.map(async context => {
    const { cell } = context
    try {
      const result = { cell, outcome: await findCell(context) }
      onCell(result)
      return [result]
    } catch (error) {
      if (scheduler.failure !== undefined || !(error instanceof NichelmError)) throw error
      failed.push({ cell, error })
      scheduler.options.log(`${cellId(cell)}: ${error.message}`)
      return []
    }
  }))
  return { found: found.flat(), failed }
}

/** Waits for all, so that what runs has been saved, then throws what went wrong first. */
async function settle<Result>(scheduler: Scheduler, all: Promise<Result>[]): Promise<Result[]> {
  const settled = await Promise.allSettled(all)
  if (scheduler.failure !== undefined) throw scheduler.failure
  return settled.map(one => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  })
}

/** Of these cells those that were found before. Nothing is made. */
export async function completeCells(stages: Stages, cells: readonly Cell[]): Promise<FoundCell[]> {
  const found: FoundCell[] = []
  for (const cell of cells) {
    try { found.push({ cell, outcome: await findCell(contextOf(onlyComplete, stages, cell)) }) } catch (error) {
      if (!(error instanceof NichelmError)) throw error
    }
  }
  return found
}

/** The stages that finding the cells would go through, in the order in which they would run one at a time; none is made. */
export async function stagesOf(stages: Stages, cells: readonly Cell[]): Promise<Stage[]> {
  const run = new DryRun()
  for (const cell of cells) await prepareCell(contextOf(run.at(), stages, cell))
  for (const cell of cells) await findCell(contextOf(run.at(), stages, cell))
  return run.stages
}

const contextOf = (getter: Getter, stages: Stages, cell: Cell) => ({ get: getter.get.bind(getter) as Getter['get'], cell, stages, setup: stages.setup })
