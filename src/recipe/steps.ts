import type { TrainSettings } from '../train/index.js'
import type { FoundCell } from './findCells.js'
import type { Recipe } from './resolve.js'
import type { Method } from './schema.js'
import type { Setup, TextFiles } from './setup.js'
import type { StageContext } from './stage.js'

/*
 * Results of stages, as stage.json keeps them.
 */
/** As `Costs`. */
export type StoredCosts = { tokens: number; flops: number; deviceHours: number; device: string }
export type TokenizerResult = { vocabulary: number; hash: string }
export type CorpusResult = { documents: number; windows: number; tokens: number; textBytes: number }
export type ClustersResult = { clusters: number; dimensions: number; sample: number; iterations: number; costs: StoredCosts }
export type AssignResult = { counts: number[]; windows: number; entropy: number; topCluster: number; topFraction: number; costs: StoredCosts }
export type WeightsResult = {
  target: number[]; effectiveSampleSize: number; divergence: number; genericEntropy: number; specializationEntropy: number
  topFraction: number; mostRepeated: number; movedMass: number; warnings: string[]
}
/** Generic windows chosen by n-grams, and of how many; `divergence`: of the domain's n-grams, nats. */
export type SelectResult = { windows: number; of: number; divergence: { generic: number; selected: number }; warnings: string[]; costs: StoredCosts }
/** Means over the targets. */
export type EvaluateResult = { nll: number; perplexity: number; bitsPerByte: number | null; targets: number }
export type RunResult = {
  steps: number
  /** The step whose parameters were kept. */
  kept: number
  loss: number
  /** Of what was kept, on the validation rows; nats. */
  validation: number | null
  parameters: number
  /** FLOPs of a token that the resulting model is served with. */
  servedFlopsPerToken: number
  costs: StoredCosts
  /** slm-d with a cache: what keeping only the most probable tokens left out. */
  truncation?: { targets: number; restMass: number; lost: number }
}
/** A model on the way: `folder` starts at the stage's. The last is the run's end. */
export type PretrainResult = RunResult & { models: { steps: number; folder: string; costs: StoredCosts }[] }
/** `nll` of each expert tried, nats. */
export type ChooseResult = { expert: number; nll: { expert: number; nll: number }[]; costs: StoredCosts }
/** `expert`: null for a mean of them. */
export type InstantiateResult = { expert: number | null; parameters: number }

export type ModelChoice = Setup['model'] | Setup['llm']

/** How windows are drawn; folders are those of assignments and selections. */
export type SamplingInput =
  | { kind: 'uniform' }
  | { kind: 'importance'; assignments: string; target: number[]; selected?: { selection: string; share: number } }
  | { kind: 'selected'; selection: string }
  | { kind: 'cluster'; assignments: string; cluster: number }
  | { kind: 'experts'; assignments: string; validation: string }

export interface PretrainInput {
  model: ModelChoice
  /** slm-pn; `sampling` is then of kind experts. */
  projected?: Setup['projected']
  sampling: SamplingInput
  settings: TrainSettings
  /** Steps at which the model is kept as well, ascending. */
  snapshots: number[]
  seed: number
  corpus: string
  validation: string
  tokenizer: string
}

export interface FinetuneInput {
  /** A Hugging Face folder, or a random start. */
  start: { model: string } | { random: ModelChoice }
  corpus: string
  tokenizer: string
  settings: TrainSettings & { patience: number }
  validationShare: number
  seed: number
  replay?: { corpus: string; share: number }
  lora?: { rank: number; alpha: number; matrices: Setup['lora']['matrices'] }
  distill?: { teacher: string; alpha: number; temperature: number; top: number | undefined }
}

/** For the terminal, and the same figures for programs. */
export type RecipeReport = { table: string; results: { method: Method; domain: string; expert?: number; before: EvaluateResult | null; after: EvaluateResult }[] }
export interface ReportInput { recipe: Recipe; found: readonly FoundCell[] }

/** Hugging Face folders of experts, or the folder of a projected network. */
export type ExpertsInput = { folders: { expert: number; folder: string }[] } | { projected: string; experts: number[] }

/**
 * What the stages do. Folders are those of earlier stages; each step writes into `context.folder` and returns what stage.json keeps.
 * Training goes on from what it finds there; on `context.signal` it saves and throws INTERRUPTED.
 */
export interface Steps {
  tokenizer(context: StageContext, input: { file: string } | { vocabulary: number; documents: number; text: TextFiles }): Promise<TokenizerResult>
  corpus(context: StageContext, input: { text: TextFiles; tokenizer: string; context: number; minimumLength: number; tokens: number | undefined }): Promise<CorpusResult>
  clusters(context: StageContext, input: { settings: Setup['clusters']; seed: number; corpus: string; tokenizer: string }): Promise<ClustersResult>
  assign(context: StageContext, input: { corpus: string; tokenizer: string; clusters: string }): Promise<AssignResult>
  /** `draws`: windows that training will draw. */
  weights(context: StageContext, input: { generic: AssignResult; specialization: AssignResult; draws: number }): Promise<WeightsResult>
  select(context: StageContext, input: { corpus: string; specialization: string; draws: number; seed: number; settings: Pick<Setup['importance'], 'repeats' | 'buckets'> }): Promise<SelectResult>
  pretrain(context: StageContext, input: PretrainInput): Promise<PretrainResult>
  /** Writes the ordinary model of an expert of a projected network, or of a mean by a weight for each, to model/. */
  instantiate(context: StageContext, input: { projected: string; expert: number | number[]; tokenizer: string }): Promise<InstantiateResult>
  /** The expert with the lowest loss on the training part of the domain. */
  choose(context: StageContext, input: { experts: ExpertsInput; corpus: string; windows: number; validationShare: number; seed: number }): Promise<ChooseResult>
  finetune(context: StageContext, input: FinetuneInput): Promise<RunResult>
  evaluate(context: StageContext, input: { model: string; corpus: string }): Promise<EvaluateResult>
  /** Each window by the expert of its cluster. */
  evaluateExperts(context: StageContext, input: { experts: ExpertsInput; corpus: string; assignments: string }): Promise<EvaluateResult>
  report(context: StageContext, input: ReportInput): Promise<RecipeReport>
}
