import { z } from 'zod'
import { METHOD_NAMES, type MethodName } from '../model/index.js'
import { count, name, SECTIONS } from './sections.js'

export const METHODS = METHOD_NAMES
export type Method = MethodName

const { name: nameOf, ...sections } = SECTIONS

/** What a recipe says, with the defaults. */
export const RecipeSchema = z.strictObject({
  name: nameOf,
  description: z.string().optional().describe('for the report'),
  seed: count(0).default(1).describe('of everything that is drawn'),
  ...sections,
  methods: z.array(z.enum(METHODS)).min(1).default(['slm', 'slm-is']).describe('slm: pretrained on the generic set; slm-is: on the generic set resampled by cluster to match the domain; slm-pn: a projected network, one expert of it; slm-mix: one model a cluster, one of them; slm-d: with a large teacher; slm-nopt: on the domain only; llm, llm-lora: the large model'),
  domains: z.array(name()).min(1).optional().describe('the domains to run; default: all of data.domains'),
  report: z.strictObject({
    title: z.string().optional().describe('of the report; default: name'),
  }).prefault({}),
})

/** A recipe as read: defaults filled in, paths as written. */
export type RecipeFile = z.output<typeof RecipeSchema>
/** What recipes and experiments both say. */
export type CommonFile = Omit<RecipeFile, 'name' | 'description' | 'seed' | 'methods' | 'domains' | 'report'>
