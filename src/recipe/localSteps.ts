import { join } from 'node:path'
import { Device } from '../../bindings/index.js'
import { writeJson } from '../base/files.js'
import { assignCorpus, fitClustering, openAssignments, openClustering, tokenText } from '../cluster/index.js'
import { buildCorpus, openCorpus } from '../corpus/index.js'
import { evaluateCorpus } from '../evaluate/index.js'
import { countModel, modelConfig, openHuggingFace, type ModelConfig } from '../model/index.js'
import { importanceWeights } from '../sampling/index.js'
import { finetune } from '../specialize/index.js'
import { readDocuments, Tokenizer } from '../text/index.js'
import { addTokenizer, pretrain, ProgressDisplay, type TrainResult } from '../train/index.js'
import { makeReport } from './makeReport.js'
import type { Recipe } from './resolve.js'
import type { StageContext } from './stage.js'
import type { RunResult, Steps } from './steps.js'

/** The stages done on this machine's device. Dispose it to free the device. */
export class LocalSteps implements Steps, Disposable {
  #device: Device | undefined
  #peak: number | undefined
  constructor(readonly options: Recipe['device']) {}

  get device(): Device { return this.#device ??= new Device({ threads: this.options.threads }) }
  [Symbol.dispose](): void { this.#device?.dispose() }

  /** Shows how training goes, as a share of what the device can do. */
  async #display(label: string): Promise<ProgressDisplay> {
    this.#peak ??= await this.device.peak(this.options.precision)
    return new ProgressDisplay({ label, peak: this.#peak })
  }

  tokenizer: Steps['tokenizer'] = async ({ folder }, input) => {
    using tokenizer = 'file' in input ? Tokenizer.load(input.file) : await Tokenizer.train(first(readDocuments(input.text.files, { field: input.text.field }), input.documents), { vocabularySize: input.vocabulary, threads: this.options.threads })
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

  clusters: Steps['clusters'] = async ({ folder }, { recipe: { clusters, seed }, corpus: from, tokenizer: vocabulary }) => {
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using clustering = await fitClustering({
      corpus, text: tokenText(tokenizer), device: this.device, into: folder, replace: true, seed,
      clusters: clusters.count, sample: clusters.sample, embedder: { kind: clusters.embedder, dimensions: clusters.dimensions },
    })
    const { dimensions, fit } = clustering.manifest
    return { clusters: clustering.clusters, dimensions, sample: fit.sample, iterations: fit.iterations }
  }

  assign: Steps['assign'] = async ({ folder }, { corpus: from, tokenizer: vocabulary, clusters }) => {
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using clustering = openClustering(clusters)
    const { histogram: { counts, windows, entropy, topCluster, topFraction } } = await assignCorpus({ clustering, corpus, text: tokenText(tokenizer), device: this.device, into: folder, replace: true })
    return { counts, windows, entropy, topCluster, topFraction }
  }

  weights: Steps['weights'] = async ({ folder, log }, { generic, specialization, draws }) => {
    const report = importanceWeights(generic.counts, specialization.counts, { draws })
    writeJson(join(folder, 'weights.json'), report)
    for (const warning of report.warnings) log(`warning: ${warning}`)
    const { target, effectiveSampleSize, divergence, genericEntropy, specializationEntropy, topFraction, mostRepeated, movedMass, warnings } = report
    return { target, effectiveSampleSize, divergence, genericEntropy, specializationEntropy, topFraction, mostRepeated, movedMass, warnings }
  }

  pretrain: Steps['pretrain'] = async (context, { recipe, corpus: from, validation: heldout, tokenizer: vocabulary, sampling }) => {
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    using validation = openCorpus(heldout, { tokenizer: tokenizer.hash })
    const { preset, ...changes } = recipe.model, config = modelConfig(preset, tokenizer.vocabularySize, changes)
    const { tokens: _, ...settings } = recipe.pretrain
    return await this.#train(context, config, vocabulary, run => pretrain({
      ...run, config, corpus, validation, seed: recipe.seed, settings: { ...settings, steps: recipe.steps },
      drawing: sampling && { kind: 'importance', assignments: openAssignments(sampling.assignments, corpus).labels, target: sampling.target },
    }))
  }

  finetune: Steps['finetune'] = async (context, { recipe, model: pretrained, corpus: from, tokenizer: vocabulary }) => {
    using tokenizer = Tokenizer.load(vocabulary)
    using corpus = openCorpus(from, { tokenizer: tokenizer.hash })
    const model = join(pretrained, 'model'), { validationShare, ...settings } = recipe.finetune, { endOfText } = tokenizer
    return await this.#train(context, openHuggingFace(model).config, vocabulary, run => finetune({
      ...run, model, corpus, validationShare, seed: recipe.seed, ...(endOfText === undefined ? {} : { endOfText }),
      // All that is kept of a fine-tuning is its best; it is short enough to be saved when it is evaluated.
      settings: { ...settings, checkpointEvery: settings.evaluateEvery, keep: 1 },
    }))
  }

  async #train(context: StageContext, config: ModelConfig, tokenizer: string, run: (options: Pick<Parameters<typeof pretrain>[0], 'folder' | 'device' | 'precision' | 'identity' | 'signal' | 'onProgress'>) => Promise<TrainResult>): Promise<RunResult> {
    using display = await this.#display(context.name)
    const { steps, kept, loss, costs, model } = await run({
      folder: context.folder, device: this.device, precision: this.options.precision, identity: context.hash, signal: context.signal, onProgress: progress => display.show(progress),
    })
    addTokenizer(join(tokenizer, 'tokenizer.json'), model)
    return { steps, kept, loss, parameters: countModel(config).parameters, ...costs }
  }

  evaluate: Steps['evaluate'] = async ({ signal }, { model, corpus: from }) => {
    using corpus = openCorpus(from)
    const { nll, perplexity, bitsPerByte, targets } = await evaluateCorpus(corpus, { device: this.device, precision: this.options.precision, model: join(model, 'model'), signal })
    return { nll, perplexity, bitsPerByte: Number.isFinite(bitsPerByte) ? bitsPerByte : null, targets }
  }

  report: Steps['report'] = ({ folder }, { recipe, entries }) => makeReport(folder, recipe, entries, this.device.describe())
}

async function* first<Item>(items: AsyncIterable<Item>, count: number): AsyncGenerator<Item> {
  if (count < 1) return
  for await (const item of items) {
    yield item
    if (--count === 0) return
  }
}
