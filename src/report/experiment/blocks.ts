import { escapeHtml } from '../reportHtml.js'
import type { CostKind } from './series.js'
import { swatch, type SeriesStyle } from './styles.js'

export const COST_KINDS: readonly CostKind[] = ['hours', 'flops']

/** Says the same by device hours and by FLOPs; the page shows the one that the reader chose. */
export async function byCost(make: (kind: CostKind) => Promise<string> | string): Promise<string> {
  const parts = await Promise.all(COST_KINDS.map(async kind => ({ kind, html: await make(kind) })))
  const none = '<p class="soft">Nothing can be compared by this cost yet; choose the other above.</p>'
  return parts.every(({ html }) => !html) ? '' : parts.map(({ kind, html }) => `<div class="by-${kind}">${html || none}</div>`).join('')
}

/** Marks and their names in the order of the styles. `words`: what else is said of a series. */
export function legend(names: readonly string[], styles: ReadonlyMap<string, SeriesStyle>, words: (name: string) => string = () => ''): string {
  const items = [...styles].filter(([name]) => names.includes(name)).map(([name, style]) => `<li>${swatch(style)}${escapeHtml(name)}${words(name) ? ` <span class="soft">${escapeHtml(words(name))}</span>` : ''}</li>`)
  return `<ul class="legend">${items.join('')}</ul>`
}

/** A figure with its legend above and its caption below; nothing if there is nothing to draw. */
export const figureBlock = ({ id, heading, legend: above = '', body, caption }: { id: string; heading: string; legend?: string; body: string; caption: string }): string =>
  body ? `<h3 id="${id}">${escapeHtml(heading)}</h3>${above}<figure>${body}<figcaption>${escapeHtml(caption)}</figcaption></figure>` : ''

export interface TableCell {
  text: string
  /** Smaller, below. */
  small?: string | undefined
  /** Shown on hover. */
  title?: string | undefined
  className?: string
  rows?: number
}

export interface TableHead { text: string; span?: number; number?: boolean; className?: string }

export const EMPTY: TableCell = { text: '–', className: 'number none' }

/** A table with one or two rows of heads; each of `bodies` is a group of rows. */
export function tableBlock(heads: readonly (readonly TableHead[])[], bodies: readonly (readonly (readonly TableCell[])[])[], caption = ''): string {
  const head = heads.map(row => `<tr>${row.map(({ text, span, number, className = '' }) =>
    `<th scope="col"${span ? ` colspan="${span}"` : ''} class="${[span ? 'group' : '', number ? 'number' : '', className].filter(Boolean).join(' ')}">${escapeHtml(text)}</th>`).join('')}</tr>`).join('')
  const body = bodies.map(rows => `<tbody>${rows.map(row => `<tr>${row.map(({ text, small, title, className = '', rows: span }) =>
    `<td${className ? ` class="${className}"` : ''}${span && span > 1 ? ` rowspan="${span}"` : ''}${title ? ` title="${escapeHtml(title)}"` : ''}>${escapeHtml(text)}${small ? `<small>${escapeHtml(small)}</small>` : ''}</td>`).join('')}</tr>`).join('')}</tbody>`).join('')
  return `<div class="scroll"><table><thead>${head}</thead>${body}</table></div>${caption ? `<p class="soft">${escapeHtml(caption)}</p>` : ''}`
}
