import { join } from 'node:path'
import { makeFolder, writeFileAtomic, writeJson } from '../../base/files.js'
import { csv, type CsvColumn } from '../csv.js'
import { findingsOf } from './findings.js'
import { experimentPage } from './page.js'
import type { Point } from './points.js'
import type { Cell, ExperimentResults } from './results.js'
import { viewOf } from './view.js'
import { variantWords } from './words.js'

/** Where the parts of an experiment's report lie. */
export interface ExperimentReportFiles { html: string; json: string; cells: string; averages: string; clusters: string }

/**
 * Writes the report of an experiment into a folder: report.html (one page, without script or network), and the same numbers as report.json (findings, averages, clusters),
 * cells.csv (a line a cell), averages.csv (a line a point) and clusters.csv. Cells that are missing leave gaps. Throws RESOURCE if the disk is full.
 */
export async function writeExperimentReport(folder: string, results: ExperimentResults): Promise<ExperimentReportFiles> {
  const file = (name: string): string => join(folder, name), view = viewOf(results), findings = findingsOf(view.results, view.points)
  const files = { html: file('report.html'), json: file('report.json'), cells: file('cells.csv'), averages: file('averages.csv'), clusters: file('clusters.csv') }
  const html = await experimentPage(view, findings)
  makeFolder(folder)
  writeFileAtomic(files.cells, csv([...CELL_COLUMNS, ...partColumns(results.cells)], results.cells))
  writeFileAtomic(files.averages, csv(POINT_COLUMNS, view.points))
  writeFileAtomic(files.clusters, csv(CLUSTER_COLUMNS, results.clusterings.flatMap(({ clusters, genericEntropy, domains }) => [{ clusters, domain: 'generic set', entropy: genericEntropy }, ...domains.map(facts => ({ clusters, ...facts }))])))
  writeJson(files.json, { experiment: results.experiment, machine: results.machine, findings, averages: view.points.map(({ cells, ...point }) => ({ ...point, domains: [...new Set(cells.map(({ domain }) => domain))], cells: cells.map(({ id }) => id) })), clusterings: results.clusterings })
  writeFileAtomic(files.html, html)
  return files
}

const PHASES = ['generic', 'before', 'after'] as const

const CELL_COLUMNS: readonly CsvColumn<Cell>[] = [
  ...(['id', 'method', 'domain', 'dataTokens', 'budgetTokens', 'clusters', 'experts', 'choice', 'expert', 'seed'] as const).map((name): CsvColumn<Cell> => [snake(name), cell => cell[name]]),
  ['settings', ({ settings }) => JSON.stringify(settings)],
  ...PHASES.flatMap(phase => (['nll', 'perplexity', 'bitsPerByte', 'targets'] as const).map((field): CsvColumn<Cell> => [`${phase}_${snake(field)}`, cell => cell[phase]?.[field]])),
  ['pretraining_parameters', ({ parameters }) => parameters.pretraining], ['served_parameters', ({ parameters }) => parameters.served], ['served_flops_per_token', ({ servedFlopsPerToken }) => servedFlopsPerToken],
  ...(['generic', 'specialization'] as const).flatMap(stage => (['tokens', 'flops', 'deviceHours', 'device'] as const).map((field): CsvColumn<Cell> => [`${stage}_${snake(field)}`, ({ cost }) => cost[stage][field]])),
]

/** What costs consist of, as far as the cells tell. */
function partColumns(cells: readonly Cell[]): CsvColumn<Cell>[] {
  return (['generic', 'specialization'] as const).flatMap(stage => [...new Set(cells.flatMap(({ cost }) => Object.keys(cost[stage].parts ?? {})))]
    .flatMap(part => (['tokens', 'flops', 'deviceHours'] as const).map((field): CsvColumn<Cell> => [`${stage}_${snake(part)}_${snake(field)}`, ({ cost }) => cost[stage].parts?.[part]?.[field]])))
}

const POINT_COLUMNS: readonly CsvColumn<Point>[] = [
  ...(['method', 'dataTokens', 'budgetTokens', 'clusters', 'experts', 'choice'] as const).map((name): CsvColumn<Point> => [snake(name), point => point[name]]),
  ['settings', variantWords], ['domains', ({ cells }) => new Set(cells.map(({ domain }) => domain)).size], ['missing_domains', ({ missing }) => missing.join(' ')],
  ...PHASES.flatMap(phase => (['nll', 'perplexity', 'bitsPerByte'] as const).map((field): CsvColumn<Point> => [`${phase}_${snake(field)}`, point => point[phase]?.[field]])),
  ...(['generic', 'specialization', 'pretraining', 'teacher'] as const).flatMap(stage => (['tokens', 'flops', 'hours'] as const).map((field): CsvColumn<Point> => [`${stage}_${field === 'hours' ? 'device_hours' : field}`, ({ cost }) => cost[stage][field]])),
  ['device', ({ devices }) => devices.join(' + ')],
]

interface ClusterRow { clusters: number; domain: string; entropy: number; topCluster?: number; topFraction?: number }
const CLUSTER_COLUMNS: readonly CsvColumn<ClusterRow>[] = [['clusters', row => row.clusters], ['domain', row => row.domain], ['entropy', row => row.entropy], ['top_cluster', row => row.topCluster], ['top_fraction', row => row.topFraction]]

function snake(name: string): string { return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`) }
