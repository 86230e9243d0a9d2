/** Numbers as a reader wants them in tables: the same in the terminal and in the report. */

/** Perplexity: two decimals below 100, one below 10,000. */
export function perplexity(value: number): string {
  const digits = value < 100 ? 2 : value < 10_000 ? 1 : 0
  return Number.isFinite(value) ? value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits }) : String(value)
}

export const bits = (value: number): string => Number.isFinite(value) ? value.toFixed(3) : String(value)

export const integer = (value: number): string => Math.round(value).toLocaleString('en-US')

const SUFFIXES: [number, string][] = [[1e18, 'E'], [1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]

/** Three significant digits with an SI suffix: 2.10M, 35.0T. */
export function compact(value: number): string {
  const [size, suffix] = SUFFIXES.find(([size]) => Math.abs(value) >= size) ?? [1, '']
  const scaled = value / size
  return `${suffix === '' && Number.isInteger(value) ? value : scaled.toFixed(Math.abs(scaled) < 10 ? 2 : Math.abs(scaled) < 100 ? 1 : 0)}${suffix}`
}

/** Hours as hours above one, else minutes and seconds. */
export function duration(hours: number): string {
  const seconds = Math.round(hours * 3600)
  return seconds >= 3600 ? `${hours.toFixed(2)} h` : seconds >= 60 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${(hours * 3600).toFixed(1)} s`
}

export const percent = (share: number): string => `${(100 * share).toFixed(1)}%`
