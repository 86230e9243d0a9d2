import Table from 'cli-table3'
import { bits, compact, duration, percent, perplexity } from './format.js'
import { byDomain, totalCost, type ReportResult, type SamplingFacts } from './reportData.js'

/** One column of the results: the same in the terminal, the report and the CSV file. */
export interface Column {
  title: string
  group?: string
  /** The number as text. */
  text: (result: ReportResult) => string
  /** The number itself; undefined where there is none, or for a column of words. */
  value?: (result: ReportResult) => number | undefined
  /** The smallest value of a domain is the best one. */
  lower?: boolean
}

const numeric = (title: string, group: string | undefined, format: (value: number) => string, value: (result: ReportResult) => number | undefined, lower = false): Column =>
  ({ title, ...group === undefined ? {} : { group }, value, lower, text: result => { const x = value(result); return x === undefined ? '–' : format(x) } })

/** Method by method: quality before and after fine-tuning, and what it cost. */
export const COLUMNS: Column[] = [
  { title: 'domain', text: ({ domain }) => domain },
  { title: 'method', text: ({ method }) => method },
  numeric('perplexity', 'before', perplexity, ({ before }) => before?.perplexity, true),
  numeric('bits/byte', 'before', bits, ({ before }) => before?.bitsPerByte, true),
  numeric('perplexity', 'after', perplexity, ({ after }) => after?.perplexity, true),
  numeric('bits/byte', 'after', bits, ({ after }) => after?.bitsPerByte, true),
  numeric('parameters', undefined, compact, ({ parameters }) => parameters),
  numeric('tokens', undefined, compact, result => totalCost(result).tokens),
  numeric('FLOPs', undefined, compact, result => totalCost(result).flops),
  numeric('device time', undefined, duration, result => totalCost(result).deviceHours),
]

/** The best result of a domain in a column: ties are all best. One row alone is not. */
export function best(column: Column, rows: readonly ReportResult[]): Set<ReportResult> {
  if (!column.lower || !column.value || rows.length < 2) return new Set()
  const values = rows.map(row => column.value!(row) ?? Infinity), least = Math.min(...values)
  return new Set(rows.filter((_, i) => values[i] === least && least !== Infinity))
}

/** The results as a table for a terminal. With `color`, the best value of each domain is bold. */
export function resultsTable(results: readonly ReportResult[], { color = false }: { color?: boolean } = {}): string {
  const columns = COLUMNS.map(column => ({ ...column, head: [column.group, column.title].filter(Boolean).join('\n') }))
  const table = new Table({
    head: columns.map(({ head }) => head),
    colAligns: columns.map(({ value }) => value ? 'right' : 'left'),
    style: { head: [], border: [], compact: true },
  })
  const groups = byDomain(results)
  groups.forEach(({ rows }, group) => {
    for (const row of rows) table.push(columns.map(column => {
      const text = printable(column.text(row))
      return color && best(column, rows).has(row) ? `\x1b[1m${text}\x1b[22m` : text
    }))
    if (group < groups.length - 1) table.push(columns.map(() => ''))
  })
  return table.toString()
}

/** Sampling facts of one domain as lines of text. */
export function samplingLines(facts: SamplingFacts): string[] {
  return [
    `${printable(facts.domain)}: ${facts.clusters} clusters, entropy ${facts.domainEntropy.toFixed(2)} nats (generic set ${facts.genericEntropy.toFixed(2)}), divergence ${facts.divergence.toFixed(2)} nats`,
    `  effective sample size ${compact(facts.effectiveSampleSize)} of ${compact(facts.genericWindows)} windows (${percent(facts.effectiveSampleSize / facts.genericWindows)}); most frequent cluster holds ${percent(facts.topFraction)}; most repeated window drawn ${facts.mostRepeats.toFixed(1)} times`,
  ]
}

/** Without control characters, which could command the terminal. */
const printable = (text: string): string => text.replace(/[\x00-\x1f\x7f-\x9f]/g, ' ')
