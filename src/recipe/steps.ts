import type { Method } from './schema.js'
import type { Recipe, TextFiles } from './resolve.js'
import type { StageContext } from './stage.js'

/** One method on one domain: the folders of the stages that the report reads. */
export interface ReportEntry {
  method: Method
  domain: string
  pretrained: string
  tuned: string
  /** Importance weights, where the method has them. */
  weights: string | undefined
  before: string
  after: string
}

export type TokenizerResult = { vocabulary: number; hash: string }
export type CorpusResult = { documents: number; windows: number; tokens: number; textBytes: number }
export type ClustersResult = { clusters: number; sample: number }
export type AssignResult = { counts: number[]; windows: number; entropy: number; topCluster: number; topFraction: number; emptyClusters: number }
export type WeightsResult = { weights: number[]; target: number[]; effectiveSampleSize: number; divergence: number; mostRepeated: number; movedMass: number; warnings: string[] }
/** Means over the tokens that were predicted. */
export type EvaluateResult = { tokens: number; loss: number; perplexity: number; bitsPerByte: number }
/** What training took, interruptions not counted. */
export type TrainResult = { parameters: number; steps: number; tokens: number; flops: number; seconds: number; loss: number }
export type FinetuneResult = TrainResult & { bestStep: number; bestLoss: number }
export type ReportResult = { rows: ReportRow[] }
export type ReportRow = { method: Method; domain: string; before: EvaluateResult; after: EvaluateResult; pretraining: TrainResult; finetuning: FinetuneResult }

/**
 * What the stages do. Folders are those of earlier stages; each step writes into `context.folder` and returns what stage.json keeps.
 * Training goes on from what it finds there; on `context.signal` it saves and throws INTERRUPTED.
 */
export interface Steps {
  tokenizer(context: StageContext, input: { file: string } | { vocabulary: number; documents: number; text: TextFiles }): Promise<TokenizerResult>
  corpus(context: StageContext, input: { text: TextFiles; tokenizer: string; context: number; minimumLength: number; tokens: number | undefined }): Promise<CorpusResult>
  clusters(context: StageContext, input: { recipe: Recipe; corpus: string; tokenizer: string }): Promise<ClustersResult>
  assign(context: StageContext, input: { recipe: Recipe; corpus: string; tokenizer: string; clusters: string }): Promise<AssignResult>
  /** `generic` and `specialization`: folders of assignments. `draws`: windows that training will draw. */
  weights(context: StageContext, input: { generic: string; specialization: string; draws: number }): Promise<WeightsResult>
  pretrain(context: StageContext, input: { recipe: Recipe; corpus: string; validation: string; tokenizer: string; sampling: { assignments: string; weights: string } | undefined }): Promise<TrainResult>
  finetune(context: StageContext, input: { recipe: Recipe; model: string; corpus: string; tokenizer: string }): Promise<FinetuneResult>
  evaluate(context: StageContext, input: { recipe: Recipe; model: string; corpus: string }): Promise<EvaluateResult>
  report(context: StageContext, input: { recipe: Recipe; entries: ReportEntry[]; generic: string | undefined }): Promise<ReportResult>
}
