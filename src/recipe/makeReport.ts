import { join } from 'node:path'
import type { DeviceFacts } from '../../bindings/index.js'
import { resultsTable } from '../report/table.js'
import { writeReport } from '../report/report.js'
import type { LossPoint, Quality, ReportResult as ReportRow, ReportRun, SamplingFacts, Setting } from '../report/reportData.js'
import { deviceName, MetricsFile } from '../train/index.js'
import type { Recipe } from './resolve.js'
import type { EvaluateResult, ReportEntry, RecipeReport } from './steps.js'

/** Writes report.html, report.json and table.csv from what the stages found; gives the table for the terminal. */
export async function makeReport(folder: string, recipe: Recipe, entries: readonly ReportEntry[], device: DeviceFacts): Promise<RecipeReport> {
  const results = entries.map(rowOf)
  const { file: _, output: __, generic, domains, ...settings } = recipe
  await writeReport(folder, {
    title: recipe.report.title ?? recipe.name,
    description: `${recipe.methods.join(' and ')} on ${recipe.domains.map(domain => domain.name).join(', ')}: perplexity on held-out text before and after fine-tuning, and what it cost.`,
    date: new Date().toISOString(),
    machine: { device: deviceName(device), node: process.versions.node, system: `${process.platform} ${process.arch}` },
    settings: settings as unknown as Record<string, Setting>,
    results, runs: runsOf(entries), sampling: entries.flatMap(samplingOf),
    notes: entries.flatMap(({ domain, sampling }) => sampling?.weights.warnings.map(warning => `${domain}: ${warning}.`) ?? []),
  })
  return { table: resultsTable(results), results: entries.map(({ method, domain, before, after }) => ({ method, domain, before, after })) }
}

const quality = ({ nll, perplexity, bitsPerByte }: EvaluateResult): Quality => ({ loss: nll, perplexity, bitsPerByte: bitsPerByte ?? NaN })

function rowOf({ method, domain, before, after, generic, pretraining, finetuning }: ReportEntry): ReportRow {
  const cost = ({ tokens, deviceHours, flops }: ReportEntry['finetuning']['result']) => ({ tokens, deviceHours, flops })
  return {
    method, domain, before: quality(before), after: quality(after), ...(generic ? { generic: quality(generic) } : {}),
    parameters: finetuning.result.parameters,
    pretraining: { ...cost(pretraining.result), shared: pretraining.shared },
    specialization: cost(finetuning.result),
  }
}

function runsOf(entries: readonly ReportEntry[]): ReportRun[] {
  const runs = new Map<string, ReportRun>()
  for (const { method, domain, pretraining, finetuning } of entries) {
    runs.set(pretraining.name, { name: pretraining.name, method, ...(pretraining.shared ? {} : { domain }), stage: 'pretraining', points: pointsOf(pretraining.folder) })
    runs.set(finetuning.name, { name: finetuning.name, method, domain, stage: 'fine-tuning', points: pointsOf(finetuning.folder) })
  }
  return [...runs.values()]
}

const pointsOf = (folder: string): LossPoint[] => new MetricsFile(join(folder, 'metrics.jsonl')).read()
  .map(metric => ({ step: metric.step, tokens: metric.tokens, loss: metric.kind === 'train' ? metric.loss : metric.nll, kind: metric.kind }))

function samplingOf({ domain, sampling }: ReportEntry): SamplingFacts[] {
  if (!sampling) return []
  const { generic, domain: own, weights } = sampling, shares = ({ counts, windows }: typeof generic) => counts.map(count => count / windows)
  return [{
    domain, clusters: generic.counts.length, genericEntropy: weights.genericEntropy, domainEntropy: weights.specializationEntropy, divergence: weights.divergence,
    effectiveSampleSize: weights.effectiveSampleSize, genericWindows: generic.windows, topFraction: weights.topFraction,
    mostRepeats: weights.mostRepeated, movedFraction: weights.movedMass, genericHistogram: shares(generic), domainHistogram: shares(own),
  }]
}
