import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { resultKind } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import type { Precision, Recompute } from '../model/index.js'
import { addCosts, type TrainSettings } from '../train/index.js'
import { sharedRows } from '../sampling/index.js'
import { budgetSteps, cellId, pretrainBatch, pretrainRate, pretrainWarmup, runKey, shortCount, type Cell } from './cell.js'
import type { Fingerprints } from './fingerprint.js'
import { finetuneLength } from './rules.js'
import type { Domain, Setup, TextFiles } from './setup.js'
import { Stage, type Json, type StageCost, type StageDefinition } from './stage.js'
import type { AssignResult, ChooseResult, ClustersResult, CorpusResult, EvaluateResult, ExpertsInput, FinetuneInput, InstantiateResult, ModelChoice, PretrainResult, RunResult, SamplingInput, SelectResult, Steps, StoredCosts, TokenizerResult, WeightsResult } from './steps.js'

/** Raise a number when the stage's code changes what it writes: what was made before is then made again. */
const VERSIONS = { tokenizer: 1, corpus: 1, clusters: 2, assign: 2, weights: 1, select: 1, pretrain: 2, instantiate: 1, choose: 1, evaluate: 1, finetune: 2, 'evaluate-experts': 1, teacher: 1 } as const

/** Training that a stage does, for the estimate of its cost. */
export interface Work {
  model: ModelChoice
  steps: number
  batch: number
  accumulate: number
  recompute: Recompute
  projected?: Setup['projected']
  lora?: FinetuneInput['lora']
  teacher?: ModelChoice
  /** Of the teacher's probabilities, so many are kept; absent: it computes along. */
  top?: number
}

/** Values that a name leaves out, because everything in the output folder has them. */
export interface Naming { dataTokens?: 'one'; budget?: 'one'; clusters?: number; ngrams?: number; experts?: 'one'; seed?: number }

export interface StagesOptions {
  setup: Setup
  steps: Steps
  /** SHA-256 by file. */
  fingerprints: ReadonlyMap<string, string>
  /** Steps of each pretraining, as of `planRuns`. */
  runs: ReadonlyMap<string, readonly number[]>
  naming: Naming
  costOf?: (work: Work) => StageCost
}

/** A model that a stage makes; the folder is known once the stage is complete. */
export interface ModelSource {
  stage: Stage
  /** As names have it: the method and what sets it apart, `suffix`. */
  label: string
  suffix: string
  choice: ModelChoice
  /** The step of a model on the way of a longer run. */
  snapshot: number | null
  folder(): string
}
export interface Pretrained extends ModelSource { stage: Stage<PretrainResult>; steps: number; costs(): StoredCosts }

const NO_COSTS: StoredCosts = { tokens: 0, flops: 0, deviceHours: 0, device: '' }
const RUN: RunResult = { steps: 0, kept: 0, loss: 0, validation: 0, parameters: 0, servedFlopsPerToken: 0, costs: NO_COSTS }
const QUALITY: EvaluateResult = { nll: 0, perplexity: 1, bitsPerByte: null, targets: 0 }

/** Every file that stages read, hashed. */
export async function fingerprintsOf({ generic, domains, tokenizer, distill: { teacher } }: Setup, fingerprints: Fingerprints): Promise<Map<string, string>> {
  const files = [...generic.files, ...generic.heldout, ...domains.flatMap(({ train, heldout }) => [...train.files, ...heldout.files]), ...('file' in tokenizer ? [tokenizer.file] : []), ...(teacher === undefined ? [] : modelFiles(teacher))]
  const all = new Map<string, string>()
  for (const file of files) all.set(file, await fingerprints.of(file))
  return all
}

const modelFiles = (folder: string): string[] => readdirSync(folder).filter(file => /^config\.json$|\.safetensors$/.test(file)).sort().map(file => join(folder, file))

/** Makes the stages that cells are found by. The same stage asked for twice is one. */
export class Stages {
  readonly setup: Setup
  readonly #interned = new Map<string, Stage>()
  readonly #domains: Map<string, Domain>
  constructor(readonly options: StagesOptions) {
    this.setup = options.setup
    this.#domains = new Map(options.setup.domains.map(domain => [domain.name, domain]))
  }

  #stage<Result extends Json>(kind: keyof typeof VERSIONS, definition: Omit<StageDefinition<Result>, 'version'>): Stage<Result> {
    const stage = new Stage<Result>(this.setup.output, { ...definition, version: VERSIONS[kind] }), known = this.#interned.get(stage.hash)
    if (known) return known as Stage<Result>
    this.#interned.set(stage.hash, stage)
    return stage
  }

  /** All stages made so far. */
  made(): Stage[] { return [...this.#interned.values()] }

  #files({ files, field }: TextFiles): { settings: Json; inputs: string[] } {
    return { settings: { field }, inputs: files.map(file => this.options.fingerprints.get(file)!) }
  }

  /** What results depend on of the device. */
  get #device(): { kind: string; precision: Precision } { return { kind: resultKind(this.setup.device.kind), precision: this.setup.device.precision } }

  #cost(work: Work): StageCost { return this.options.costOf?.(work) ?? {} }

  tokenizer(): Stage<TokenizerResult> {
    const { tokenizer, generic } = this.setup, { steps, fingerprints } = this.options, planned = { vocabulary: 0, hash: '' }
    if ('file' in tokenizer) {
      return this.#stage('tokenizer', { name: 'tokenizer', early: true, planned, settings: null, inputs: [fingerprints.get(tokenizer.file)!], run: context => steps.tokenizer(context, tokenizer) })
    }
    const { settings, inputs } = this.#files(generic)
    return this.#stage('tokenizer', {
      name: 'tokenizer', early: true, planned, settings: { ...tokenizer, files: settings }, inputs,
      run: context => steps.tokenizer(context, { ...tokenizer, text: generic }),
    })
  }

  #corpus(name: string, text: TextFiles, tokens?: number): Stage<CorpusResult> {
    const { context, corpus: { minimumLength } } = this.setup, { settings, inputs } = this.#files(text), tokenizer = this.tokenizer()
    return this.#stage('corpus', {
      name: `corpus-${name}`, early: true, planned: { documents: 0, windows: Infinity, tokens: tokens ?? 0, textBytes: 0 },
      settings: { files: settings, context, minimumLength, tokens }, inputs, needs: [tokenizer],
      run: at => this.options.steps.corpus(at, { text, tokenizer: tokenizer.folder, context, minimumLength, tokens }),
    })
  }

  generic(): Stage<CorpusResult> { return this.#corpus('generic', this.setup.generic, this.setup.corpus.tokens) }
  genericHeldout(): Stage<CorpusResult> { return this.#corpus('generic-heldout', { files: this.setup.generic.heldout, field: this.setup.generic.field }) }
  domain({ domain, dataTokens }: Cell): Stage<CorpusResult> { return this.#corpus(`${domain}${this.size(dataTokens)}`, this.#domains.get(domain)!.train, dataTokens ?? undefined) }
  heldout({ domain }: Cell): Stage<CorpusResult> { return this.#corpus(`${domain}-heldout`, this.#domains.get(domain)!.heldout) }

  /*
   * Parts of names.
   */
  size(dataTokens: number | null): string { return this.options.naming.dataTokens || dataTokens === null ? '' : `-${shortCount(dataTokens)}` }
  budget({ budgetTokens, ownRun }: Cell): string { return this.options.naming.budget || budgetTokens === null ? '' : `-${shortCount(budgetTokens)}${ownRun ? '-own' : ''}` }
  clusterCount(count: number, usual: number | undefined): string { return count === usual ? '' : `-c${count}` }
  ngrams({ ngrams }: Cell): string { return ngrams && ngrams !== this.options.naming.ngrams ? `-n${ngrams}` : '' }
  seed(seed: number): string { return seed === this.options.naming.seed ? '' : `-s${seed}` }

  /** Clusters of slm-is, or as many as there are experts. */
  clustering(count: number, seed: number): Stage<ClustersResult> {
    const { embedder, dimensions, sample } = this.setup.clusters, corpus = this.generic(), tokenizer = this.tokenizer()
    const settings = { embedder, dimensions, sample, count }, { kind } = this.#device
    return this.#stage('clusters', {
      name: `clusters${this.clusterCount(count, this.options.naming.clusters)}${this.seed(seed)}`, early: true, needs: [corpus],
      planned: { clusters: count, dimensions, sample, iterations: 0, costs: NO_COSTS }, settings: { ...settings, seed, ...(kind === 'cpu' ? {} : { kind }) },
      run: context => this.options.steps.clusters(context, { settings, seed, corpus: corpus.folder, tokenizer: tokenizer.folder }),
    })
  }

  assign(corpus: Stage<CorpusResult>, count: number, seed: number): Stage<AssignResult> {
    const clusters = this.clustering(count, seed), tokenizer = this.tokenizer()
    return this.#stage('assign', {
      name: `assign-${corpus.name.replace(/^corpus-/, '')}${this.clusterCount(count, this.options.naming.clusters)}${this.seed(seed)}`, early: true, settings: null, needs: [corpus, clusters],
      planned: { counts: [], windows: 0, entropy: 0, topCluster: -1, topFraction: 0, costs: NO_COSTS },
      run: context => this.options.steps.assign(context, { corpus: corpus.folder, tokenizer: tokenizer.folder, clusters: clusters.folder }),
    })
  }

  weights(cell: Cell): Stage<WeightsResult> {
    const generic = this.assign(this.generic(), cell.clusters!, cell.seed), own = this.assign(this.domain(cell), cell.clusters!, cell.seed)
    const { byCluster: draws } = this.#draws(cell)
    return this.#stage('weights', {
      name: `weights-${own.name.replace(/^assign-/, '')}${this.ngrams(cell)}`, early: true, settings: { draws }, needs: [generic, own],
      planned: { target: [], effectiveSampleSize: 0, divergence: 0, genericEntropy: 0, specializationEntropy: 0, topFraction: 0, mostRepeated: 0, movedMass: 0, warnings: [] },
      run: context => this.options.steps.weights(context, { generic: generic.result, specialization: own.result, draws }),
    })
  }

  /** Generic windows that are like the domain, by n-grams. */
  selection(cell: Cell): Stage<SelectResult> {
    const { repeats, buckets } = this.setup.importance, generic = this.generic(), own = this.domain(cell), { byNgrams: draws } = this.#draws(cell), { seed } = cell
    return this.#stage('select', {
      name: `select-${own.name.replace(/^corpus-/, '')}${this.ngrams(cell)}${this.seed(seed)}`, early: true, settings: { draws, repeats, buckets, seed }, needs: [generic, own],
      planned: { windows: 0, of: 0, divergence: { generic: 0, selected: 0 }, warnings: [], costs: NO_COSTS },
      run: context => this.options.steps.select(context, { corpus: generic.folder, specialization: own.folder, draws, seed, settings: { repeats, buckets } }),
    })
  }

  /** Rows that the cell's pretraining draws, by clusters and by n-grams. */
  #draws(cell: Cell): { byCluster: number; byNgrams: number } {
    const rows = this.#runSteps(cell).at(-1)! * pretrainBatch(this.setup, cell.method), byNgrams = sharedRows(rows, cell.ngrams ?? 0)
    return { byCluster: rows - byNgrams, byNgrams }
  }

  #runSteps(cell: Cell): readonly number[] {
    const steps = this.options.runs.get(runKey(cell))
    if (!steps) throw new NichelmError('INTERNAL', `no pretraining was planned for ${cellId(cell)}`)
    return steps
  }

  /** The pretraining of the cell's method, as far as its budget; for slm-mix that of one expert. */
  pretrained(cell: Cell, expert?: number): Pretrained {
    const { setup } = this, { method, seed, experts } = cell, all = this.#runSteps(cell), total = all.at(-1)!, steps = budgetSteps(setup, cell)
    const suffix = this.#pretrainedSuffix(cell, expert), label = `${method}${suffix}`
    const { tokens: _, steps: __, largeRate: ___, ...given } = setup.pretrain, { checkpointEvery, keep, recompute, ...decisive } = given, { kind, precision } = this.#device
    const choice = method === 'llm' ? setup.llm : setup.model, projected = method === 'slm-pn' ? { ...setup.projected, experts: experts! } : undefined
    const changes = { rate: pretrainRate(setup, method), batch: pretrainBatch(setup, method), steps: total, warmup: pretrainWarmup(setup, method, total) }
    const generic = this.generic(), validation = this.genericHeldout(), tokenizer = this.tokenizer(), snapshots = all.slice(0, -1)
    const sampling = this.#sampling(cell, expert)
    const stage = this.#stage<PretrainResult>('pretrain', {
      name: `pretrain-${label}`, resumes: true, planned: { ...RUN, models: [] },
      cost: this.#cost({ model: choice, ...changes, accumulate: given.accumulate, recompute, ...(projected ? { projected } : {}) }),
      // How often it is saved, what it computes again and on how many threads it runs change no result.
      settings: { model: choice, projected, sampling: sampling.settings, snapshots, ...decisive, ...changes, context: setup.context, seed, kind, precision },
      needs: [generic, validation, tokenizer, ...sampling.needs],
      run: at => this.options.steps.pretrain(at, {
        model: choice, ...(projected ? { projected } : {}), sampling: sampling.input(), settings: { ...decisive, ...changes, recompute, checkpointEvery, keep } satisfies TrainSettings,
        snapshots, seed, corpus: generic.folder, validation: validation.folder, tokenizer: tokenizer.folder,
      }),
    })
    const model = () => {
      const one = stage.result.models.find(({ steps: at }) => at === steps)
      if (!one) throw new NichelmError('CORRUPT', `has no model of step ${steps}`, { place: { file: stage.folder }, fix: 'Delete that folder and run again.' })
      return one
    }
    return { stage, label, suffix, choice, steps, snapshot: steps === total ? null : steps, folder: () => `${stage.folder}/${model().folder}`, costs: () => model().costs }
  }

  #pretrainedSuffix(cell: Cell, expert: number | undefined): string {
    const { method, domain, dataTokens, clusters, experts, seed, ownRun } = cell, { naming } = this.options
    return [
      method === 'slm-is' ? `-${domain}${this.size(dataTokens)}${clusters === null ? '' : this.clusterCount(clusters, naming.clusters)}${this.ngrams(cell)}` : '',
      experts === null || naming.experts ? '' : `-e${experts}`, ownRun ? this.budget(cell) : '', expert === undefined ? '' : `-expert${expert}`, this.seed(seed),
    ].join('')
  }

  #sampling(cell: Cell, expert: number | undefined): { settings: Json; needs: Stage[]; input: () => SamplingInput } {
    const { method, clusters, ngrams, experts, seed } = cell
    if (method === 'slm-is' && ngrams) {
      const selection = this.selection(cell)
      if (clusters === null) return { settings: 'n-grams', needs: [selection], input: () => ({ kind: 'selected', selection: selection.folder }) }
      const assignments = this.assign(this.generic(), clusters, seed), weights = this.weights(cell)
      return {
        settings: { ngrams }, needs: [assignments, weights, selection],
        input: () => ({ kind: 'importance', assignments: assignments.folder, target: weights.result.target, selected: { selection: selection.folder, share: ngrams } }),
      }
    }
    if (method === 'slm-is') {
      const assignments = this.assign(this.generic(), clusters!, seed), weights = this.weights(cell)
      return { settings: 'importance, each window once a pass', needs: [assignments, weights], input: () => ({ kind: 'importance', assignments: assignments.folder, target: weights.result.target }) }
    }
    if (experts === null) return { settings: 'uniform', needs: [], input: () => ({ kind: 'uniform' }) }
    const assignments = this.assign(this.generic(), experts, seed)
    if (expert !== undefined) return { settings: { cluster: expert }, needs: [assignments], input: () => ({ kind: 'cluster', assignments: assignments.folder, cluster: expert }) }
    const validation = this.assign(this.genericHeldout(), experts, seed)
    return { settings: 'experts', needs: [assignments, validation], input: () => ({ kind: 'experts', assignments: assignments.folder, validation: validation.folder }) }
  }

  /** A model that was there before, to be the teacher. */
  stored(folder: string): ModelSource {
    const stage = this.#stage('teacher', { name: 'teacher', settings: null, inputs: modelFiles(folder).map(file => this.options.fingerprints.get(file)!), planned: null, run: async () => null })
    return { stage, label: 'teacher', suffix: '', choice: this.setup.llm, snapshot: null, folder: () => folder }
  }

  /** What pretraining cost up to the cell's budget; nothing while it is only planned. */
  costsOf(from: Pretrained): StoredCosts { return from.stage.complete ? from.costs() : NO_COSTS }

  sum(...costs: readonly StoredCosts[]): StoredCosts { return costs.length ? addCosts(...costs) : NO_COSTS }

  /** The ordinary model of an expert of a projected network; a negative number stands for one that is not chosen yet. */
  instantiate(from: Pretrained, cell: Cell, expert: number): ModelSource {
    const suffix = `${from.suffix}${from.snapshot === null ? '' : this.budget(cell)}-expert${expert < 0 ? '?' : expert}`, label = `${cell.method}${suffix}`, tokenizer = this.tokenizer()
    const stage = this.#stage<InstantiateResult>('instantiate', {
      name: `instantiate-${label}`, settings: { expert, snapshot: from.snapshot }, needs: [from.stage], planned: { expert, parameters: 0 },
      run: at => this.options.steps.instantiate(at, { projected: from.folder(), expert, tokenizer: tokenizer.folder }),
    })
    return { stage, label, suffix, choice: from.choice, snapshot: null, folder: () => `${stage.folder}/model` }
  }

  /** The ordinary model of the mean of a projected network's experts, each as often as its cluster is in the cell's domain. */
  instantiateMean(from: Pretrained, cell: Cell): ModelSource {
    const suffix = `${from.suffix}${from.snapshot === null ? '' : this.budget(cell)}-mean`, label = `${cell.method}${suffix}`, tokenizer = this.tokenizer(), histogram = this.assign(this.domain(cell), cell.experts!, cell.seed)
    const stage = this.#stage<InstantiateResult>('instantiate', {
      name: `instantiate-${label}-${cell.domain}${this.size(cell.dataTokens)}`, settings: { expert: 'mean', snapshot: from.snapshot }, needs: [from.stage, histogram], planned: { expert: null, parameters: 0 },
      run: at => this.options.steps.instantiate(at, { projected: from.folder(), expert: histogram.result.counts, tokenizer: tokenizer.folder }),
    })
    return { stage, label, suffix, choice: from.choice, snapshot: null, folder: () => `${stage.folder}/model` }
  }

  /** The expert that is best before fine-tuning. `experts`: what gives the models' folders once `needs` are complete. */
  choose(cell: Cell, label: string, experts: readonly number[], needs: readonly Stage[], snapshot: number | null, input: () => ExpertsInput): Stage<ChooseResult> {
    const { choice: { windows }, finetune: { validationShare } } = this.setup, { kind, precision } = this.#device, corpus = this.domain(cell), { seed } = cell
    return this.#stage('choose', {
      name: `choose-${label}-${cell.domain}${this.size(cell.dataTokens)}`, settings: { experts: [...experts], windows, validationShare, seed, snapshot, kind, precision }, needs: [...needs, corpus],
      planned: { expert: -1, nll: [], costs: NO_COSTS },
      run: at => this.options.steps.choose(at, { experts: input(), corpus: corpus.folder, windows, validationShare, seed }),
    })
  }

  /** Fine-tuning of a model on the cell's domain, or for slm-nopt training from a random start. */
  finetune(cell: Cell, from: ModelSource | null, tokens: number, teacher?: ModelSource): Stage<RunResult> {
    const { setup } = this, { method, seed, dataTokens } = cell, { kind, precision } = this.#device
    const { rate: _, steps: __, bySize: ___, replay, validationShare, ...given } = setup.finetune
    const usual = finetuneLength(dataTokens ?? tokens, setup.pretrain.rate, setup.finetune)
    const own = method === 'slm-nopt' ? { rate: setup.nopt.rate ?? setup.pretrain.rate, steps: setup.nopt.steps }
      : method === 'llm-lora' ? { rate: setup.lora.rate, steps: setup.lora.steps ?? 5 * usual.steps } : method === 'slm-d' ? setup.distill : {}
    const rate = own.rate ?? usual.rate, steps = own.steps ?? usual.steps
    const { rank, alpha, matrices } = setup.lora, lora = method === 'llm-lora' ? { rank, alpha: alpha ?? rank, matrices } : undefined
    const distill = teacher ? { alpha: setup.distill.alpha, temperature: setup.distill.temperature, top: setup.distill.top } : undefined
    const corpus = this.domain(cell), tokenizer = this.tokenizer(), generic = replay > 0 ? this.generic() : undefined
    // All that is kept of a fine-tuning is its best; it is short enough to be saved when it is evaluated.
    const settings = { ...given, rate, steps, checkpointEvery: given.evaluateEvery, keep: 1 }, choice = from?.choice ?? setup.model
    const { checkpointEvery: ____, keep: _____, recompute, ...decisive } = settings
    return this.#stage<RunResult>('finetune', {
      name: `finetune-${this.specialized(cell, from)}`, resumes: true, planned: RUN,
      cost: this.#cost({ model: choice, steps, batch: given.batch, accumulate: given.accumulate, recompute, ...(lora ? { lora } : {}), ...(distill?.top === undefined ? {} : { top: distill.top }), ...(teacher ? { teacher: teacher.choice } : {}) }),
      settings: { ...decisive, validationShare, replay, lora, distill, snapshot: from?.snapshot ?? null, random: from ? undefined : choice, context: setup.context, seed, kind, precision },
      needs: [...(from ? [from.stage] : []), corpus, tokenizer, ...(generic ? [generic] : []), ...(teacher ? [teacher.stage] : [])],
      run: at => this.options.steps.finetune(at, {
        start: from ? { model: from.folder() } : { random: choice }, corpus: corpus.folder, tokenizer: tokenizer.folder, settings, validationShare, seed,
        ...(generic ? { replay: { corpus: generic.folder, share: replay } } : {}), ...(lora ? { lora } : {}), ...(distill && teacher ? { distill: { teacher: teacher.folder(), ...distill } } : {}),
      }),
    })
  }

  /** The cell's method with model and domain, as names have it. */
  specialized(cell: Cell, from: ModelSource | null): string {
    const { method, domain, dataTokens, seed } = cell, size = this.size(dataTokens)
    if (!from) return `${method}-${domain}${size}${this.seed(seed)}`
    return `${method}${from.suffix}${method === 'slm-is' ? '' : `-${domain}${size}`}${from.snapshot === null ? '' : this.budget(cell)}`
  }

  evaluate(name: string, model: ModelSource, corpus: Stage): Stage<EvaluateResult> {
    const { kind, precision } = this.#device
    return this.#stage('evaluate', {
      name: `evaluate-${name}`, settings: { kind, precision, snapshot: model.snapshot ?? undefined }, needs: [model.stage, corpus], planned: QUALITY,
      run: at => this.options.steps.evaluate(at, { model: model.folder(), corpus: corpus.folder }),
    })
  }

  evaluateExperts(name: string, cell: Cell, needs: readonly Stage[], snapshot: number | null, input: () => ExpertsInput): Stage<EvaluateResult> {
    const { kind, precision } = this.#device, corpus = this.genericHeldout(), assignments = this.assign(corpus, cell.experts!, cell.seed)
    return this.#stage('evaluate-experts', {
      name: `evaluate-${name}-generic`, settings: { kind, precision, snapshot }, needs: [...needs, corpus, assignments], planned: QUALITY,
      run: at => this.options.steps.evaluateExperts(at, { experts: input(), corpus: corpus.folder, assignments: assignments.folder }),
    })
  }
}
