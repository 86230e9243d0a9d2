import type { TrainProgress } from './trainer.js'

const CLEAR_REST = '\x1b[K'

export interface ProgressOptions {
  /** What is under way, in a word or two. */
  label: string
  /** FLOP/s the device reaches at most; absent: utilisation is left out. */
  peak?: number | undefined
  stream?: NodeJS.WriteStream
  /** Seconds between lines where the stream is no terminal. */
  every?: number
}

/** Shows how training goes: a bar that is drawn over on a terminal, a line every so often elsewhere. */
export class ProgressDisplay implements Disposable {
  readonly #options: ProgressOptions
  readonly #stream: NodeJS.WriteStream
  #drawn = -Infinity
  #lastLine = -Infinity
  #utilisation = ''
  #validation = ''

  constructor(options: ProgressOptions) {
    this.#options = options
    this.#stream = options.stream ?? process.stderr
  }

  show(progress: TrainProgress): void {
    const { step, steps, validation } = progress
    if (validation) this.#validation = `validation ${validation.nll.toFixed(3)}`
    const facts = this.#facts(progress)
    const now = performance.now()
    if (this.#stream.isTTY) {
      if (!validation && now - this.#drawn < 200 && step < steps) return
      this.#drawn = now
      // Each drawing begins at the start of whatever line the cursor is in: lines that others write in between stay.
      this.#stream.write(`\r${progressLine((this.#stream.columns || 80) - 1, this.#options.label, step, steps, facts)}${CLEAR_REST}`)
      return
    }
    if (!validation && now - this.#lastLine < 1000 * (this.#options.every ?? 10) && step < steps) return
    // An evaluation repeats its step: its line says only what is new.
    if (!validation) this.#lastLine = now
    this.#stream.write(`${this.#options.label}: step ${step}/${steps}, ${validation ? this.#validation : facts.join(', ')}\n`)
  }

  /** The most important first: those at the end are left out where a terminal is narrow. */
  #facts(progress: TrainProgress): string[] {
    if (this.#options.peak && progress.flopsPerSecond > 0) this.#utilisation = `${Math.round((100 * progress.flopsPerSecond) / this.#options.peak)}% of peak`
    return [
      Number.isFinite(progress.loss) ? `loss ${progress.loss.toFixed(3)}` : '',
      Number.isFinite(progress.remaining) && progress.step < progress.steps ? `${duration(progress.remaining)} left` : '',
      this.#stream.isTTY ? this.#validation : '',
      progress.tokensPerSecond ? `${Math.round(progress.tokensPerSecond).toLocaleString('en')} tokens/s` : '',
      this.#utilisation,
    ].filter(Boolean)
  }

  /** Takes the bar away. */
  [Symbol.dispose](): void {
    if (this.#drawn > -Infinity) this.#stream.write(`\r${CLEAR_REST}`)
  }
}

/** Label, bar, steps and as many of the facts as fit into `columns`. */
export function progressLine(columns: number, label: string, step: number, steps: number, facts: readonly string[]): string {
  const bar = columns < 110 ? 10 : 24, full = Math.round((bar * step) / steps)
  const line = (told: readonly string[]): string => `${label} [${'█'.repeat(full)}${'░'.repeat(bar - full)}] ${[`${step}/${steps}`, ...told].join(', ')}`
  let told = facts
  while (told.length > 0 && line(told).length > columns) told = told.slice(0, -1)
  return line(told).slice(0, columns)
}

/** Seconds as 45s, 3m20s, 2h05m. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds)), two = (n: number): string => String(n).padStart(2, '0')
  if (s < 60) return `${s}s`
  return s < 3600 ? `${Math.floor(s / 60)}m${two(s % 60)}s` : `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`
}
