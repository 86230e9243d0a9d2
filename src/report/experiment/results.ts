import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { NichelmError } from '../../base/errors.js'
import { readJson } from '../../base/files.js'
import { METHOD_NAMES } from '../../model/index.js'

/** What is not finite is null in JSON: read as NaN. */
const number = z.number().nullable().transform(value => value ?? NaN)
const count = z.number().nonnegative()

const quality = z.looseObject({
  /** Mean negative log-likelihood of a target token, nats. */
  nll: number,
  perplexity: number,
  /** Null where the text's size in bytes is not known. */
  bitsPerByte: z.number().nullable(),
  targets: count,
})

const costs = z.looseObject({ tokens: count, flops: count, deviceHours: count, device: z.string() })
/** What costs consist of, by name: `clustering`, `pretraining`, `histogram`, `choice`, `teacher`, `finetuning`; of slm-d the generic costs name the `teacher`'s pretraining too. */
const divided = costs.extend({ parts: z.record(z.string(), costs).optional() })

const point = z.looseObject({ step: z.number(), tokens: count, nll: number })

const cell = z.looseObject({
  /** Names the cell in its experiment. */
  id: z.string(),
  method: z.enum(METHOD_NAMES),
  domain: z.string(),
  /** Tokens of the specialization set. */
  dataTokens: count,
  /** Tokens of generic pretraining; null where there is none. */
  budgetTokens: count.nullable(),
  /** Of slm-is. */
  clusters: count.nullable(),
  /** Of slm-pn and slm-mix. */
  experts: count.nullable(),
  /** How the expert was chosen. */
  choice: z.enum(['frequent', 'mean', 'best-pretrained', 'best-finetuned']).nullable(),
  expert: z.number().nullable(),
  seed: z.number(),
  /** What else is decisive: rates, steps, rank, alpha, ... */
  settings: z.record(z.string(), z.unknown()),
  parameters: z.looseObject({ pretraining: count.nullable(), served: count }),
  servedFlopsPerToken: count,
  /** On the domain's held-out text, before and after fine-tuning. */
  before: quality.nullable(),
  after: quality.nullable(),
  /** The pretrained model on the generic held-out text. */
  generic: quality.nullable(),
  cost: z.looseObject({ generic: divided, specialization: divided }),
  /** Fine-tuning's validation points. */
  curve: z.array(point),
})

const clustering = z.looseObject({
  clusters: count,
  /** Entropy of the generic set's histogram, nats. */
  genericEntropy: z.number(),
  domains: z.array(z.looseObject({ domain: z.string(), entropy: z.number(), topCluster: z.number(), topFraction: z.number() })),
})

const schema = z.looseObject({
  /** What was asked for: its name, description and settings. */
  experiment: z.looseObject({ name: z.string(), description: z.string().optional() }),
  /** Device, processor, threads, versions, ... */
  machine: z.record(z.string(), z.unknown()),
  /** When it was written, ISO 8601. */
  date: z.string().optional(),
  cells: z.array(cell),
  clusterings: z.array(clustering),
})

/** results.json of an experiment. Losses and entropies in nats. */
export type ExperimentResults = z.infer<typeof schema>
export type Cell = ExperimentResults['cells'][number]
export type CellQuality = z.infer<typeof quality>
export type CellCosts = z.infer<typeof divided>
export type ExpertChoice = NonNullable<Cell['choice']>
export type ClusteringFacts = ExperimentResults['clusterings'][number]

export const RESULTS_FILE = 'results.json'

/** Reads results.json, or the one of a folder. Throws INPUT if there is none, CORRUPT (naming the field) if it is not one. */
export function readResults(path: string): ExperimentResults {
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, RESULTS_FILE) : path
  return parseResults(readJson(file), file)
}

/** Throws CORRUPT, naming the field, if a value is not the results of an experiment. */
export function parseResults(value: unknown, file?: string): ExperimentResults {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new NichelmError('CORRUPT', `is not the results of an experiment: ${issue?.message ?? 'unknown'}`, {
    place: { ...(file === undefined ? {} : { file }), field: issue?.path.join('.') || 'results' }, fix: 'Run the experiment again: it writes the file from what is on disk.',
  })
}
