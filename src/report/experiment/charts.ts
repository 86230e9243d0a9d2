import { draw } from '../draw.js'
import type { CostKind } from './series.js'
import type { SeriesStyle } from './styles.js'

/** A point of a chart; those of one panel and series are joined in the order of x. */
export interface Mark {
  panel: string
  series: string
  x: number
  y: number
  /** Shown on hover: a line a fact. */
  hover: string
}

export interface Axis {
  title: string
  /** In what x is: labels follow from it. */
  unit: CostKind | 'count' | 'tokens' | 'share' | 'plain'
  log?: boolean
}

export interface PanelChart {
  marks: readonly Mark[]
  /** In order; each has its own scales. */
  panels: readonly string[]
  columns: number
  x: Axis
  y: Axis
  styles: ReadonlyMap<string, SeriesStyle>
}

/** Of the charts of one row together with their axes. */
const ROOM = 985
const HEIGHTS: Record<number, number> = { 1: 300, 2: 250, 3: 200 }

/** Small charts side by side: lines with points, every point with what is behind it. */
export function panelChart({ marks, panels, columns, x, y, styles }: PanelChart): Promise<string> {
  const shown = panels.filter(panel => marks.some(mark => mark.panel === panel)), across = Math.min(columns, shown.length)
  const scaled = scaleOf(x, marks.map(mark => mark.x)), width = across === 1 ? 640 : Math.floor(ROOM / across) - 76
  const names = [...styles.keys()].filter(name => marks.some(mark => mark.series === name))
  const appearance = (range: (style: SeriesStyle) => unknown): object => ({ field: 'series', type: 'nominal', legend: null, scale: { domain: names, range: names.map(name => range(styles.get(name)!)) } })
  const color = appearance(style => style.color)
  return drawn({
    columns: across, spacing: { row: 22, column: 26 },
    concat: shown.map(panel => {
      const values = marks.filter(mark => mark.panel === panel).map(mark => ({ ...mark, x: mark.x * scaled.factor }))
      const position = {
        x: { field: 'x', type: 'quantitative', title: scaled.title, scale: { type: x.log ? 'log' : 'linear', domain: rangeOf(values.map(mark => mark.x), x.log), nice: false }, axis: { ...ticksOf(x, values.map(mark => mark.x)), grid: false, labelOverlap: 'greedy', labelFontSize: 11, titleFontSize: 11 } },
        y: { field: 'y', type: 'quantitative', title: y.title, scale: { zero: false, nice: false, domain: rangeOf(values.map(mark => mark.y)) }, axis: { tickCount: 5, labelFontSize: 11, titleFontSize: 11, ...y.unit === 'share' ? { format: '~%' } : {} } },
      }
      return {
        ...shown.length > 1 || panel ? { title: { text: panel, anchor: 'start', frame: 'group', fontSize: 12, fontWeight: 600, color: 'var(--ink)', offset: 6 } } : {},
        width, height: HEIGHTS[across] ?? 200, data: { values },
        layer: [
          { mark: { type: 'line', strokeWidth: 2, aria: false }, encoding: { ...position, color, detail: { field: 'series' }, strokeDash: appearance(style => style.dash.length ? style.dash : [1, 0]) } },
          { mark: { type: 'point', filled: true, size: 55, opacity: 1 }, encoding: { ...position, color, shape: appearance(style => style.shape), description: { field: 'hover' } } },
        ],
      }
    }),
  })
}

export interface DotChart {
  marks: readonly { row: string; series: string; x: number; hover: string }[]
  rows: readonly string[]
  x: Axis
  styles: ReadonlyMap<string, SeriesStyle>
  /** For what is beside something else: a line at zero, and the series of a row below each other, since they may be equal. */
  beside?: boolean
}

/** A row for each name, dots along it. */
export function dotChart({ marks, rows, x, styles, beside = false }: DotChart): Promise<string> {
  const names = [...styles.keys()].filter(name => marks.some(mark => mark.series === name))
  const appearance = (range: (style: SeriesStyle) => unknown): object => ({ field: 'series', type: 'nominal', legend: null, scale: { domain: names, range: names.map(name => range(styles.get(name)!)) } })
  const y = { field: 'row', type: 'nominal', title: null, sort: rows, axis: { ticks: false, domain: false, grid: true, labelPadding: 8, labelColor: 'var(--ink)' } }
  const format = x.unit !== 'share' ? {} : beside ? { labelExpr: "(datum.value > 0 ? '+' : '') + format(datum.value, '~%')" } : { format: '~%' }
  const position = { x: { field: 'x', type: 'quantitative', title: x.title, scale: { zero: true }, axis: { tickCount: 7, ...format } }, y }
  const zero = beside ? [{ data: { values: [{ x: 0 }] }, mark: { type: 'rule', color: 'var(--rule-strong)', strokeWidth: 1.5, aria: false }, encoding: { x: position.x } }] : []
  return drawn({
    width: 640, height: beside ? { step: 11, for: 'offset' } : { step: 24 }, data: { values: marks },
    layer: [...zero, { mark: { type: 'point', filled: true, size: 75, opacity: 1 }, encoding: { ...position, ...beside ? { yOffset: { field: 'series', sort: names } } : {}, color: appearance(style => style.color), shape: appearance(style => style.shape), description: { field: 'hover' } } }],
  })
}

/** Hours may be minutes or seconds, so that labels are short. */
function scaleOf({ unit, title }: Axis, values: readonly number[]): { factor: number; title: string } {
  const most = Math.max(...values)
  if (unit !== 'hours' || most >= 2) return { factor: 1, title: unit === 'hours' ? title.replace('{unit}', 'hours') : title }
  return most >= 2 / 60 ? { factor: 60, title: title.replace('{unit}', 'minutes') } : { factor: 3600, title: title.replace('{unit}', 'seconds') }
}

function rangeOf(values: readonly number[], log = false): [number, number] {
  const low = Math.min(...values), high = Math.max(...values)
  if (log) return [low / 1.15, high * 1.15]
  const room = Math.max(high - low, Math.abs(high) * 0.02, 1e-9) * 0.08
  return [low - room, high + room]
}

const LABELS: Record<Axis['unit'], string> = { hours: "format(datum.value, '~r')", flops: "format(datum.value, '~s')", tokens: "format(datum.value, '~s')", count: "format(datum.value, ',')", share: "format(datum.value, '~%')", plain: "format(datum.value, '~r')" }

/** On logarithmic axes the values themselves where there are few, else 1, 2 and 5 of each power of ten. */
function ticksOf({ unit, log }: Axis, values: readonly number[]): object {
  const labelExpr = LABELS[unit]
  if (!log) return { labelExpr, tickCount: 5 }
  const own = [...new Set(values)]
  if (unit === 'count') return { labelExpr, values: own }
  const [low, high] = rangeOf(values, true), round: number[] = []
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) for (const digit of [1, 2, 5]) {
    const value = Number(`${digit}e${power}`)
    if (value >= low && value <= high) round.push(value)
  }
  if (round.length >= 2) return { labelExpr, values: round }
  // Within less than a power of two or so, even steps.
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough)), step = power * ([1, 2, 5].find(digit => digit * power >= rough) ?? 10), even: number[] = []
  for (let i = Math.ceil(low / step); i * step <= high; i++) even.push(Number((i * step).toPrecision(6)))
  return { labelExpr, values: even }
}

/** A drawing whose points tell what is behind them: their descriptions become titles, which browsers show on hover. */
async function drawn(spec: object): Promise<string> {
  const svg = await draw(spec)
  return svg.replaceAll(/<path aria-label="([^"]*)"([^>]*?)\/?>(?:<\/path>)?/g, '<path$2><title>$1</title></path>')
}
