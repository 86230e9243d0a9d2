import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { readJson, sha256 } from '../base/files.js'
import type { ModelConfig } from '../model/index.js'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined }

/** What a stage costs, as far as it is known before it runs. */
export interface StageCost {
  parameters?: number
  tokens?: number
  flops?: number
  memoryBytes?: number
  /** The same with recompute: blocks. */
  recomputedMemoryBytes?: number
  /** What is trained. */
  model?: ModelConfig
}

export interface StageContext {
  /** The stage's own folder; what it writes there is kept. */
  folder: string
  /** Name and hash of the stage: with the hash, all that its outcome depends on. */
  name: string
  hash: string
  /** Which of the stages that run at the same time this is, from 0. */
  lane: number
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
  /** Reads text rather than trains: such stages come first, so that what is wrong with a text shows itself early. */
  early?: boolean
  /** Stands for the result while it is planned what to do. */
  planned?: Result
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
  #result: Result | undefined
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
  get result(): Result { return this.#result ??= this.#read() }

  #read(): Result {
    const file = join(this.folder, 'stage.json')
    const stored = readJson(file) as { hash?: string; result: Result }
    if (stored?.hash !== this.hash) throw new NichelmError('CORRUPT', 'does not belong to this stage', { place: { file }, fix: `Delete ${this.folder} and run again.` })
    return stored.result
  }
}

/** JSON with sorted keys and no undefined: equal values give equal text. */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).filter((entry): entry is [string, Json] => entry[1] !== undefined)
    return `{${entries.sort(([a], [b]) => a < b ? -1 : 1).map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`
  }
  return JSON.stringify(value)
}
