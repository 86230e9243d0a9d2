import { join, relative } from 'node:path'
import { availableThreads, Device } from '../../bindings/index.js'
import { writeJson } from '../base/files.js'
import { assignCorpus, fitClustering, openAssignments, openClustering, tokenText } from '../cluster/index.js'
import { buildCorpus, openCorpus, splitCorpus, type Corpus } from '../corpus/index.js'
import { evaluateCorpus, evaluateProjected } from '../evaluate/index.js'
import { countModel, countParameters, instantiate, modelConfig, openHuggingFace, openProjected, projectedConfig, projectedSpecs, type ModelConfig } from '../model/index.js'
import { importanceWeights, openSelection, selectByNgrams, windowsByCluster, writeSelection } from '../sampling/index.js'
import { chooseBestPretrained, finetune, readTeacherReport, type Distillation } from '../specialize/index.js'
import { readDocuments, Tokenizer } from '../text/index.js'
import { addCosts, addTokenizer, deviceName, pretrain, ProgressDisplay, type Drawing, type TrainProgress, type TrainResult } from '../train/index.js'
import { makeReport } from './makeReport.js'
import type { Setup } from './setup.js'
import type { StageContext } from './stage.js'
import type { EvaluateResult, FinetuneInput, ModelChoice, PretrainInput, RunResult, Steps, StoredCosts } from './steps.js'

/** What training is told besides what is particular to its kind. */
type RunOptions = Pick<Parameters<typeof pretrain>[0], 'folder' | 'device' | 'precision' | 'identity' | 'signal' | 'onProgress'>

const GROUPS = 8

/** The stages done on this machine's device; with several jobs, each on its share of the threads. Dispose it to free the devices. */
export class LocalSteps implements Steps, Disposable {
  readonly #devices: Device[] = []
  #peak: number | undefined
  /** `brief`: of training only every so often a line, where there is no terminal to draw on. */
  constructor(readonly options: Setup['device'], readonly jobs = 1, readonly brief = false) {}

  /** Opened by the first use, so that one that is not there is told before any time is spent: throws DEVICE. */
  get device(): Device { return this.#device(0) }
  [Symbol.dispose](): void { for (const device of this.#devices) device?.dispose() }

  get #threads(): number { return this.options.threads === 'all' ? availableThreads() : this.options.threads }

  #device(lane: number): Device {
    const { kind, index } = this.options, share = Math.max(1, Math.floor(this.#threads / this.jobs))
    return this.#devices[lane] ??= new Device({ kind, index, threads: share })
  }

  /** Shows how training goes, as a share of what the device can do; of several jobs the first's. */
  async #display({ name, lane }: StageContext): Promise<{ show(progress: TrainProgress): void } & Disposable> {
    if (lane > 0) return { show: () => {}, [Symbol.dispose]: () => {} }
    this.#peak ??= await this.#device(lane).peak(this.options.precision)
    const display = new ProgressDisplay({ label: name, peak: this.#peak, ...(this.brief ? { every: 30 } : {}) })
    if (!this.brief || process.stderr.isTTY) return display
    return { show: progress => { if (!progress.validation && progress.step > 1 && progress.step < progress.steps) display.show(progress) }, [Symbol.dispose]: () => display[Symbol.dispose]() }
  }

  async #timed<Result>(lane: number, work: () => Promise<Result>): Promise<{ result: Result; costs: StoredCosts }> {
    const began = performance.now(), result = await work()
    return { result, costs: { tokens: 0, flops: 0, deviceHours: (performance.now() - began) / 3.6e6, device: deviceName(this.#device(lane).describe()) } }
  }

  tokenizer: Steps['tokenizer'] = async ({ folder }, input) => {
    using tokenizer = 'file' in input ? Tokenizer.load(input.file) : await Tokenizer.train(first(readDocuments(input.text.files, { field: input.text.field }), input.documents), { vocabularySize: input.vocabulary, threads: this.#threads })
    tokenizer.save(join(folder, 'tokenizer.json'))
    return { vocabulary: tokenizer.vocabularySize, hash: tokenizer.hash }
  }

  corpus: Steps['corpus'] = async ({ folder }, { text, tokenizer: from, context, minimumLength, tokens }) => {
    using tokenizer = Tokenizer.load(from)
    const { counts } = await buildCorpus({
      documents: readDocuments(text.files, { field: text.field }), tokenizer, context, minimumLength, into: folder, replace: true,
      source: text.files.length === 1 ? text.files[0]! : `${text.files[0]} and ${text.files.length - 1} more`, ...(tokens === undefined ? {} : { maximumTokens: tokens }),
    })
    return { documents: counts.documents, windows: counts.windows, tokens: counts.tokens, textBytes: counts.textBytes }
  }

  clusters: Steps['clusters'] = async ({ folder, lane }, { settings, seed, corpus: from, tokenizer: vocabulary }) => {
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    const { result, costs } = await this.#timed(lane, () => fitClustering({
      corpus, text: tokenText(tokenizer), device: this.#device(lane), into: folder, replace: true, seed,
      clusters: settings.count, sample: settings.sample, embedder: { kind: settings.embedder, dimensions: settings.dimensions },
    }))
    using clustering = result
    const { dimensions, fit } = clustering.manifest
    return { clusters: clustering.clusters, dimensions, sample: fit.sample, iterations: fit.iterations, costs }
  }

  assign: Steps['assign'] = async ({ folder, lane, signal }, { corpus: from, tokenizer: vocabulary, clusters }) => {
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using clustering = openClustering(clusters)
    const { result: { histogram }, costs } = await this.#timed(lane, () => assignCorpus({ clustering, corpus, text: tokenText(tokenizer), device: this.#device(lane), into: folder, replace: true, signal }))
    const { counts, windows, entropy, topCluster, topFraction } = histogram
    return { counts, windows, entropy, topCluster, topFraction, costs }
  }

  weights: Steps['weights'] = async ({ folder, log }, { generic, specialization, draws }) => {
    const report = importanceWeights(generic.counts, specialization.counts, { draws })
    writeJson(join(folder, 'weights.json'), report)
    for (const warning of report.warnings) log(`warning: ${warning}`)
    const { target, effectiveSampleSize, divergence, genericEntropy, specializationEntropy, topFraction, mostRepeated, movedMass, warnings } = report
    return { target, effectiveSampleSize, divergence, genericEntropy, specializationEntropy, topFraction, mostRepeated, movedMass, warnings }
  }

  select: Steps['select'] = async ({ folder, lane, log, signal }, { corpus: from, specialization: like, draws, seed, settings }) => {
    using corpus = openCorpus(from)
    using specialization = openCorpus(like)
    const { result, costs } = await this.#timed(lane, async () => {
      const selection = selectByNgrams(corpus, specialization, { draws, seed, ...settings, signal })
      await writeSelection(folder, corpus, selection, true)
      return selection
    })
    for (const warning of result.warnings) log(`warning: ${warning}`)
    return { windows: result.windows.length, of: result.of, divergence: result.divergence, warnings: result.warnings, costs }
  }

  pretrain: Steps['pretrain'] = async (context, input) => {
    const { model, projected, settings, seed, corpus: from, validation: heldout, tokenizer: vocabulary, snapshots } = input
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using validation = openCorpus(heldout, { tokenizer: tokenizer.hash })
    const config = configOf(model, tokenizer), drawing = drawingOf(input, config, corpus, validation)
    const parameters = drawing.kind === 'experts' ? projectedCount(config, drawing.projected) : countModel(config).parameters
    const { result, run } = await this.#train(context, config, parameters, options => pretrain({ ...options, config, corpus, validation, seed, settings, drawing, snapshots }))
    const models = [...result.snapshots.map(({ step, model: folder, costs }) => ({ steps: step, folder: relative(context.folder, folder), costs })), { steps: result.steps, folder: 'model', costs: result.costs }]
    // A projected network is no model to be served; its experts are, and get theirs when they are made.
    if (!projected) for (const { folder } of models) addTokenizer(join(vocabulary, 'tokenizer.json'), join(context.folder, folder))
    return { ...run, models }
  }

  finetune: Steps['finetune'] = async (context, { start, corpus: from, tokenizer: vocabulary, settings, validationShare, seed, replay, lora, distill }) => {
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using generic = replay && openCorpus(replay.corpus, { tokenizer: tokenizer.hash })
    const { endOfText } = tokenizer, model = 'model' in start ? start.model : configOf(start.random, tokenizer)
    const config = typeof model === 'string' ? openHuggingFace(model).config : model
    const { result, run } = await this.#train(context, config, countModel(config).parameters, options => finetune({
      ...options, model, corpus, validationShare, seed, settings, ...(endOfText === undefined ? {} : { endOfText }), ...(lora ? { lora } : {}),
      ...(generic && replay ? { replay: { corpus: generic, share: replay.share } } : {}), ...(distill ? { distill: distillationOf(distill, context.folder) } : {}),
    }))
    addTokenizer(join(vocabulary, 'tokenizer.json'), result.model)
    if (!distill) return run
    const { costs, truncation } = readTeacherReport(context.folder)
    return { ...run, costs: costs ? addCosts(run.costs, costs) : run.costs, ...(truncation ? { truncation: { ...truncation } } : {}) }
  }

  async #train(context: StageContext, config: ModelConfig, parameters: number, work: (options: RunOptions) => Promise<TrainResult>): Promise<{ result: TrainResult; run: RunResult }> {
    using display = await this.#display(context)
    const { folder, hash: identity, signal, lane } = context
    const result = await work({ folder, device: this.#device(lane), precision: this.options.precision, identity, signal, onProgress: progress => display.show(progress) })
    const { steps, kept, loss, validation, costs } = result
    return { result, run: { steps, kept, loss, validation: validation?.nll ?? null, parameters, servedFlopsPerToken: countModel(config).inferenceFlopsPerToken, costs } }
  }

  instantiate: Steps['instantiate'] = async ({ folder, lane }, { projected, expert, tokenizer }) => {
    const into = join(folder, 'model')
    await instantiate(projected, expert, into, this.#device(lane))
    addTokenizer(join(tokenizer, 'tokenizer.json'), into)
    return { expert: typeof expert === 'number' ? expert : null, parameters: countModel(openHuggingFace(into).config).parameters }
  }

  choose: Steps['choose'] = async ({ lane, signal }, { experts, corpus: from, windows: sample, validationShare, seed }) => {
    using corpus = openCorpus(from)
    // The validation part must not say which expert is taken.
    const { training: windows } = splitCorpus(corpus, validationShare, seed)
    const { expert, losses: nll, costs } = await chooseBestPretrained({
      device: this.#device(lane), precision: this.options.precision, corpus, windows, sample, seed, signal,
      ...('projected' in experts ? { experts: { projected: experts.projected }, among: experts.experts } : { experts: { mixture: new Map(experts.folders.map(one => [one.expert, one.folder])) } }),
    })
    return { expert, nll, costs: { ...costs } }
  }

  evaluate: Steps['evaluate'] = async ({ signal, lane }, { model, corpus: from }) => {
    using corpus = openCorpus(from)
    return qualityOf(await evaluateCorpus(corpus, { device: this.#device(lane), precision: this.options.precision, model, signal }))
  }

  evaluateExperts: Steps['evaluateExperts'] = async ({ signal, lane }, { experts, corpus: from, assignments }) => {
    using corpus = openCorpus(from)
    const { labels, clusters } = openAssignments(assignments, corpus), options = { device: this.#device(lane), precision: this.options.precision, signal }
    if ('projected' in experts) return qualityOf(await evaluateProjected({ ...options, model: openProjected(experts.projected), corpus, experts: labels }))
    const { first: begins, windows } = windowsByCluster(labels, clusters)
    let sum = 0, targets = 0
    for (const { expert, folder } of experts.folders) {
      const own = windows.subarray(begins[expert], begins[expert + 1])
      if (!own.length) continue
      const found = await evaluateCorpus(corpus, { ...options, model: folder, windows: own })
      sum += found.nll * found.targets
      targets += found.targets
    }
    const nll = sum / targets, { tokens, textBytes } = corpus.manifest.counts
    return qualityOf({ nll, perplexity: Math.exp(nll), bitsPerByte: nll / Math.LN2 * tokens / textBytes, targets })
  }

  report: Steps['report'] = ({ folder }, input) => makeReport(folder, input, this.device.describe())
}

const configOf = ({ preset, ...changes }: ModelChoice, tokenizer: Tokenizer): ModelConfig => modelConfig(preset, tokenizer.vocabularySize, changes)

const qualityOf = ({ nll, perplexity, bitsPerByte, targets }: { nll: number; perplexity: number; bitsPerByte: number; targets: number }): EvaluateResult =>
  ({ nll, perplexity, bitsPerByte: Number.isFinite(bitsPerByte) ? bitsPerByte : null, targets })

function projectedCount(config: ModelConfig, projected: Parameters<typeof projectedSpecs>[1]): number {
  const { shared, bases } = projectedSpecs(config, projected)
  return countParameters([...shared, ...bases])
}

function drawingOf({ sampling, projected, settings: { batch, accumulate } }: PretrainInput, config: ModelConfig, corpus: Corpus, validation: Corpus): Drawing {
  switch (sampling.kind) {
    case 'uniform': return { kind: 'uniform' }
    case 'importance': return {
      kind: 'importance', assignments: openAssignments(sampling.assignments, corpus).labels, target: sampling.target,
      ...(sampling.selected ? { selected: { windows: openSelection(sampling.selected.selection, corpus), share: sampling.selected.share } } : {}),
    }
    case 'selected': return { kind: 'selected', windows: openSelection(sampling.selection, corpus) }
    case 'cluster': return { kind: 'cluster', assignments: openAssignments(sampling.assignments, corpus).labels, cluster: sampling.cluster }
    case 'experts': {
      const { groups, rate: _, ...changes } = projected!
      return {
        kind: 'experts', assignments: openAssignments(sampling.assignments, corpus).labels, validation: openAssignments(sampling.validation, validation).labels,
        projected: projectedConfig(config, changes), groups: groups ?? groupsFor(batch / accumulate),
      }
    }
  }
}

/** With `top` the teacher's distributions are kept in the run's folder: each run has a teacher of its own. */
const distillationOf = ({ teacher, alpha, temperature, top }: NonNullable<FinetuneInput['distill']>, folder: string): Distillation =>
  ({ teacher, alpha, temperature, ...(top === undefined ? {} : { cache: { k: top, folder: join(folder, 'teacher') } }) })

/** Clusters in a step of slm-pn of so many rows: eight, or the most below that divides them. */
export function groupsFor(rows: number): number {
  let groups = Math.min(GROUPS, rows)
  while (rows % groups) groups--
  return groups
}

async function* first<Item>(items: AsyncIterable<Item>, count: number): AsyncGenerator<Item> {
  if (count < 1) return
  for await (const item of items) {
    yield item
    if (--count === 0) return
  }
}
