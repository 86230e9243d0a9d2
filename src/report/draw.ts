import type { TopLevelSpec } from 'vega-lite'
import { sha256 } from '../base/files.js'

/** Marks are coloured by CSS variables of the page, so that one drawing serves light and dark. */
export const PALETTE = Array.from({ length: 8 }, (_, i) => `var(--series-${i + 1})`)
const CONFIG = {
  background: 'transparent', font: 'system-ui, sans-serif', padding: 4,
  view: { stroke: null },
  axis: {
    labelColor: 'var(--ink-soft)', titleColor: 'var(--ink-soft)', gridColor: 'var(--rule)', domainColor: 'var(--rule-strong)', tickColor: 'var(--rule-strong)',
    labelFontSize: 12, titleFontSize: 12, titleFontWeight: 'normal', titlePadding: 8, labelLimit: 220,
  },
  legend: { labelColor: 'var(--ink)', titleColor: 'var(--ink-soft)', labelFontSize: 12, titleFontSize: 12, titleFontWeight: 'normal', orient: 'top', symbolStrokeWidth: 2, labelLimit: 300, columnPadding: 20 },
  header: { labelColor: 'var(--ink)', labelFontSize: 13, labelFontWeight: 600, title: null },
  range: { category: PALETTE },
} as const

/** Of a chart that is as wide as the page. */
export const WIDTH = 850

/** Draws a Vega-Lite chart as SVG, without a canvas or a browser. */
export async function draw(spec: object): Promise<string> {
  // Loaded only here: they take half a second, which no other command should pay.
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')])
  const logger = vega.logger(vega.Error)
  const view = new vega.View(vega.parse(compile({ ...spec, config: CONFIG } as TopLevelSpec, { logger }).spec), { renderer: 'none', logger })
  try {
    const svg = await view.toSVG()
    // Every drawing calls its clip paths clip0, clip1, ...: on one page they need names of their own.
    return svg.replaceAll(/( id="|url\(#)(?=clip\d)/g, `$1${sha256(svg).slice(0, 8)}-`)
  } finally { view.finalize() }
}
