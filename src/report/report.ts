import { join } from 'node:path'
import { makeFolder, writeFileAtomic, writeJson } from '../base/files.js'
import { csv, type CsvColumn } from './csv.js'
import { totalCost, type Report, type ReportResult } from './reportData.js'
import { reportHtml } from './reportHtml.js'

/** Where the parts of a report lie. */
export interface ReportFiles { html: string; json: string; csv: string }

/**
 * Writes a report into a folder: report.html (one page, without script or network), report.json (all its data) and table.csv (the results).
 * Throws RESOURCE if the disk is full.
 */
export async function writeReport(folder: string, report: Report): Promise<ReportFiles> {
  const files = { html: join(folder, 'report.html'), json: join(folder, 'report.json'), csv: join(folder, 'table.csv') }
  const html = await reportHtml(report)
  makeFolder(folder)
  writeFileAtomic(files.csv, resultsCsv(report.results))
  writeJson(files.json, report)
  writeFileAtomic(files.html, html)
  return files
}

const FIELDS: CsvColumn<ReportResult>[] = [
  ['domain', ({ domain }) => domain], ['method', ({ method }) => method],
  ...(['before', 'after', 'generic'] as const).flatMap(phase => ([['loss', 'loss'], ['perplexity', 'perplexity'], ['bits_per_byte', 'bitsPerByte']] as const)
    .map(([name, field]): CsvColumn<ReportResult> => [`${phase}_${name}`, result => result[phase]?.[field]])),
  ['parameters', ({ parameters }) => parameters],
  ...(['pretraining', 'specialization'] as const).flatMap(stage => ([['tokens', 'tokens'], ['device_hours', 'deviceHours'], ['flops', 'flops']] as const)
    .map(([name, field]): CsvColumn<ReportResult> => [`${stage}_${name}`, result => result[stage]?.[field]])),
  ['total_tokens', result => totalCost(result).tokens], ['total_device_hours', result => totalCost(result).deviceHours], ['total_flops', result => totalCost(result).flops],
]

/** The results as CSV (RFC 4180), numbers in full; an empty field where there is none. */
export const resultsCsv = (results: readonly ReportResult[]): string => csv(FIELDS, results)
