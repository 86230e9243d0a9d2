import { setImmediate as nextTurn } from 'node:timers/promises'
import { NichelmError } from '../base/errors.js'
import { interrupted, pointAt, removeHalfDone, runStage } from './runStage.js'
import type { Json, Stage } from './stage.js'

export interface StageOutcome { name: string; folder: string; cached: boolean; seconds: number }

/** How those who need a stage get it. */
export interface Getter {
  /** What the stage found; it and what it needs are made first where they are missing. */
  get<Result extends Json>(stage: Stage<Result>): Promise<Result>
}

export interface SchedulerOptions {
  /** Stages that run at the same time; default 1. */
  jobs?: number
  signal: AbortSignal
  log(line: string): void
  /** Called before a stage that is not cached. */
  onStart?(stage: Stage): void
  onEnd?(outcome: StageOutcome): void
  /** Errors that stop only those who need the stage; others stop everything that runs, after saving. */
  tolerates?(error: NichelmError): boolean
}

interface Entry { stage: Stage; order: number; start: (lane: number) => void; refuse: (error: unknown) => void }

/**
 * Makes the stages that are asked for, each once, after what it needs. Of those that could run, stages that read text come first, then the ones
 * that were asked for with the lowest order. What comes out does not depend on the order or on how many run at the same time.
 */
export class Scheduler {
  readonly outcomes: StageOutcome[] = []
  readonly #results = new Map<string, Promise<Json>>()
  readonly #waiting = new Map<string, Entry>()
  readonly #orders = new Map<string, number>()
  readonly #lanes: boolean[]
  readonly #stop = new AbortController()
  readonly #cleaned = new Set<string>()
  #failure: unknown

  /** The first error that stopped everything; what was told to those who waited may be that they were interrupted. */
  get failure(): unknown { return this.#failure }

  constructor(readonly options: SchedulerOptions) {
    this.#lanes = new Array<boolean>(options.jobs ?? 1).fill(false)
    const { signal } = options
    if (signal.aborted) this.#stop.abort()
    else signal.addEventListener('abort', () => this.#stop.abort(), { once: true })
  }

  /** For requests of one order: the lower, the sooner. */
  at(order: number): Getter {
    return { get: stage => this.#get(stage, order) }
  }

  #get<Result extends Json>(stage: Stage<Result>, order: number): Promise<Result> {
    this.#advance(stage, order)
    let result = this.#results.get(stage.hash) as Promise<Result> | undefined
    if (!result) {
      result = this.#make(stage, order)
      // Whoever asked is told; that nobody waits any more is no fault.
      result.catch(() => {})
      this.#results.set(stage.hash, result)
    }
    return result
  }

  /** What waits for a later order, and all it needs, moves up. */
  #advance(stage: Stage, order: number): void {
    if (order >= (this.#orders.get(stage.hash) ?? Infinity)) return
    this.#orders.set(stage.hash, order)
    const entry = this.#waiting.get(stage.hash)
    if (entry) entry.order = order
    for (const need of stage.needs) this.#advance(need, order)
  }

  async #make<Result extends Json>(stage: Stage<Result>, order: number): Promise<Result> {
    if (!this.#cleaned.has(stage.output)) {
      this.#cleaned.add(stage.output)
      removeHalfDone(stage.output)
    }
    if (stage.complete) {
      const { result } = stage
      this.#end(stage, true, 0)
      return result
    }
    await Promise.all(stage.needs.map(need => this.#get(need, order)))
    const lane = await new Promise<number>((start, refuse) => {
      this.#waiting.set(stage.hash, { stage, order: this.#orders.get(stage.hash)!, start, refuse })
      void this.#dispatch()
    })
    const { log, onStart, tolerates } = this.options, started = performance.now()
    try {
      onStart?.(stage)
      const result = await runStage(stage, { lane, log, signal: this.#stop.signal })
      this.#end(stage, false, (performance.now() - started) / 1000)
      return result
    } catch (error) {
      if (!(error instanceof NichelmError && tolerates?.(error))) this.#fail(error)
      throw error
    } finally {
      this.#lanes[lane] = false
      void this.#dispatch()
    }
  }

  #end(stage: Stage, cached: boolean, seconds: number): void {
    pointAt(stage)
    const outcome = { name: stage.name, folder: stage.folder, cached, seconds }
    this.outcomes.push(outcome)
    this.options.onEnd?.(outcome)
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    this.#stop.abort()
  }

  /** Gives free lanes to the first of those that wait, once everybody who was waiting for a result has had a turn to ask for more. */
  async #dispatch(): Promise<void> {
    await nextTurn()
    if (this.options.signal.aborted) this.#failure ??= interrupted()
    for (;;) {
      const entries = [...this.#waiting.values()]
      if (this.#failure !== undefined) for (const entry of entries) entry.refuse(this.#failure)
      if (this.#failure !== undefined) this.#waiting.clear()
      const lane = this.#lanes.indexOf(false)
      const next = this.#waiting.size === 0 || lane < 0 ? undefined : entries.reduce((a, b) => before(b, a) ? b : a)
      if (!next) return
      this.#waiting.delete(next.stage.hash)
      this.#lanes[lane] = true
      next.start(lane)
    }
  }
}

const before = (a: Entry, b: Entry): boolean => {
  const early = (entry: Entry): number => entry.stage.definition.early ? 0 : 1
  return early(a) < early(b) || early(a) === early(b) && a.order < b.order
}

export interface PlannedStage { stage: Stage; cached: boolean }

/** Tells which stages would be made, and makes none: results that are not there yet are what the stages plan. */
export class DryRun {
  readonly stages: Stage[] = []
  readonly #known = new Set<string>()

  at(): Getter {
    return { get: async stage => this.#visit(stage) }
  }

  #visit<Result extends Json>(stage: Stage<Result>): Result {
    for (const need of stage.needs) if (!this.#known.has(need.hash)) this.#visit(need)
    if (!this.#known.has(stage.hash)) this.stages.push(stage)
    this.#known.add(stage.hash)
    if (stage.complete) return stage.result
    if (stage.definition.planned === undefined) throw new NichelmError('INTERNAL', `stage ${stage.name} does not say what it plans`)
    return stage.definition.planned
  }
}

/** Gives what is there already, and refuses what would have to be made. */
export const onlyComplete: Getter = {
  get: async stage => {
    if (!stage.complete) throw new NichelmError('INPUT', `stage ${stage.name} has not been made`)
    return stage.result
  },
}
