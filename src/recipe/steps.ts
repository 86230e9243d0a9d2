import type { TrainResult } from '../train/index.js'
import type { Method } from './schema.js'
import type { Recipe, TextFiles } from './resolve.js'
import type { StageContext } from './stage.js'

/*
 * Results of stages, as stage.json keeps them.
 */
export type TokenizerResult = { vocabulary: number; hash: string }
export type CorpusResult = { documents: number; windows: number; tokens: number; textBytes: number }
export type ClustersResult = { clusters: number; dimensions: number; sample: number; iterations: number }
export type AssignResult = { counts: number[]; windows: number; entropy: number; topCluster: number; topFraction: number }
export type WeightsResult = {
  target: number[]; effectiveSampleSize: number; divergence: number; genericEntropy: number; specializationEntropy: number
  topFraction: number; mostRepeated: number; movedMass: number; warnings: string[]
}
/** Means over the targets. */
export type EvaluateResult = { nll: number; perplexity: number; bitsPerByte: number | null; targets: number }
export type RunResult = Pick<TrainResult, 'steps' | 'kept' | 'loss'> & { parameters: number; tokens: number; flops: number; deviceHours: number; device: string }
/** For the terminal, and the same figures for programs. */
export type RecipeReport = { table: string; results: { method: Method; domain: string; before: EvaluateResult; after: EvaluateResult }[] }

/** One method on one domain. */
export interface ReportEntry {
  method: Method
  domain: string
  before: EvaluateResult
  after: EvaluateResult
  /** On generic held-out text, before fine-tuning. */
  generic: EvaluateResult | undefined
  /** `folder` holds metrics.jsonl; `shared`: of several domains. */
  pretraining: { folder: string; name: string; shared: boolean; result: RunResult }
  finetuning: { folder: string; name: string; result: RunResult }
  sampling: { generic: AssignResult; domain: AssignResult; weights: WeightsResult } | undefined
}

/**
 * What the stages do. Folders are those of earlier stages; each step writes into `context.folder` and returns what stage.json keeps.
 * Training goes on from what it finds there; on `context.signal` it saves and throws INTERRUPTED.
 */
export interface Steps {
  tokenizer(context: StageContext, input: { file: string } | { vocabulary: number; documents: number; text: TextFiles }): Promise<TokenizerResult>
  corpus(context: StageContext, input: { text: TextFiles; tokenizer: string; context: number; minimumLength: number; tokens: number | undefined }): Promise<CorpusResult>
  clusters(context: StageContext, input: { recipe: Recipe; corpus: string; tokenizer: string }): Promise<ClustersResult>
  assign(context: StageContext, input: { recipe: Recipe; corpus: string; tokenizer: string; clusters: string }): Promise<AssignResult>
  /** `draws`: windows that training will draw. */
  weights(context: StageContext, input: { generic: AssignResult; specialization: AssignResult; draws: number }): Promise<WeightsResult>
  pretrain(context: StageContext, input: { recipe: Recipe; corpus: string; validation: string; tokenizer: string; sampling: { assignments: string; target: number[] } | undefined }): Promise<RunResult>
  finetune(context: StageContext, input: { recipe: Recipe; model: string; corpus: string; tokenizer: string }): Promise<RunResult>
  evaluate(context: StageContext, input: { recipe: Recipe; model: string; corpus: string }): Promise<EvaluateResult>
  report(context: StageContext, input: { recipe: Recipe; entries: ReportEntry[] }): Promise<RecipeReport>
}
