import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { fileError, NichelmError } from '../base/errors.js'
import { writeFileAtomic } from '../base/files.js'

/** One line of metrics.jsonl. Losses in nats; tokens and seconds since the run began. */
export type Metric =
  | { kind: 'train'; step: number; loss: number; norm: number; rate: number; tokens: number; seconds: number }
  | { kind: 'validation'; step: number; nll: number; perplexity: number; bitsPerByte: number; tokens: number }

/** Metrics of a run as JSON lines, on disk as they come. */
export class MetricsFile {
  constructor(readonly file: string) {}

  append(metric: Metric): void {
    try { appendFileSync(this.file, `${JSON.stringify(metric)}\n`) } catch (error) { throw fileError(error, this.file, 'write') }
  }

  /** Every line; a last line that was cut when the process ended is left out. */
  read(): Metric[] {
    if (!existsSync(this.file)) return []
    const lines = readFileSync(this.file, 'utf8').split('\n')
    const whole = lines.slice(0, -1)
    return whole.map((line, index) => {
      try { return JSON.parse(line) as Metric } catch (error) {
        throw new NichelmError('CORRUPT', 'is not JSON', { place: { file: this.file, line: index + 1 }, cause: error })
      }
    })
  }

  /** Drops what came after a checkpoint, since it will come again. */
  rewind(step: number, evaluated: number): void {
    const kept = this.read().filter((metric) => metric.step <= (metric.kind === 'train' ? step : evaluated))
    writeFileAtomic(this.file, kept.map((metric) => `${JSON.stringify(metric)}\n`).join(''))
  }
}
