import { METHOD_NAMES, type MethodName } from '../../model/index.js'

/** How a series looks, the same in every figure. Shape and dash tell methods apart where colours do not. */
export interface SeriesStyle { color: string; shape: string; dash: readonly number[] }

const COLORS: Record<MethodName, number> = { 'slm': 1, 'slm-is': 2, 'slm-pn': 3, 'slm-mix': 4, 'slm-d': 5, 'slm-nopt': 8, 'llm': 6, 'llm-lora': 7 }
const SHAPES: Record<MethodName, string> = { 'slm': 'circle', 'slm-is': 'diamond', 'slm-pn': 'square', 'slm-mix': 'triangle-up', 'slm-d': 'triangle-down', 'slm-nopt': 'cross', 'llm': 'circle', 'llm-lora': 'square' }
const DASHED: readonly MethodName[] = ['slm-d', 'llm', 'llm-lora']

export const styleOf = (method: MethodName): SeriesStyle => ({ color: `var(--series-${COLORS[method]})`, shape: SHAPES[method], dash: DASHED.includes(method) ? [5, 3] : [] })

export const METHOD_STYLES: ReadonlyMap<string, SeriesStyle> = new Map(METHOD_NAMES.map(method => [method, styleOf(method)]))

/** Steps of one quantity, such as sizes of data or counts of clusters, from light to dark. */
export const stepStyles = (names: readonly string[]): Map<string, SeriesStyle> =>
  new Map(names.map((name, i) => [name, { color: `var(--step-${names.length === 1 ? 4 : 1 + Math.round(3 * i / (names.length - 1))})`, shape: ['circle', 'square', 'diamond', 'triangle-up'][i % 4]!, dash: [] }]))

const PATHS: Record<string, string> = {
  'circle': 'M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0', 'square': 'M-3.6,-3.6h7.2v7.2h-7.2z', 'diamond': 'M0,-5l4,5l-4,5l-4,-5z',
  'triangle-up': 'M0,-4.4l4.6,8h-9.2z', 'triangle-down': 'M0,4.4l4.6,-8h-9.2z', 'cross': 'M-1.4,-4.4h2.8v3h3v2.8h-3v3h-2.8v-3h-3v-2.8h3z',
}

/** The line and mark of a series, for a legend in HTML. */
export function swatch({ color, shape, dash }: SeriesStyle): string {
  return `<svg class="swatch" width="30" height="12" viewBox="-15 -6 30 12" aria-hidden="true"><line x1="-15" x2="15" y1="0" y2="0" stroke="${color}" stroke-width="2"${dash.length ? ` stroke-dasharray="${dash.join(' ')}"` : ''}/><path d="${PATHS[shape]!}" fill="${color}"/></svg>`
}
