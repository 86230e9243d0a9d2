import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileError, NichelmError } from '../base/errors.js'
import { readJson, sha256, writeJson } from '../base/files.js'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined }

/** What a stage costs, as far as it is known before it runs. */
export interface StageCost { parameters?: number; tokens?: number; flops?: number; memoryBytes?: number }

export interface StageContext {
  /** The stage's own folder; what it writes there is kept. */
  folder: string
  /** Name and hash of the stage: with the hash, all that its outcome depends on. */
  name: string
  hash: string
  signal: AbortSignal
  /** One line for the user. */
  log(line: string): void
}

export interface StageDefinition<Result extends Json = Json> {
  name: string
  /** Raise it when the stage's code changes what it writes. */
  version: number
  /** Every setting that the outcome depends on, and no other: changing it makes the stage, and what needs it, run again. */
  settings: Json
  /** Fingerprints of the files that it reads. */
  inputs?: readonly string[]
  needs?: readonly Stage[]
  /** True if `run` continues what an interrupted run left in the folder. */
  resumes?: boolean
  cost?: StageCost
  run(context: StageContext): Promise<Result>
}

/**
 * One cached step of a recipe.
 *
 * Its folder is `OUTPUT/stages/NAME-HASH`, the hash over everything that it depends on, so that a setting changed and changed back finds
 * the earlier result again. It is complete when `stage.json` is there, which is written last. `OUTPUT/NAME` links to the latest.
 */
export class Stage<Result extends Json = Json> {
  readonly name: string
  readonly hash: string
  readonly folder: string
  readonly needs: readonly Stage[]
  readonly cost: StageCost
  constructor(readonly output: string, readonly definition: StageDefinition<Result>) {
    const { name, version, settings, inputs = [], needs = [] } = definition
    this.name = name
    this.needs = needs
    this.cost = definition.cost ?? {}
    this.hash = sha256(canonical({ name, version, settings, inputs: [...inputs], needs: needs.map(stage => stage.hash) }))
    this.folder = join(output, 'stages', `${name}-${this.hash.slice(0, 12)}`)
  }

  get complete(): boolean { return existsSync(join(this.folder, 'stage.json')) }

  /** What `run` returned. The stage must be complete. */
  get result(): Result {
    const file = join(this.folder, 'stage.json')
    const stored = readJson(file) as { hash?: string; result: Result }
    if (stored?.hash !== this.hash) throw new NichelmError('CORRUPT', 'does not belong to this stage', { place: { file }, fix: `Delete ${this.folder} and run again.` })
    return stored.result
  }
}

export interface StageOutcome { name: string; folder: string; cached: boolean; seconds: number }

export interface RunOptions {
  signal: AbortSignal
  log(line: string): void
  /** Called before a stage that is not cached. */
  onStart?(stage: Stage): void
  onEnd?(outcome: StageOutcome): void
}

/** Runs what is missing, in order. Throws what a stage throws, INTERRUPTED after a signal; complete stages stay. */
export async function runStages(stages: readonly Stage[], options: RunOptions): Promise<StageOutcome[]> {
  const outcomes: StageOutcome[] = []
  for (const output of new Set(stages.map(stage => stage.output))) removeHalfDone(output)
  for (const stage of stages) {
    const cached = stage.complete
    const started = performance.now()
    if (!cached) {
      if (options.signal.aborted) throw interrupted()
      options.onStart?.(stage)
      await runStage(stage, options)
    }
    pointAt(stage)
    const outcome = { name: stage.name, folder: stage.folder, cached, seconds: cached ? 0 : (performance.now() - started) / 1000 }
    outcomes.push(outcome)
    options.onEnd?.(outcome)
  }
  return outcomes
}

async function runStage(stage: Stage, { signal, log }: RunOptions): Promise<void> {
  const { resumes = false } = stage.definition
  const partial = join(stage.folder, 'started.json')
  const began = new Date().toISOString(), started = performance.now()
  try {
    mkdirSync(stage.folder, { recursive: true })
  } catch (error) { throw fileError(error, stage.folder, 'write') }
  writeJson(partial, { name: stage.name, hash: stage.hash, resumes, began })
  try {
    const result = await stage.definition.run({ folder: stage.folder, name: stage.name, hash: stage.hash, signal, log })
    const { name, version, settings } = stage.definition
    writeJson(join(stage.folder, 'stage.json'), {
      name, hash: stage.hash, version, settings, needs: Object.fromEntries(stage.needs.map(need => [need.name, need.hash])),
      began, seconds: (performance.now() - started) / 1000, result,
    })
    rmSync(partial, { force: true })
  } catch (error) {
    if (!resumes) rmSync(stage.folder, { recursive: true, force: true })
    if (!(error instanceof NichelmError)) throw signal.aborted ? interrupted() : error
    throw withRemedy(error, stage.output)
  }
}

/** In a run, what was damaged is made again when its stage's folder is gone; a checkpoint has a remedy of its own. */
function withRemedy(error: NichelmError, output: string): NichelmError {
  const [name, ...inside] = relative(join(output, 'stages'), error.place.file ?? output).split(sep)
  if (error.code !== 'CORRUPT' || !name || name === '..' || inside[0] === 'checkpoints') return error
  return new NichelmError('CORRUPT', error.message, { fix: `Delete ${join(output, 'stages', name)} and run again: it will be made anew.`, cause: error })
}

/** Removes the folders of stages that were interrupted and cannot be continued. */
function removeHalfDone(output: string): void {
  const folder = join(output, 'stages')
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue
    const path = join(folder, entry.name)
    if (existsSync(join(path, 'stage.json'))) continue
    let resumes = false
    try { resumes = (readJson(join(path, 'started.json')) as { resumes?: boolean }).resumes === true } catch { /* nothing tells: it is removed */ }
    if (!resumes) rmSync(path, { recursive: true, force: true })
  }
}

/** `OUTPUT/NAME` -> the stage's folder. */
function pointAt(stage: Stage): void {
  const link = join(stage.output, stage.name), temporary = `${link}.${process.pid}.tmp`
  try {
    rmSync(temporary, { force: true })
    symlinkSync(relative(stage.output, stage.folder), temporary)
    renameSync(temporary, link)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw fileError(error, link, 'write')
  }
}

export const interrupted = (): NichelmError => new NichelmError('INTERRUPTED', 'interrupted; what was complete is kept', { fix: 'Run the same command again to continue.' })

/** JSON with sorted keys and no undefined: equal values give equal text. */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).filter((entry): entry is [string, Json] => entry[1] !== undefined)
    return `{${entries.sort(([a], [b]) => a < b ? -1 : 1).map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`
  }
  return JSON.stringify(value)
}
