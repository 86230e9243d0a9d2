import { join } from 'node:path'
import { addCosts, MetricsFile } from '../train/index.js'
import type { Cell } from './cell.js'
import type { Getter } from './scheduler.js'
import type { Setup } from './setup.js'
import type { ModelSource, Stages } from './stages.js'
import type { AssignResult, EvaluateResult, RunResult, StoredCosts, WeightsResult } from './steps.js'

/** What finding a cell works with. */
export interface CellContext extends Getter { cell: Cell; stages: Stages; setup: Setup }

export interface CurvePoint { step: number; tokens: number; nll: number }
/** Costs by what they were for; a part that several domains share is counted whole. */
export type Parts = Record<string, StoredCosts>

/** What was found of a cell. */
export interface Outcome {
  /** Tokens of the domain that there were. */
  tokens: number
  expert: number | null
  parameters: { pretraining: number; served: number }
  servedFlopsPerToken: number
  before: EvaluateResult | null
  after: EvaluateResult
  /** On generic held-out text, of the pretrained model. */
  generic: EvaluateResult | null
  cost: { generic: Parts; specialization: Parts }
  /** Of the fine-tuning, on the validation part. */
  curve: CurvePoint[]
  /** Folders with metrics.jsonl; `shared`: of several domains. */
  pretraining: { name: string; folder: string; shared: boolean } | null
  finetuning: { name: string; folder: string }
  truncation?: RunResult['truncation']
  sampling?: { generic: AssignResult; domain: AssignResult; weights: WeightsResult }
}

export const sumParts = (parts: Parts): StoredCosts => {
  const all = Object.values(parts)
  return all.length ? addCosts(...all) : { tokens: 0, flops: 0, deviceHours: 0, device: '' }
}

export const curveOf = (folder: string): CurvePoint[] => new MetricsFile(join(folder, 'metrics.jsonl')).read()
  .flatMap(metric => metric.kind === 'validation' ? [{ step: metric.step, tokens: metric.tokens, nll: metric.nll }] : [])

/** What a method knows of a cell before it fine-tunes. */
export interface Start {
  from: ModelSource | null
  generic: Promise<EvaluateResult> | null
  pretrainingParameters: number | null
  pretraining: Outcome['pretraining']
  cost: Outcome['cost']
  expert?: number
  teacher?: ModelSource
  sampling?: Outcome['sampling']
}

/** Evaluates, fine-tunes, evaluates again: what all methods have in common. */
export async function specialize({ get, cell, stages }: CellContext, start: Start): Promise<Outcome> {
  const { from, cost, expert, teacher, sampling } = start, heldout = stages.heldout(cell)
  const { tokens } = await get(stages.domain(cell)), tuning = stages.finetune(cell, from, tokens, teacher), name = tuning.name.replace(/^finetune-/, '')
  const before = from && stages.evaluate(`${beforeName(from, cell, stages)}-before`, from, heldout)
  const [quality, tuned, generic] = await Promise.all([before ? get(before) : null, get(tuning), start.generic])
  const model: ModelSource = { stage: tuning, label: name, suffix: '', choice: from?.choice ?? stages.setup.model, snapshot: null, folder: () => join(tuning.folder, 'model') }
  const after = await get(stages.evaluate(`${name}-after`, model, heldout))
  return {
    tokens, expert: expert ?? null, parameters: { pretraining: start.pretrainingParameters ?? tuned.parameters, served: tuned.parameters },
    servedFlopsPerToken: tuned.servedFlopsPerToken, before: quality, after, generic,
    cost: { generic: cost.generic, specialization: { ...cost.specialization, finetuning: tuned.costs } },
    curve: curveOf(tuning.folder), pretraining: start.pretraining, finetuning: { name: tuning.name, folder: tuning.folder }, ...(sampling ? { sampling } : {}),
    ...(tuned.truncation ? { truncation: tuned.truncation } : {}),
  }
}

function beforeName(from: ModelSource, cell: Cell, stages: Stages): string {
  const label = `${from.label}${cell.method === 'slm-is' ? '' : `-${cell.domain}`}`
  return `${label}${from.snapshot === null ? '' : stages.budget(cell)}`
}
