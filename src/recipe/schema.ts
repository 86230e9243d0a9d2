import { z } from 'zod'
import { PRESETS, type Preset } from '../model/config.js'

/** The methods of PAPER that a recipe can run, in the order in which reports list them. */
export const METHODS = ['slm', 'slm-is'] as const
export type Method = (typeof METHODS)[number]

const SUFFIXES: Record<string, number> = { k: 1e3, M: 1e6, B: 1e9 }

/** Reads `12_000_000`, `12M`, `1.5B` and `100k` as numbers; anything else is left for the check that follows. */
export function readCount(value: unknown): unknown {
  if (typeof value !== 'string') return value
  const match = /^(\d[\d_]*(?:\.\d+)?)([kMB]?)$/.exec(value.trim())
  return match ? Math.round(Number(match[1]!.replaceAll('_', '')) * (SUFFIXES[match[2]!] ?? 1)) : value
}

const count = (minimum = 1) => z.preprocess(readCount, z.int().min(minimum))
const positive = () => z.number().positive()
const share = () => z.number().min(0).max(1)
const name = () => z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'letters, digits, ".", "_" and "-", starting with a letter or digit')
const globs = () => z.preprocess(value => typeof value === 'string' ? [value] : value, z.array(z.string().min(1)).min(1))

const schedule = {
  warmup: count(0).describe('steps over which the rate rises linearly from 0'),
  schedule: z.enum(['cosine', 'constant', 'wsd']).describe('how the rate falls after the warm-up; wsd: warm-up, stable, decay over the last tenth'),
  finalRate: share().describe('the rate at the last step, as a share of rate'),
}
const optimizer = {
  weightDecay: z.number().min(0).default(0.01).describe('AdamW weight decay'),
  betas: z.tuple([share(), share()]).default([0.9, 0.95]).describe('AdamW decay rates of the two moments'),
  epsilon: positive().default(1e-8).describe('AdamW epsilon'),
  clip: z.number().min(0).default(5).describe('greatest norm of the whole gradient; 0: no clipping'),
}

const generic = z.strictObject({
  files: globs().describe('text files, folders or globs'),
  heldout: globs().describe('text that is never trained on'),
  field: z.string().min(1).default('text').describe('the field of a JSON line or the column of a parquet file that holds the text'),
})

const domain = z.strictObject({
  train: globs().describe('the specialization set'),
  heldout: globs().describe('text that is never trained on'),
  field: z.string().min(1).default('text').describe('as of data.generic'),
  tokens: count().optional().describe('take the first so many tokens of the specialization set only, for its histogram and for fine-tuning; default: all'),
})

const model = z.strictObject({
  preset: z.enum(Object.keys(PRESETS) as [Preset, ...Preset[]]).default('nano').describe('the choices that the other keys change'),
  layers: count().optional().describe('of the transformer'),
  width: count().optional().describe('length of a token\'s vector'),
  heads: count().optional().describe('attention heads; they divide the width'),
  keyValueHeads: count().optional().describe('fewer than heads: grouped-query attention'),
  mlp: count().optional().describe('width inside the MLP; default: 4 times the width'),
  context: count(2).optional().describe('the longest row, in tokens'),
  norm: z.enum(['layer', 'rms']).optional().describe('layer norm (GPT-2) or RMS norm (Llama)'),
  normEpsilon: positive().optional().describe('added to the variance'),
  positions: z.enum(['learned', 'rotary']).optional().describe('learned (GPT-2) or rotary (Llama)'),
  theta: positive().optional().describe('base of rotary positions'),
  activation: z.enum(['gelu', 'swiglu']).optional().describe('GELU (GPT-2) or SwiGLU (Llama)'),
  biases: z.boolean().optional().describe('of the linear layers'),
  tied: z.boolean().optional().describe('the output projection is the token embedding'),
})

/** What a recipe says, with the defaults. Units: tokens, steps, rows (one context of tokens each). */
export const RecipeSchema = z.strictObject({
  name: name().describe('name of the run'),
  seed: count(0).default(1).describe('of everything that is drawn'),
  output: z.string().min(1).optional().describe('output folder; default: runs/NAME beside the recipe'),
  device: z.strictObject({
    kind: z.enum(['cpu']).default('cpu').describe('what computes'),
    threads: count(0).default(0).describe('0: all cores'),
    precision: z.enum(['f32', 'bf16']).default('bf16').describe('bf16: parameters and optimizer in f32, products in bf16 with f32 sums'),
  }).prefault({}),
  data: z.strictObject({
    root: z.string().min(1).default('.').describe('where the paths below start; itself relative to the recipe'),
    generic,
    domains: z.record(name(), domain).refine(value => Object.keys(value).length > 0, 'at least one domain'),
  }),
  tokenizer: z.strictObject({
    vocabulary: count(257).optional().describe('entries, the 256 bytes and the end-of-text token among them; default 4096'),
    documents: count().optional().describe('train on so many generic documents; default 6000'),
    file: z.string().min(1).optional().describe('a tokenizer.json to use instead of training one'),
  }).prefault({}),
  corpus: z.strictObject({
    context: count(2).optional().describe('tokens of a window; default: the model\'s context'),
    minimumLength: count(2).default(32).describe('a document\'s last window is dropped if it is shorter'),
    tokens: count().optional().describe('take so many tokens of the generic set; default: all'),
  }).prefault({}),
  model: z.preprocess(value => typeof value === 'string' ? { preset: value } : value, model.prefault({})),
  clusters: z.strictObject({
    embedder: z.enum(['lsi']).default('lsi').describe('latent semantic indexing: tf-idf and SVD; needs no model'),
    dimensions: count(2).default(128).describe('of a window\'s vector'),
    count: count(2).default(64).describe('number of clusters'),
    sample: count().default(20000).describe('windows that the embedder and k-means are fitted on'),
  }).prefault({}),
  pretrain: z.strictObject({
    tokens: count().optional().describe('tokens to train on, whole steps of them; or say steps'),
    steps: count().optional().describe('optimizer steps; or say tokens'),
    batch: count().default(32).describe('rows a step'),
    accumulate: count().default(1).describe('parts that a step\'s rows are computed in, one after the other; less memory, same result'),
    rate: positive().default(1e-3).describe('peak learning rate'),
    warmup: schedule.warmup.default(100),
    schedule: schedule.schedule.default('cosine'),
    finalRate: schedule.finalRate.default(0.1),
    ...optimizer,
    evaluateEvery: count(0).default(200).describe('steps between evaluations on generic held-out text; 0: at the end only'),
    checkpointEvery: count().default(100).describe('steps between checkpoints'),
    keep: count().default(2).describe('checkpoints kept, besides the best'),
  }).prefault({}),
  finetune: z.strictObject({
    steps: count().default(800).describe('at most so many'),
    batch: count().default(8).describe('rows a step'),
    accumulate: count().default(1).describe('as of pretrain'),
    rate: positive().default(5e-4).describe('peak learning rate'),
    warmup: schedule.warmup.default(0),
    schedule: schedule.schedule.default('constant'),
    finalRate: schedule.finalRate.default(0.1),
    ...optimizer,
    evaluateEvery: count().default(25).describe('steps between evaluations on the validation part'),
    patience: count().default(3).describe('stop after so many evaluations without a gain'),
    validationShare: z.number().gt(0).lt(1).default(0.1).describe('share of the specialization set kept for validation'),
  }).prefault({}),
  methods: z.array(z.enum(METHODS)).min(1).default([...METHODS]).describe('slm: pretrained on the generic set; slm-is: on the generic set resampled by cluster to match the domain'),
  domains: z.array(name()).min(1).optional().describe('the domains to run; default: all of data.domains'),
  report: z.strictObject({
    title: z.string().optional().describe('of the report; default: name'),
  }).prefault({}),
})

/** A recipe as read: defaults filled in, paths as written. */
export type RecipeFile = z.output<typeof RecipeSchema>

/** The keys that a recipe may have at a path (names of domains stand for any), or undefined where there are none. */
export function keysAt(path: readonly PropertyKey[]): string[] | undefined {
  let at: z.ZodType | undefined = RecipeSchema
  for (const key of [...path, undefined]) {
    at = unwrap(at)
    if (key === undefined) break
    if (at instanceof z.ZodObject) at = at.shape[String(key)] as z.ZodType | undefined
    else if (at instanceof z.ZodRecord) at = at.valueType as z.ZodType
    else return undefined
    if (!at) return undefined
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : undefined
}

/** One setting, for the documentation. */
export interface SettingFacts { path: string; description: string; default: unknown }

/** Every setting of a recipe with its description and default, in the order of the schema; NAME stands for a domain's name. */
export function settingFacts(type: z.ZodType = RecipeSchema, path: string[] = []): SettingFacts[] {
  let at: z.ZodType | undefined = type, description = '', fallback: unknown
  for (; at; at = inner(at)) {
    description ||= at.description ?? ''
    if (at instanceof z.ZodDefault) fallback ??= at.def.defaultValue
    if (at instanceof z.ZodRecord) return settingFacts(at.valueType as z.ZodType, [...path, 'NAME'])
    if (at instanceof z.ZodObject) return Object.entries(at.shape as Record<string, z.ZodType>).flatMap(([key, child]) => settingFacts(child, [...path, key]))
  }
  return [{ path: path.join('.'), description, default: fallback }]
}

/** The paths in the schema that end with a key, to tell where a misplaced key belongs. */
export function placesOf(key: string, path: string[] = []): string[] {
  return (keysAt(path) ?? []).flatMap(child => [
    ...(child === key ? [path.join('.')] : []),
    ...placesOf(key, [...path, child]),
  ])
}

function unwrap(type: z.ZodType | undefined): z.ZodType | undefined {
  for (let at = type; at; at = inner(at)) type = at
  return type
}

/** What a type is wrapped around, if it is. */
function inner(type: z.ZodType): z.ZodType | undefined {
  if (type instanceof z.ZodDefault || type instanceof z.ZodPrefault || type instanceof z.ZodOptional) return type.unwrap() as z.ZodType
  return type instanceof z.ZodPipe ? type.out as z.ZodType : undefined
}
