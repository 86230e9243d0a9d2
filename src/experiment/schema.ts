import { z } from 'zod'
import { METHODS } from '../recipe/schema.js'
import { count, name, SECTIONS } from '../recipe/sections.js'
import { EXPERT_CHOICES } from '../specialize/index.js'

const { name: nameOf, pretrain, ...sections } = SECTIONS
const { tokens: _, steps: __, ...pretraining } = pretrain.def.innerType.shape
const list = <Type extends z.ZodType>(type: Type) => z.preprocess(value => value === undefined || Array.isArray(value) ? value : [value], z.array(type).min(1).optional())

const block = z.strictObject({
  methods: list(z.enum(METHODS)).describe('default: all'),
  domains: list(name()).describe('default: all of data.domains'),
  dataTokens: list(count()).describe('the first so many tokens of each domain; default: tokens of the domain, or all of it'),
  budgets: list(count()).describe('generic pretraining, in tokens; for slm-mix of all experts together'),
  clusters: list(count(2)).describe('slm-is; default: clusters.count'),
  ngrams: list(z.number().min(0).max(1)).describe('slm-is; default: importance.ngrams'),
  experts: list(count(2)).describe('slm-pn and slm-mix; default: projected.experts and mixture.count'),
  choices: list(z.enum(EXPERT_CHOICES)).describe('slm-pn and slm-mix; default: choice.by'),
  seeds: list(count(0)).describe('default: seed'),
  ownRuns: z.boolean().default(false).describe('true: each budget is pretrained by itself, with a schedule of its own; false: a smaller budget is what the longest run was on its way there'),
})

/** What an experiment says, with the defaults: a recipe with many values in place of one. */
export const ExperimentSchema = z.strictObject({
  name: nameOf,
  description: z.string().optional().describe('for the report'),
  seed: count(0).default(1).describe('of everything that is drawn'),
  ...sections,
  pretrain: z.strictObject(pretraining).prefault({}),
  matrix: z.array(block).min(1).describe('blocks of cells, each all combinations of its lists; what stands first is run first'),
})

export type ExperimentFile = z.output<typeof ExperimentSchema>
export type Block = ExperimentFile['matrix'][number]
