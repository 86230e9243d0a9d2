import { bits, compact, duration, perplexity } from '../format.js'
import type { Cell } from './results.js'
import type { Point } from './points.js'
import type { CostKind } from './series.js'

/** Tokens as a reader says them: 100k, 8M. */
export const tokens = (count: number): string => compact(count).replace(/\.?0+(?=[a-zA-Z]|$)/, match => match.startsWith('.') ? '' : match)

/** "12.3% lower" or "0.4% higher". */
export const lower = (gain: number): string => `${Math.abs(100 * gain).toFixed(1)}% ${gain >= 0 ? 'lower' : 'higher'}`

export const quality = ({ perplexity: value, bitsPerByte }: { perplexity: number; bitsPerByte: number | null }): string => bitsPerByte === null ? perplexity(value) : `${perplexity(value)} (${bits(bitsPerByte)} bits/byte)`

/** Settings whose names are no words. */
const NAMES: Record<string, string> = { ownRun: 'a schedule of its own' }

/** What tells a series from others of its method: "64 clusters", "16 experts, best-pretrained". Empty where nothing does. */
export function variantWords({ clusters, experts, choice, settings }: Pick<Point, 'clusters' | 'experts' | 'choice' | 'settings'>): string {
  return [
    clusters === null ? '' : `${clusters} clusters`, experts === null ? '' : `${experts} experts`, choice === null || choice === 'frequent' ? '' : `choice: ${choice}`,
    ...Object.entries(settings).filter(([, value]) => value !== false).map(([name, value]) => value === true ? NAMES[name] ?? name : `${NAMES[name] ?? name} ${settingText(value)}`),
  ].filter(Boolean).join(', ')
}

/** A setting in words: nested ones as "rate 0.001, steps 300". */
export const settingText = (value: unknown): string => Array.isArray(value) ? value.map(settingText).join(' ')
  : typeof value === 'object' && value !== null ? Object.entries(value).filter(([, inner]) => inner !== null && inner !== undefined).map(([name, inner]) => `${name} ${settingText(inner)}`).join(', ') : String(value)

/** Everything behind a point, for the hover: a line a fact. */
export function hover(point: Point, phase: 'before' | 'after' | 'generic', title: string): string {
  const found = point[phase], { generic, specialization } = point.cost
  return [
    `${title}${variantWords(point) ? ` (${variantWords(point)})` : ''}`,
    found ? `${phase === 'generic' ? 'generic ' : ''}perplexity ${quality(found)}${phase === 'generic' ? '' : `, ${found.domains} domains`}` : '',
    phase === 'before' ? 'no fine-tuning' : phase === 'after' ? `fine-tuned on ${tokens(point.dataTokens)} tokens` : '',
    point.budgetTokens === null ? 'no generic pretraining' : `pretrained on ${tokens(point.budgetTokens)} tokens`,
    `generic: ${costWords(generic)}`, `specialization, a domain: ${costWords(specialization)}`,
    ...sharedSettings(point.cells).map(([name, value]) => `${name}: ${settingText(value)}`),
    point.devices.join(' + '),
  ].filter(Boolean).join('\n')
}

export const costIn = (kind: CostKind, value: number): string => kind === 'hours' ? duration(value) : `${compact(value)} FLOPs`
export const costWords = ({ hours, flops }: { hours: number; flops: number }): string => `${costIn('hours', hours)}, ${costIn('flops', flops)}`

/** Settings that all cells have in common. */
export function sharedSettings(cells: readonly Cell[]): [string, unknown][] {
  return Object.entries(cells[0]?.settings ?? {}).filter(([name, value]) => cells.every(({ settings }) => JSON.stringify(settings[name]) === JSON.stringify(value)))
}

/** "a, b and c". */
export const listed = (names: readonly string[]): string => names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)!}`

/** Names the domains of an average if they are not all there are; else nothing. */
export const onlyOn = (domains: readonly string[], all: readonly string[]): string => domains.length === 0 || domains.length >= all.length ? '' : domains.length > 4 ? `${domains.length} of ${all.length} domains` : listed(domains)
