import { budgetSteps, pretrainBatch, pretrainRate, pretrainWarmup, type Cell } from '../recipe/cell.js'
import type { Outcome } from '../recipe/outcome.js'
import { finetuneLength } from '../recipe/rules.js'
import type { Setup } from '../recipe/setup.js'

/** What else is decisive for a cell: models, rates, steps. */
export function settingsOf(setup: Setup, cell: Cell, { tokens, truncation }: Outcome): Record<string, unknown> {
  const { method, dataTokens } = cell, { pretrain, finetune, device: { precision }, context } = setup, usual = finetuneLength(dataTokens ?? tokens, pretrain.rate, finetune)
  const large = method === 'llm' || method === 'llm-lora'
  return {
    model: large ? setup.llm : setup.model, context, precision,
    ...(method === 'slm-nopt' ? {} : { pretrain: { ...pretrainLength(setup, cell), schedule: pretrain.schedule } }),
    finetune: { ...usual, batch: finetune.batch, patience: finetune.patience, replay: finetune.replay },
    ...(cell.ngrams ? { ngrams: { share: cell.ngrams, repeats: setup.importance.repeats, buckets: setup.importance.buckets } } : {}),
    ...(method === 'slm-pn' ? { projected: setup.projected } : {}), ...(method === 'slm-mix' ? { mixture: setup.mixture } : {}),
    ...(method === 'slm-nopt' ? { nopt: { rate: setup.nopt.rate ?? pretrain.rate, steps: setup.nopt.steps ?? usual.steps } } : {}),
    ...(method === 'llm-lora' ? { lora: { ...setup.lora, alpha: setup.lora.alpha ?? setup.lora.rank, steps: setup.lora.steps ?? 5 * usual.steps, rate: setup.lora.rate ?? usual.rate } } : {}),
    ...(method === 'slm-d' ? { distill: { ...setup.distill, teacher: setup.distill.teacher ?? setup.llm, ...(truncation ? { truncation } : {}) } } : {}),
  }
}

/** As a cell's model has seen it; a snapshot's schedule is that of the longer run. */
function pretrainLength(setup: Setup, cell: Cell): Record<string, unknown> {
  const { method } = cell, steps = budgetSteps(setup, cell)
  return { rate: pretrainRate(setup, method), batch: pretrainBatch(setup, method), steps, warmup: pretrainWarmup(setup, method, steps) }
}
