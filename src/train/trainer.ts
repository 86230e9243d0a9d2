import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { resultKind, type Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { readJson, sha256, writeJson } from '../base/files.js'
import { countParameters, ModelSession, saveModel, type DistillationOptions, type HostRows, type ModelConfig, type NetworkOptions, type Precision, type StoredModel } from '../model/index.js'
import { bestFile, checkpointSteps, loadBest, loadCheckpoint, saveBest, saveCheckpoint, type TrainState } from './checkpoint.js'
import { deviceName, noCosts, type Costs } from './costs.js'
import { likelihood, type EvaluationRows, type Likelihood } from './likelihood.js'
import { MetricsFile } from './metrics.js'
import { checkSettings, learningRate, type TrainSettings } from './settings.js'

export interface TrainOptions {
  /**
   * The run's folder: run.json, metrics.jsonl, checkpoints/, models/step-N/ for snapshots, and at the end model/ (a Hugging Face folder, or a projected
   * network) and result.json.
   */
  folder: string
  device: Device
  config: ModelConfig
  precision: Precision
  settings: TrainSettings
  /** Absent: an ordinary transformer. */
  network?: NetworkOptions
  /** Absent: plain next-token loss. Else the rows bring a teacher's distributions; validation stays plain. */
  distill?: DistillationOptions
  /** Where the parameters come from: a random start, a stored model of the same configuration, or with LoRA both: the model is frozen, adapters start at random. */
  start: { seed: number; model?: StoredModel } | { seed?: never; model: StoredModel }
  /** Rows `first` .. `first + count - 1` of the run: a pure function, so that a run can go on anywhere. `flops`: what else they cost, such as a teacher's work. */
  rows: (first: number, count: number) => PreparedRows | Promise<PreparedRows>
  /** Steps after which the model is kept as well, as it is then: smaller budgets of the same run. */
  snapshots?: readonly number[]
  /** Called once before the first step of a start, when the folder is the run's: what `rows` needs. Its time is not the run's. */
  prepare?: () => Promise<void>
  /** Tokens in a row; the model's context if absent. */
  length?: number
  /** Rows to evaluate on, made anew for each evaluation; in batches of batch / accumulate rows. */
  validation?: () => Iterable<EvaluationRows>
  /** Names everything else that the run depends on (corpus, sampler, seed): a folder that holds another run is refused. */
  identity: unknown
  /** End-of-text token, noted in the model's config.json. */
  endOfText?: number
  signal?: AbortSignal
  onProgress?: (progress: TrainProgress) => void
}

type PreparedRows = HostRows & { flops?: number }

export interface TrainProgress {
  step: number
  steps: number
  loss: number
  validation?: Likelihood
  /** Tokens trained on since the run began. */
  tokens: number
  /** Of the steps since this start. */
  tokensPerSecond: number
  /** FLOP/s of the last step by the formula of `Costs`. */
  flopsPerSecond: number
  /** Seconds to the last step at this speed. */
  remaining: number
}

export interface TrainResult {
  /** Steps done, and the step whose parameters were kept. */
  steps: number
  kept: number
  /** Training loss of the last step, nats. */
  loss: number
  /** Of the parameters that were kept, on the validation rows. */
  validation: Likelihood | null
  costs: Costs
  /** Folder of the result. */
  model: string
  /** What was kept along the way, ascending. */
  snapshots: Snapshot[]
  /** Parameters that were trained. */
  trained: number
}

/** A run as it was after some of its steps. */
export interface Snapshot { step: number; model: string; loss: number; costs: Costs }

/**
 * Trains a model, or goes on with a run that was interrupted, bit for bit. A finished run is not trained again: its result is read.
 *
 * Throws CONFIG if the folder holds another run, CORRUPT for a damaged checkpoint, DIVERGED if loss or gradient are no longer finite,
 * INTERRUPTED (after saving) when the signal aborts.
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  checkSettings(options.settings)
  for (const step of options.snapshots ?? [])
    if (!Number.isSafeInteger(step) || step < 1 || step > options.settings.steps) throw new NichelmError('CONFIG', `there is no step ${step}: the run has ${options.settings.steps}`, { place: { field: 'snapshots' } })
  const claimed = claim(options)
  if ('result' in claimed) return claimed.result
  const { device, config, precision, settings, length, network, distill } = options
  using session = new ModelSession(device, {
    config, precision, rows: settings.batch / settings.accumulate, ...(length ? { length } : {}), ...(network ? { network } : {}), ...(distill ? { distill } : {}), ...(settings.recompute ? { recompute: settings.recompute } : {}),
    training: { beta1: settings.betas[0], beta2: settings.betas[1], epsilon: settings.epsilon, weightDecay: settings.weightDecay, clip: settings.clip },
  })
  // Only now is anything written: a run that cannot be leaves no folder.
  claimed.write()
  await options.prepare?.()
  return await new Run(options, session).go()
}

const SNAPSHOT_FILE = 'snapshot.json'
/** Where the model of a run after `step` steps is kept. */
export const snapshotFolder = (folder: string, step: number): string => join(folder, 'models', `step-${String(step).padStart(8, '0')}`)
const resultFile = (folder: string): string => join(folder, 'result.json')

/** Sees that the folder is free or holds this very run: gives its result if it is finished, else what makes the folder. */
function claim({ folder, device, config, precision, settings, start, identity, length, network, distill, snapshots }: TrainOptions): { result: TrainResult } | { write: () => void } {
  // What changes no bit of the result may differ from start to start. Kinds of devices round differently: what one began, another may not go on with.
  const { keep: _, checkpointEvery: __, recompute: ___, ...decisive } = settings, { kind } = device.describe()
  const configuration = { config, precision, settings: decisive, length: length ?? config.context, seed: start.seed ?? null, network: network ?? null, ...(distill ? { distill } : {}), snapshots: snapshots ?? [], identity, ...(kind === 'cpu' ? {} : { device: resultKind(kind) }) }
  const hash = sha256(JSON.stringify(configuration)), file = join(folder, 'run.json')
  if (!existsSync(file)) return { write: () => writeJson(file, { hash, ...configuration }) }
  if ((readJson(file) as { hash?: string }).hash !== hash)
    throw new NichelmError('CONFIG', 'holds a run with other settings', { place: { file: folder }, fix: 'Give another folder, or remove this one to train anew.' })
  return existsSync(resultFile(folder)) ? { result: readJson(resultFile(folder)) as TrainResult } : { write: () => {} }
}

class Run {
  readonly #checkpoints: string
  readonly #metrics: MetricsFile
  #state: TrainState
  #loss = NaN
  #lastValidation: Likelihood | null = null
  /** Rows of the next step, where they were drawn already: for the weights of their experts. */
  #ahead: PreparedRows[] | undefined
  #begun = 0
  #tokensBefore = 0

  constructor(readonly options: TrainOptions, readonly session: ModelSession) {
    this.#checkpoints = join(options.folder, 'checkpoints')
    this.#metrics = new MetricsFile(join(options.folder, 'metrics.jsonl'))
    this.#state = { step: 0, evaluated: -1, best: null, withoutGain: 0, costs: noCosts(deviceName(options.device.describe())) }
  }

  async go(): Promise<TrainResult> {
    const { settings } = this.options
    await this.#begin()
    this.#begun = performance.now()
    this.#tokensBefore = this.#state.costs.tokens
    await this.#evaluateIfDue()
    while (this.#state.step < settings.steps && !this.#stopped()) {
      await this.#stopIfAsked()
      await this.#step()
      if (this.options.snapshots?.includes(this.#state.step)) await this.#snapshot()
      if (this.#state.step % settings.checkpointEvery === 0 || this.#state.step === settings.steps) this.#save()
      await this.#evaluateIfDue()
    }
    return this.#finish()
  }

  async #begin(): Promise<void> {
    const { start } = this.options
    // A checkpoint holds what is trained; a frozen model is read in any case.
    if (start.model && (this.options.network || !checkpointSteps(this.#checkpoints).length)) {
      for (const { name, values } of start.model.parameters()) this.session.write('values', name, values)
      await this.session.refresh()
    }
    const state = await loadCheckpoint(this.#checkpoints, this.session)
    if (state) this.#state = state
    else if (start.seed !== undefined) await this.session.initialize(start.seed)
    this.#metrics.rewind(this.#state.step, this.#state.evaluated)
    const last = this.#metrics.read()
    this.#loss = last.findLast((metric) => metric.kind === 'train')?.loss ?? NaN
  }

  #stopped(): boolean {
    const { patience } = this.options.settings
    return patience !== undefined && this.#state.withoutGain >= patience
  }

  async #stopIfAsked(): Promise<void> {
    if (!this.options.signal?.aborted) return
    this.#save()
    throw new NichelmError('INTERRUPTED', `stopped at step ${this.#state.step} of ${this.options.settings.steps}; it is saved`, { place: { file: this.options.folder }, fix: 'Start the same command again to go on.' })
  }

  /** The rows of a step, in its parts. */
  #rows(step: number): Promise<PreparedRows[]> {
    const { settings: { batch, accumulate }, rows } = this.options, part = batch / accumulate
    return Promise.all(Array.from({ length: accumulate }, (_, index) => rows((step - 1) * batch + index * part, part)))
  }

  async #step(): Promise<void> {
    const { settings, network } = this.options, state = this.#state, step = state.step + 1
    const began = performance.now()
    const batches = this.#ahead ?? (await this.#rows(step))
    const rate = learningRate(settings, step, settings.steps)
    const loss = await this.session.accumulate(batches)
    this.#ahead = network?.kind === 'projected' && step < settings.steps ? await this.#rows(step + 1) : undefined
    const norm = await this.session.update(step, rate, this.#ahead)
    if (!Number.isFinite(loss) || !Number.isFinite(norm))
      throw new NichelmError('DIVERGED', `at step ${step} the loss is ${loss} and the gradient's norm ${norm}`, {
        place: { file: this.options.folder }, fix: 'Lower the learning rate or lengthen the warm-up, and train in another folder.',
      })
    const seconds = (performance.now() - began) / 1000, flops = batches.reduce((sum, batch) => sum + this.session.flops + (batch.flops ?? 0), 0)
    const tokens = batches.reduce((sum, batch) => sum + countTokens(batch), 0)
    state.step = step
    state.costs = { ...state.costs, tokens: state.costs.tokens + tokens, flops: state.costs.flops + flops, deviceHours: state.costs.deviceHours + seconds / 3600 }
    this.#loss = loss
    this.#metrics.append({ kind: 'train', step, loss, norm, rate, tokens: state.costs.tokens, seconds: state.costs.deviceHours * 3600 })
    this.#report(flops / seconds)
  }

  #report(flopsPerSecond: number, validation?: Likelihood): void {
    const { settings, onProgress } = this.options, { step, costs } = this.#state
    const elapsed = (performance.now() - this.#begun) / 1000, tokens = costs.tokens - this.#tokensBefore
    const tokensPerSecond = elapsed > 0 ? tokens / elapsed : 0, perStep = step ? costs.tokens / step : 0
    onProgress?.({
      step, steps: settings.steps, loss: this.#loss, tokens: costs.tokens, tokensPerSecond, flopsPerSecond,
      remaining: tokensPerSecond ? ((settings.steps - step) * perStep) / tokensPerSecond : NaN, ...(validation ? { validation } : {}),
    })
  }

  async #snapshot(): Promise<void> {
    const { step, costs } = this.#state, folder = snapshotFolder(this.options.folder, step)
    await saveModel(folder, this.session, this.options.endOfText)
    writeJson(join(folder, SNAPSHOT_FILE), { step, model: folder, loss: this.#loss, costs } satisfies Snapshot)
  }

  #save(): void { saveCheckpoint(this.#checkpoints, this.session, this.#state, this.options.settings.keep) }

  /** With patience the start counts as well: fine-tuning never returns something worse than it began with. */
  async #evaluateIfDue(): Promise<void> {
    const { settings, validation } = this.options, state = this.#state
    const last = state.step === settings.steps, every = settings.evaluateEvery
    const due = last || (state.step === 0 ? settings.patience !== undefined : every > 0 && state.step % every === 0)
    if (!validation || !due || state.evaluated === state.step) return
    const began = performance.now()
    const result = await likelihood(this.session, validation())
    if (!Number.isFinite(result.nll)) throw new NichelmError('DIVERGED', `at step ${state.step} the validation loss is ${result.nll}`, { place: { file: this.options.folder } })
    state.costs.deviceHours += (performance.now() - began) / 3.6e6
    state.costs.flops += result.flops
    state.evaluated = state.step
    const gain = !state.best || result.nll < state.best.nll
    state.best = gain ? { step: state.step, nll: result.nll } : state.best
    state.withoutGain = gain ? 0 : state.withoutGain + 1
    if (gain && settings.patience !== undefined) saveBest(this.#checkpoints, this.session, state)
    this.#metrics.append({ kind: 'validation', step: state.step, nll: result.nll, perplexity: result.perplexity, bitsPerByte: result.bitsPerByte, tokens: state.costs.tokens })
    this.#lastValidation = result
    this.#report(0, result)
  }

  async #finish(): Promise<TrainResult> {
    const { folder, settings, validation, endOfText } = this.options, state = this.#state
    let kept = state.step
    if (settings.patience !== undefined && state.best && existsSync(bestFile(this.#checkpoints))) kept = (await loadBest(this.#checkpoints, this.session)).step
    const measured = validation ? (kept === state.evaluated && this.#lastValidation ? this.#lastValidation : await likelihood(this.session, validation())) : null
    const model = join(folder, 'model')
    await saveModel(model, this.session, endOfText)
    const snapshots = (this.options.snapshots ?? []).filter((step) => step <= state.step).sort((a, b) => a - b).map((step) => readJson(join(snapshotFolder(folder, step), SNAPSHOT_FILE)) as Snapshot)
    const result: TrainResult = { steps: state.step, kept, loss: this.#loss, validation: measured, costs: state.costs, model, snapshots, trained: countParameters(this.session.trained) }
    writeJson(resultFile(folder), result)
    return result
  }
}

/** Padding has no target, and a window's last token has none either: tokens are targets plus one a window, here counted by the batch where it does. */
const countTokens = (batch: HostRows & { tokenCount?: number }): number => batch.tokenCount ?? batch.weights.reduce((sum, weight) => sum + (weight ? 1 : 0), 0)
