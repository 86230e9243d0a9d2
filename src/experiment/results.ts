import { join } from 'node:path'
import { writeFileAtomic, writeJson } from '../base/files.js'
import { cellId } from '../recipe/cell.js'
import type { FoundCell } from '../recipe/findCells.js'
import { sumParts, type Parts } from '../recipe/outcome.js'
import type { Setup } from '../recipe/setup.js'
import type { StoredCosts } from '../recipe/steps.js'
import { RESULTS_FILE, type Cell, type ClusteringFacts, type ExperimentResults } from '../report/experiment/results.js'
import { settingsOf } from './settings.js'

/** A clustering, as far as it has been looked at. */
export interface ClusteringFound { clusters: number; seed: number; genericEntropy: number; domains: { domain: string; dataTokens: number | null; entropy: number; topCluster: number; topFraction: number }[] }

const divided = (parts: Parts): StoredCosts & { parts: Parts } => ({ ...sumParts(parts), parts })

/** A cell as results.json has it. */
export function resultOf(setup: Setup, { cell, outcome }: FoundCell): Cell {
  const { method, domain, budgetTokens, clusters, experts, choice, seed, ownRun } = cell
  const { tokens, expert, parameters, servedFlopsPerToken, before, after, generic, cost, curve } = outcome
  return {
    id: cellId(cell), method, domain, dataTokens: cell.dataTokens ?? tokens, budgetTokens, clusters, experts, choice, expert, seed,
    settings: { ...settingsOf(setup, cell, outcome), tokens, ownRun },
    parameters: { pretraining: method === 'slm-nopt' ? null : parameters.pretraining, served: parameters.served }, servedFlopsPerToken,
    before, after, generic, cost: { generic: divided(cost.generic), specialization: divided(cost.specialization) }, curve: curve.map(point => ({ ...point })),
  }
}

/** Writes results.json and results.csv, each whole or not at all. */
export function writeResults(output: string, results: ExperimentResults): void {
  writeJson(join(output, RESULTS_FILE), results)
  writeFileAtomic(join(output, 'results.csv'), csv(results.cells))
}

const COLUMNS: readonly (readonly [string, (cell: Cell) => unknown])[] = [
  ['id', cell => cell.id], ['method', cell => cell.method], ['domain', cell => cell.domain], ['data_tokens', cell => cell.dataTokens], ['budget_tokens', cell => cell.budgetTokens],
  ['clusters', cell => cell.clusters], ['experts', cell => cell.experts], ['choice', cell => cell.choice], ['expert', cell => cell.expert], ['seed', cell => cell.seed],
  ['pretraining_parameters', cell => cell.parameters.pretraining], ['served_parameters', cell => cell.parameters.served], ['served_flops_per_token', cell => cell.servedFlopsPerToken],
  ...(['before', 'after', 'generic'] as const).flatMap(when => (['nll', 'perplexity', 'bitsPerByte'] as const).map(what =>
    [`${when}_${what === 'bitsPerByte' ? 'bits_per_byte' : what}`, (cell: Cell) => cell[when]?.[what]] as const)),
  ...(['generic', 'specialization'] as const).flatMap(which => ([['tokens', 'tokens'], ['flops', 'flops'], ['device_hours', 'deviceHours']] as const).map(([column, key]) =>
    [`${which}_${column}`, (cell: Cell) => cell.cost[which][key]] as const)),
  ['device', cell => cell.cost.specialization.device],
]

function csv(cells: readonly Cell[]): string {
  const field = (value: unknown): string => {
    const text = value === null || value === undefined || typeof value === 'number' && Number.isNaN(value) ? '' : String(value)
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  return [COLUMNS.map(([column]) => column), ...cells.map(cell => COLUMNS.map(([, value]) => value(cell)))].map(row => `${row.map(field).join(',')}\n`).join('')
}

export const clusteringOf = ({ clusters, genericEntropy, seed, domains }: ClusteringFound): ClusteringFacts => ({ clusters, genericEntropy, seed, domains: domains.map(one => ({ ...one })) })
