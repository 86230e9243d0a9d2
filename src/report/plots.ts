import { draw, PALETTE, WIDTH } from './draw.js'
import { bits } from './format.js'
import { smoothed, type ReportResult, type ReportRun, type SamplingFacts } from './reportData.js'

/** A colour for each method, the same in every chart. */
const scaleOf = (names: readonly string[]): object => ({ domain: [...names], range: names.map((_, i) => PALETTE[i % PALETTE.length]) })

/** Loss against tokens of one stage: training smoothed and thin, validation thick with points. */
export function lossCurves(runs: readonly ReportRun[], methods: readonly string[]): Promise<string> {
  const names = new Set(runs.map(({ method }) => method)).size === runs.length ? (run: ReportRun) => run.method : (run: ReportRun) => run.name
  const series = [...new Set(runs.map(names))]
  const colors = series.every(name => methods.includes(name)) ? scaleOf(methods) : scaleOf(series)
  const values = runs.flatMap(run => (['train', 'validation'] as const).flatMap(kind => {
    const points = run.points.filter(point => point.kind === kind)
    return (kind === 'train' ? smoothed(points) : points.filter(({ loss }) => Number.isFinite(loss))).map(({ tokens, loss }) => ({ tokens, loss, kind, series: names(run) }))
  }))
  const x = { field: 'tokens', type: 'quantitative', title: 'tokens', axis: { labelExpr: "datum.value === 0 ? '0' : format(datum.value, '~s')", tickCount: 7, grid: false } }
  const y = { field: 'loss', type: 'quantitative', title: 'loss (nats a token)', scale: { zero: false, domain: lossRange(values) }, axis: { tickCount: 6 } }
  const color = { field: 'series', type: 'nominal', title: null, scale: { ...colors, domain: series, range: series.map(name => rangeOf(colors, name)) }, legend: { symbolType: 'stroke' } }
  const layer = (kind: string, mark: object): object => ({ transform: [{ filter: { field: 'kind', equal: kind } }], mark: { type: 'line', clip: true, ...mark }, encoding: { x, y, color } })
  return draw({
    width: WIDTH, height: 260, data: { values },
    layer: [
      layer('train', { strokeWidth: 1.25, opacity: 0.75 }),
      layer('validation', { strokeWidth: 2.25, strokeDash: [6, 3], point: { size: 28, filled: true, opacity: 1 } }),
    ],
  })
}

const rangeOf = (scale: object, name: string): string => {
  const { domain, range } = scale as { domain: string[]; range: string[] }
  return range[domain.indexOf(name)]!
}

/** From the smallest loss to where a model stands once its first steep fall, the first twentieth, is over. */
function lossRange(values: readonly { tokens: number; loss: number }[]): [number, number] {
  const losses = values.map(({ loss }) => loss), end = Math.max(...values.map(({ tokens }) => tokens))
  const low = Math.min(...losses), high = Math.max(...values.filter(({ tokens }) => tokens >= end / 20).map(({ loss }) => loss))
  const room = Math.max(high - low, 0.01) * 0.06
  return [low - room, high + room]
}

/** Bits a byte on the held-out set, before and after fine-tuning, one bar each. */
export function qualityBars(results: readonly ReportResult[]): Promise<string> {
  const phases = ['before fine-tuning', 'after fine-tuning']
  const values = results.flatMap(({ domain, method, before, after }) => [before, after].flatMap((quality, i) =>
    quality && Number.isFinite(quality.bitsPerByte) ? [{ domain, method, phase: phases[i], bits: quality.bitsPerByte, label: bits(quality.bitsPerByte) }] : []))
  const domains = [...new Set(results.map(({ domain }) => domain))], methods = [...new Set(results.map(({ method }) => method))]
  const y = { field: 'method', type: 'nominal', title: null, sort: methods, axis: { ticks: false, domain: false, labelPadding: 8, labelColor: 'var(--ink)' } }
  const x = { field: 'bits', type: 'quantitative', title: 'bits a byte of held-out text (less is better)', axis: { tickCount: 6 } }
  const offset = { field: 'phase', sort: phases }
  const spec = {
    width: WIDTH - 60, height: { step: 20, for: 'offset' },
    layer: [
      { mark: { type: 'bar', cornerRadiusEnd: 3 }, encoding: { x, y, yOffset: offset, color: { field: 'phase', type: 'nominal', title: null, sort: phases, scale: { domain: phases, range: ['var(--before)', 'var(--series-1)'] } } } },
      { mark: { type: 'text', align: 'left', dx: 5, fontSize: 12, fill: 'var(--ink)' }, encoding: { x, y, yOffset: offset, text: { field: 'label' } } },
    ],
  }
  return draw(domains.length > 1
    ? { data: { values }, facet: { row: { field: 'domain', type: 'nominal', sort: domains, header: { labelAngle: 0, labelAlign: 'left', labelAnchor: 'start', labelOrient: 'top' } } }, spec, spacing: 18 }
    : { data: { values }, ...spec })
}

const SHOWN_CLUSTERS = 32

/** The clusters that a chart shows, the domain's largest first, and the shares of those that it leaves out. */
export function shownClusters({ domainHistogram, genericHistogram }: SamplingFacts): { shown: number[]; others: number; othersDomain: number; othersGeneric: number } {
  const order = Array.from(domainHistogram, (_, i) => i).sort((a, b) => domainHistogram[b]! - domainHistogram[a]! || a - b)
  const shown = order.slice(0, SHOWN_CLUSTERS), rest = order.slice(SHOWN_CLUSTERS)
  const share = (histogram: readonly number[]): number => rest.reduce((sum, cluster) => sum + histogram[cluster]!, 0)
  return { shown, others: rest.length, othersDomain: share(domainHistogram), othersGeneric: share(genericHistogram) }
}

/** Share of each cluster in the domain and in the generic set, the domain's largest first. */
export function clusterBars(facts: SamplingFacts): Promise<string> {
  const { shown } = shownClusters(facts)
  const sets = [{ set: `domain ${facts.domain}`, histogram: facts.domainHistogram }, { set: 'generic set', histogram: facts.genericHistogram }]
  const values = sets.flatMap(({ set, histogram }) => shown.map(cluster => ({ set, cluster: String(cluster), share: histogram[cluster]! }))), names = sets.map(({ set }) => set)
  return draw({
    width: WIDTH, height: 240, data: { values }, mark: { type: 'bar', cornerRadiusEnd: 2 },
    encoding: {
      x: { field: 'cluster', type: 'nominal', title: 'cluster', sort: shown.map(String), axis: { labelAngle: 0, labelOverlap: true, ticks: false } },
      xOffset: { field: 'set', sort: names },
      y: { field: 'share', type: 'quantitative', title: 'share of the windows', axis: { format: '~%', tickCount: 5 } },
      color: { field: 'set', type: 'nominal', title: null, sort: names, scale: { domain: names, range: ['var(--series-1)', 'var(--before)'] } },
    },
  })
}
