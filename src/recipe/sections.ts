import { z } from 'zod'
import { PRESETS, type Preset } from '../model/config.js'
import { LORA_MATRICES, RECOMPUTE } from '../model/index.js'
import { EXPERT_CHOICES } from '../specialize/index.js'
import { readExperts } from './experts.js'

const SUFFIXES: Record<string, number> = { k: 1e3, M: 1e6, B: 1e9 }

/** Reads `12_000_000`, `12M`, `1.5B` and `100k` as numbers; anything else is left for the check that follows. */
export function readCount(value: unknown): unknown {
  if (typeof value !== 'string') return value
  const match = /^(\d[\d_]*(?:\.\d+)?)([kMB]?)$/.exec(value.trim())
  return match ? Math.round(Number(match[1]!.replaceAll('_', '')) * (SUFFIXES[match[2]!] ?? 1)) : value
}

export const count = (minimum = 1) => z.preprocess(readCount, z.int().min(minimum))
const threads = () => z.preprocess(readCount, z.custom<number | 'all'>(value => value === 'all' || Number.isInteger(value) && Number(value) >= 1, 'a number of threads from 1 on, or all for as many as there are cores'))
const positive = () => z.number().positive()
const share = () => z.number().min(0).max(1)
export const name = () => z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'letters, digits, ".", "_" and "-", starting with a letter or digit')
const globs = () => z.preprocess(value => typeof value === 'string' ? [value] : value, z.array(z.string().min(1)).min(1))
const numbers = (what: string) => z.preprocess(readExperts, z.array(z.int().min(0), { error: `numbers of ${what}, such as 3,5-7` }).min(1))

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

const modelKeys = {
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
}
const presets = Object.keys(PRESETS) as [Preset, ...Preset[]]
const model = z.strictObject({ preset: z.enum(presets).default('nano').describe('the small model, which is served: the choices that the other keys change'), ...modelKeys })
const large = z.strictObject({ preset: z.enum(presets).default('llm').describe('the large model of llm and llm-lora and the teacher of slm-d; as model'), ...modelKeys })
const named = <Type extends z.ZodType>(type: Type) => z.preprocess(value => typeof value === 'string' ? { preset: value } : value, type)

/** Pieces of a recipe that an experiment has as well. Units: tokens, steps, rows (one context of tokens each). */
export const SECTIONS = {
  name: name().describe('name of the run'),
  output: z.string().min(1).optional().describe('output folder; default: runs/NAME beside the recipe'),
  device: z.strictObject({
    kind: z.enum(['cpu', 'cuda']).default('cpu').describe('what computes: the CPU, or an NVIDIA GPU'),
    index: count(0).default(0).describe('cuda: which GPU, from 0'),
    threads: threads().default('all').describe('of the CPU: a number, or all for as many as there are cores'),
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
  model: named(model.prefault({})),
  llm: named(large.prefault({})),
  clusters: z.strictObject({
    embedder: z.enum(['lsi']).default('lsi').describe('latent semantic indexing: tf-idf and SVD; needs no model'),
    dimensions: count(2).default(128).describe('of a window\'s vector'),
    count: count(2).default(64).describe('number of clusters of slm-is'),
    sample: count().default(20000).describe('windows that the embedder and k-means are fitted on'),
  }).prefault({}),
  importance: z.strictObject({
    ngrams: z.number().min(0).max(1).default(0).describe('slm-is: share of the rows whose windows are chosen by n-grams of tokens, as DSIR does, instead of by cluster'),
    repeats: positive().default(2).describe('how often a window that n-grams chose is gone through'),
    buckets: count(2).default(10000).describe('of hashed unigrams and bigrams'),
  }).prefault({}),
  projected: z.strictObject({
    experts: count(2).default(16).describe('slm-pn: number of experts, each for one cluster'),
    layers: numbers('layers').optional().describe('layers whose MLPs are projected, such as 1-5, counted from 0; default: all'),
    multiplier: count().optional().describe('basis matrices of each projected matrix; default: experts'),
    expertSize: count().optional().describe('length of an expert\'s vector; default: experts'),
    coefficientScale: positive().optional().describe('factor of the coefficients; default: 1 / multiplier'),
    spread: z.number().min(0).optional().describe('how far apart experts start, relative to what they share; default: that of the library'),
    groups: count().optional().describe('clusters in a step, one group of rows each; it divides the rows computed at once; default: 8, or what divides them'),
    rate: positive().optional().describe('learning rate; default: that of pretrain'),
  }).prefault({}),
  mixture: z.strictObject({
    count: count(2).default(16).describe('slm-mix: number of experts, each a small model pretrained on one cluster'),
    experts: numbers('experts').optional().describe('the experts to train, such as 3,5-7, counted from 0; default: all'),
    batch: count().optional().describe('rows a step of an expert; default: that of pretrain'),
    rate: positive().optional().describe('learning rate; default: that of pretrain'),
  }).prefault({}),
  choice: z.strictObject({
    by: z.enum(EXPERT_CHOICES).default('frequent').describe('slm-pn, slm-mix: the domain\'s expert. frequent: that of its most frequent cluster; mean: of slm-pn, all experts, each as often as its cluster is in the domain; best-pretrained: the one with the lowest loss on the domain\'s training part before fine-tuning; best-finetuned: fine-tune all, keep the best on the validation part'),
    experts: numbers('experts').optional().describe('the experts that best-pretrained and best-finetuned try; default: all'),
    windows: count().default(512).describe('best-pretrained: evaluate on at most so many windows'),
  }).prefault({}),
  pretrain: z.strictObject({
    tokens: count().optional().describe('tokens to train on, whole steps of them; or say steps. slm-mix: all experts together'),
    steps: count().optional().describe('optimizer steps; or say tokens'),
    batch: count().default(32).describe('rows a step'),
    accumulate: count().default(1).describe('parts that a step\'s rows are computed in, one after the other; less memory, same result'),
    recompute: z.enum(RECOMPUTE).default('none').describe('activations that are made again instead of kept, in every layer: attention, those up to its result; mlp, those inside it; blocks, all but the layer\'s input. Less memory, more time, the same bits'),
    rate: positive().default(1e-3).describe('peak learning rate'),
    largeRate: positive().optional().describe('of the large model of llm, llm-lora and slm-d: wider models want lower rates; default: rate'),
    warmup: schedule.warmup.default(100),
    schedule: schedule.schedule.default('cosine'),
    finalRate: schedule.finalRate.default(0.1),
    ...optimizer,
    evaluateEvery: count(0).default(200).describe('steps between evaluations on generic held-out text; 0: at the end only'),
    checkpointEvery: count().default(100).describe('steps between checkpoints'),
    keep: count().default(2).describe('checkpoints kept, besides the best'),
  }).prefault({}),
  finetune: z.strictObject({
    steps: count().optional().describe('at most so many; default by the size of the domain: 2000 up to 1M tokens, 4000 at 8M, 30000 from 64M on, between them in proportion on logarithmic scales'),
    batch: count().default(8).describe('rows a step'),
    accumulate: count().default(1).describe('as of pretrain'),
    recompute: z.enum(RECOMPUTE).default('none').describe('as of pretrain'),
    rate: positive().optional().describe('peak learning rate; default by the size of the domain: a third of pretrain.rate up to 1M tokens, all of it from 8M on, between them in proportion on logarithmic scales'),
    bySize: z.array(z.strictObject({
      tokens: count().describe('for domains of at least so many tokens'),
      steps: count().optional().describe('instead of finetune.steps'),
      rate: positive().optional().describe('instead of finetune.rate'),
    })).default([]).describe('other steps or rates for larger domains'),
    warmup: schedule.warmup.default(0),
    schedule: schedule.schedule.default('constant'),
    finalRate: schedule.finalRate.default(0.1),
    ...optimizer,
    evaluateEvery: count().default(25).describe('steps between evaluations on the validation part'),
    patience: count().default(3).describe('stop after so many evaluations without a gain'),
    validationShare: z.number().gt(0).lt(1).default(0.1).describe('share of the specialization set kept for validation'),
    replay: z.number().min(0).lt(1).default(0).describe('share of generic text among the rows'),
  }).prefault({}),
  nopt: z.strictObject({
    steps: count().optional().describe('slm-nopt: at most so many; default: those of fine-tuning'),
    rate: positive().optional().describe('learning rate; default: pretrain.rate'),
  }).prefault({}),
  lora: z.strictObject({
    rank: count().default(64).describe('llm-lora: rank of the updates'),
    alpha: positive().optional().describe('the updates are scaled by alpha / rank; default: rank'),
    matrices: z.array(z.enum(LORA_MATRICES)).min(1).default(['attention.qkv']).describe('which matrices of every layer are updated'),
    steps: count().optional().describe('at most so many; default: 5 times those of fine-tuning'),
    rate: positive().optional().describe('learning rate; default: that of fine-tuning'),
  }).prefault({}),
  distill: z.strictObject({
    alpha: share().default(0.5).describe('slm-d: share of the teacher in the loss, (1 - alpha) cross-entropy + alpha temperature^2 KL(teacher, student)'),
    temperature: positive().default(1).describe('of both distributions'),
    top: count().optional().describe('keep so many of the teacher\'s probabilities and the rest\'s mass; default: the whole distribution, computed as training goes on'),
    teacher: z.string().min(1).optional().describe('a Hugging Face folder of the teacher before it is fine-tuned, with the same tokenizer; default: llm'),
    steps: count().optional().describe('at most so many; default: those of fine-tuning'),
    rate: positive().optional().describe('learning rate; default: that of fine-tuning'),
  }).prefault({}),
}
