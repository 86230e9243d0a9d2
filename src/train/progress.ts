import { SingleBar } from 'cli-progress'
import type { TrainProgress } from './trainer.js'

export interface ProgressOptions {
  /** What is under way, in a word or two. */
  label: string
  /** FLOP/s the device reaches at most; absent: utilisation is left out. */
  peak?: number
  stream?: NodeJS.WriteStream
  /** Seconds between lines where the stream is no terminal. */
  every?: number
}

/** Shows how training goes: a bar that is drawn over on a terminal, a line every so often elsewhere. */
export class ProgressDisplay implements Disposable {
  readonly #options: ProgressOptions
  readonly #stream: NodeJS.WriteStream
  readonly #bar: SingleBar | undefined
  #started = false
  #lastLine = 0
  #utilisation = ''

  constructor(options: ProgressOptions) {
    this.#options = options
    this.#stream = options.stream ?? process.stderr
    if (this.#stream.isTTY)
      this.#bar = new SingleBar({
        format: `${options.label} [{bar}] {value}/{total} | {facts}`, stream: this.#stream, hideCursor: true, clearOnComplete: true, barCompleteChar: '█', barIncompleteChar: '░', barsize: 24, fps: 5, linewrap: false, etaBuffer: 50,
      })
  }

  show(progress: TrainProgress): void {
    const facts = this.#facts(progress)
    if (this.#bar) {
      if (!this.#started) this.#bar.start(progress.steps, progress.step, { facts })
      this.#started = true
      this.#bar.update(progress.step, { facts })
      return
    }
    const now = performance.now()
    if (now - this.#lastLine < 1000 * (this.#options.every ?? 10) && progress.step < progress.steps) return
    this.#lastLine = now
    this.#stream.write(`${this.#options.label}: step ${progress.step}/${progress.steps}, ${facts}\n`)
  }

  #facts(progress: TrainProgress): string {
    if (this.#options.peak && progress.flopsPerSecond > 0) this.#utilisation = `${Math.round((100 * progress.flopsPerSecond) / this.#options.peak)}% of peak`
    return [
      Number.isFinite(progress.loss) ? `loss ${progress.loss.toFixed(3)}` : '',
      progress.validation ? `validation ${progress.validation.nll.toFixed(3)}` : '',
      progress.tokensPerSecond ? `${Math.round(progress.tokensPerSecond).toLocaleString('en')} tokens/s` : '',
      this.#utilisation,
      Number.isFinite(progress.remaining) ? `${duration(progress.remaining)} left` : '',
    ].filter(Boolean).join(', ')
  }

  [Symbol.dispose](): void { this.#bar?.stop() }
}

/** Seconds as 45s, 3m20s, 2h05m. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds)), two = (n: number): string => String(n).padStart(2, '0')
  if (s < 60) return `${s}s`
  return s < 3600 ? `${Math.floor(s / 60)}m${two(s % 60)}s` : `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`
}
