import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Scheduler, type SchedulerOptions, type StageOutcome } from '../../src/recipe/scheduler.js'
import type { Stage } from '../../src/recipe/stage.js'
import type { PretrainInput, RunResult, Steps } from '../../src/recipe/steps.js'

/** Stages one after the other, in order. */
export async function runStages(stages: readonly Stage[], options: SchedulerOptions): Promise<StageOutcome[]> {
  const scheduler = new Scheduler(options)
  for (const stage of stages) await scheduler.at(0).get(stage)
  return scheduler.outcomes
}

/** Generic text, and two domains. */
export function textFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-recipe-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'text', 'generic'), { recursive: true })
  mkdirSync(join(folder, 'text', 'medicine'))
  for (const name of ['generic/a', 'generic/b', 'heldout', 'law', 'law-heldout', 'medicine/x', 'medicine-heldout']) writeFileSync(join(folder, 'text', `${name}.txt`), `${name}\n`)
  return folder
}

export const DATA = `data:
  root: text
  generic: {files: generic/*.txt, heldout: heldout.txt}
  domains:
    law: {train: law.txt, heldout: law-heldout.txt, tokens: 1000}
    medicine: {train: medicine, heldout: medicine-heldout.txt}
corpus: {context: 64}
`

const costs = (tokens: number) => ({ tokens, flops: 10 * tokens, deviceHours: tokens / 1e6, device: 'none' })
export const RUN: RunResult = { steps: 1, kept: 1, loss: 1, validation: 1, parameters: 1, servedFlopsPerToken: 2, costs: costs(1) }

const pretrained = ({ settings: { steps, batch }, snapshots }: PretrainInput) => {
  const models = [...snapshots, steps].map(at => ({ steps: at, folder: at === steps ? 'model' : `models/${at}`, costs: costs(at * batch) }))
  return { ...RUN, steps, costs: models.at(-1)!.costs, models }
}

/** Steps that write nothing. */
export const STEPS: Steps = {
  tokenizer: async () => ({ vocabulary: 300, hash: '' }),
  corpus: async () => ({ documents: 100, windows: 100, tokens: 1000, textBytes: 1 }),
  clusters: async () => ({ clusters: 1, dimensions: 1, sample: 1, iterations: 1, costs: costs(0) }),
  assign: async () => ({ counts: [1], windows: 1, entropy: 0, topCluster: 0, topFraction: 1, costs: costs(0) }),
  weights: async () => ({ target: [1], effectiveSampleSize: 1, divergence: 0, genericEntropy: 0, specializationEntropy: 0, topFraction: 1, mostRepeated: 1, movedMass: 0, warnings: [] }),
  select: async () => ({ windows: 1, of: 1, divergence: { generic: 0, selected: 0 }, warnings: [], costs: costs(3) }),
  pretrain: async (_, input) => pretrained(input),
  instantiate: async (_, { expert }) => ({ expert: typeof expert === 'number' ? expert : null, parameters: 1 }),
  choose: async () => ({ expert: 1, nll: [], costs: costs(7) }),
  finetune: async () => RUN,
  evaluate: async () => ({ nll: 1, perplexity: Math.E, bitsPerByte: 1, targets: 1 }),
  evaluateExperts: async () => ({ nll: 1, perplexity: Math.E, bitsPerByte: 1, targets: 1 }),
  report: async () => ({ table: '', results: [] }),
}
