import { percent } from '../format.js'
import { figureBlock, legend, tableBlock, type TableCell } from './blocks.js'
import { dotChart, panelChart, type Mark } from './charts.js'
import { ablation } from './findings.js'
import { PAPER } from './paper.js'
import { METHOD_STYLES, stepStyles } from './styles.js'
import type { View } from './view.js'
import { hover, onlyOn, tokens } from './words.js'

/** Perplexity after fine-tuning by the number of clusters or of experts, a chart for each size of data: one scale for all would hide the slopes. */
export async function ablationFigure(view: View): Promise<string> {
  const cases = ([['slm-is', 'clusters'], ['slm-pn', 'experts'], ['slm-mix', 'experts']] as const).filter(([method, field]) => view.sizes.some(size => ablation(view.points, method, field, size).points.length))
  const panel = (method: string, field: string, size: number): string => `${method} by ${field}, ${tokens(size)} tokens`
  const marks = view.sizes.flatMap(size => cases.flatMap(([method, field]): Mark[] => ablation(view.points, method, field, size).points
    .map(point => ({ panel: panel(method, field, size), series: method, x: point[field]!, y: point.after!.perplexity, hover: hover(point, 'after', method) }))))
  if (!marks.length) return ''
  const on = [...new Set(view.sizes.flatMap(size => cases.map(([method, field]) => onlyOn(ablation(view.points, method, field, size).domains, view.domainsAt(size)))))].filter(Boolean)
  return figureBlock({
    id: 'ablations', heading: 'How many clusters, how many experts', legend: legend(cases.map(([method]) => method), METHOD_STYLES),
    body: await panelChart({ marks, panels: view.sizes.flatMap(size => cases.map(([method, field]) => panel(method, field, size))), columns: Math.max(2, cases.length), x: { title: '', unit: 'count', log: true }, y: { title: 'perplexity', unit: 'plain' }, styles: METHOD_STYLES }),
    caption: `Macro-average after fine-tuning, all else equal${on.length ? `, over ${on.join('; ')}` : ''}. In the paper more clusters were better for slm-is, up to 1,024.`,
  })
}

const names = (view: View): string[] => [...view.results.clusterings].sort((a, b) => a.clusters - b.clusters).map(({ clusters }) => `${clusters} clusters`)

/** Share of each domain in its most frequent cluster. */
export async function topClusterFigure(view: View): Promise<string> {
  const styles = stepStyles(names(view))
  const marks = view.results.clusterings.flatMap(({ clusters, domains }) => domains.map(({ domain, topFraction, topCluster }) =>
    ({ row: domain, series: `${clusters} clusters`, x: topFraction, hover: `${domain}\n${percent(topFraction)} in cluster ${topCluster} of ${clusters}` })))
  if (!marks.length) return ''
  return figureBlock({
    id: 'top-cluster', heading: 'Share of each domain in its most frequent cluster', legend: legend([...styles.keys()], styles),
    body: await dotChart({ marks, rows: rowsOf(view), x: { title: 'share of the windows', unit: 'share' }, styles }), caption: 'A domain that lives in one cluster has much to gain from an expert of that cluster.',
  })
}

/** Domains, the one in the fewest clusters first. */
function rowsOf({ results: { clusterings } }: View): string[] {
  const widest = [...clusterings].sort((a, b) => b.clusters - a.clusters)[0]
  const rest = [...new Set(clusterings.flatMap(({ domains }) => domains.map(({ domain }) => domain)))]
  const order = new Map(widest?.domains.map(({ domain, entropy }) => [domain, entropy]))
  return rest.sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0))
}

const GENERIC = 'generic set'

/** Entropy of each domain's cluster histogram and of the generic set's. */
export async function entropyFigure(view: View): Promise<string> {
  const styles = stepStyles(names(view))
  const marks = view.results.clusterings.flatMap(({ clusters, genericEntropy, domains }) => [{ domain: GENERIC, entropy: genericEntropy }, ...domains].map(({ domain, entropy }) =>
    ({ row: domain, series: `${clusters} clusters`, x: entropy, hover: `${domain}\n${entropy.toFixed(2)} nats of ${clusters} clusters (at most ${Math.log(clusters).toFixed(2)})` })))
  if (!marks.length) return ''
  const body = await dotChart({ marks, rows: [...rowsOf(view), GENERIC], x: { title: 'entropy, nats', unit: 'plain' }, styles })
  return figureBlock({ id: 'entropy', heading: 'Entropy of the cluster histograms', legend: legend([...styles.keys()], styles), body, caption: 'Low: the domain lives in few clusters. High: it is spread as the generic set is, and knowing its clusters says little.' }) + entropyTable(view)
}

function entropyTable(view: View): string {
  const clusterings = [...view.results.clusterings].sort((a, b) => a.clusters - b.clusters), number = (text: string): TableCell => ({ text, className: 'number' })
  const cells = (domain: string): TableCell[] => clusterings.flatMap(({ domains }) => {
    const found = domains.find(facts => facts.domain === domain)
    return found ? [number(found.entropy.toFixed(2)), number(percent(found.topFraction))] : [number('–'), number('–')]
  })
  const paper = clusterings.flatMap(({ clusters }) => [number(PAPER.genericEntropy[clusters]?.toFixed(2) ?? '–'), number('')])
  return tableBlock([
    [{ text: '' }, ...clusterings.map(({ clusters }) => ({ text: `${clusters} clusters`, span: 2 }))],
    [{ text: 'domain' }, ...clusterings.flatMap(() => [{ text: 'entropy', number: true }, { text: 'top cluster', number: true }])],
  ], [
    rowsOf(view).map(domain => [{ text: domain }, ...cells(domain)]),
    [
      [{ text: GENERIC }, ...clusterings.flatMap(({ genericEntropy }) => [number(genericEntropy.toFixed(2)), number('')])],
      [{ text: 'c4, in the paper', className: 'paper' }, ...paper.map(cell => ({ ...cell, className: 'number paper' }))],
    ],
  ], 'Entropy in nats; share of the windows in the most frequent cluster.')
}

/** Validation loss in the course of fine-tuning, one small chart a domain. */
export async function finetuningFigure(view: View): Promise<string> {
  const size = view.sizes[0]
  if (size === undefined) return ''
  const marks = view.methods.filter(method => method !== 'slm-nopt').flatMap(method => {
    const last = view.series(method, size).filter(({ cells }) => cells.some(({ curve }) => curve.length)).at(-1)
    return last ? last.cells.filter(({ seed }) => seed === last.cells[0]!.seed).flatMap(cell => cell.curve.filter(({ nll }) => Number.isFinite(nll)).map((point): Mark =>
      ({ panel: cell.domain, series: method, x: point.tokens, y: point.nll, hover: `${method}\n${cell.domain}\nvalidation loss ${point.nll.toFixed(3)} nats at step ${point.step}, ${tokens(point.tokens)} tokens` }))) : []
  })
  if (!marks.length) return ''
  return figureBlock({
    id: 'finetuning', heading: `Validation loss in the course of fine-tuning on ${tokens(size)} tokens`, legend: legend([...new Set(marks.map(({ series }) => series))], METHOD_STYLES),
    body: await panelChart({ marks, panels: view.domains, columns: 3, x: { title: 'tokens of fine-tuning', unit: 'tokens' }, y: { title: 'nats a token', unit: 'plain' }, styles: METHOD_STYLES }), caption: 'After the longest pretraining of each method; the best point is kept.',
  })
}
