import { join } from 'node:path'
import type { DeviceFacts } from '../../bindings/index.js'
import { resultsTable } from '../report/table.js'
import { writeReport } from '../report/report.js'
import type { LossPoint, Quality, ReportResult as ReportRow, ReportRun, SamplingFacts, Setting } from '../report/reportData.js'
import { deviceName, MetricsFile } from '../train/index.js'
import type { FoundCell } from './findCells.js'
import { sumParts } from './outcome.js'
import type { EvaluateResult, RecipeReport, ReportInput, StoredCosts } from './steps.js'

/** Writes report.html, report.json and table.csv from what the stages found; gives the table for the terminal. */
export async function makeReport(folder: string, { recipe, found }: ReportInput, device: DeviceFacts): Promise<RecipeReport> {
  const results = found.map(rowOf)
  const { file: _, output: __, description: ___, generic, domains, ...settings } = recipe
  await writeReport(folder, {
    title: recipe.report.title ?? recipe.name,
    description: recipe.description ?? `${recipe.methods.join(', ')} on ${recipe.domains.map(domain => domain.name).join(', ')}: perplexity on held-out text before and after fine-tuning, and what it cost.`,
    date: new Date().toISOString(),
    machine: { device: deviceName(device), node: process.versions.node, system: `${process.platform} ${process.arch}` },
    settings: settings as unknown as Record<string, Setting>,
    results, runs: runsOf(found), sampling: found.flatMap(samplingOf),
    notes: found.flatMap(({ cell, outcome }) => outcome.sampling?.weights.warnings.map(warning => `${cell.domain}: ${warning}.`) ?? []),
  })
  return {
    table: resultsTable(results),
    results: found.map(({ cell: { method, domain }, outcome: { before, after, expert } }) => ({ method, domain, before, after, ...(expert === null ? {} : { expert }) })),
  }
}

const quality = ({ nll, perplexity, bitsPerByte }: EvaluateResult): Quality => ({ loss: nll, perplexity, bitsPerByte: bitsPerByte ?? NaN })

function rowOf({ cell: { method, domain }, outcome: { before, after, generic, cost, parameters } }: FoundCell): ReportRow {
  const told = ({ tokens, deviceHours, flops }: StoredCosts) => ({ tokens, deviceHours, flops })
  // The pretraining of slm-is is for one domain, and is shown as pretraining all the same.
  const { pretraining, ...specialization } = cost.specialization
  return {
    method, domain, ...(before ? { before: quality(before) } : {}), after: quality(after), ...(generic ? { generic: quality(generic) } : {}),
    parameters: parameters.served,
    ...(method === 'slm-nopt' ? {} : { pretraining: { ...told(pretraining ?? sumParts(cost.generic)), shared: pretraining === undefined } }),
    specialization: told(sumParts(specialization)),
  }
}

function runsOf(found: readonly FoundCell[]): ReportRun[] {
  const runs = new Map<string, ReportRun>()
  for (const { cell: { method, domain }, outcome: { pretraining, finetuning } } of found) {
    if (pretraining) runs.set(pretraining.name, { name: pretraining.name, method, ...(pretraining.shared ? {} : { domain }), stage: 'pretraining', points: pointsOf(pretraining.folder) })
    runs.set(finetuning.name, { name: finetuning.name, method, domain, stage: 'fine-tuning', points: pointsOf(finetuning.folder) })
  }
  return [...runs.values()]
}

const pointsOf = (folder: string): LossPoint[] => new MetricsFile(join(folder, 'metrics.jsonl')).read()
  .map(metric => ({ step: metric.step, tokens: metric.tokens, loss: metric.kind === 'train' ? metric.loss : metric.nll, kind: metric.kind }))

function samplingOf({ cell: { domain }, outcome: { sampling } }: FoundCell): SamplingFacts[] {
  if (!sampling) return []
  const { generic, domain: own, weights } = sampling, shares = ({ counts, windows }: typeof generic) => counts.map(count => count / windows)
  return [{
    domain, clusters: generic.counts.length, genericEntropy: weights.genericEntropy, domainEntropy: weights.specializationEntropy, divergence: weights.divergence,
    effectiveSampleSize: weights.effectiveSampleSize, genericWindows: generic.windows, topFraction: weights.topFraction,
    mostRepeats: weights.mostRepeated, movedFraction: weights.movedMass, genericHistogram: shares(generic), domainHistogram: shares(own),
  }]
}
