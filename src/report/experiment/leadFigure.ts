import type { MethodName } from '../../model/index.js'
import { figureBlock, legend } from './blocks.js'
import { dotChart, type DotChart } from './charts.js'
import { PAPER, paperSize } from './paper.js'
import { common, type Point } from './points.js'
import { atEqualTokens, gain } from './series.js'
import { stepStyles, type SeriesStyle } from './styles.js'
import type { View } from './view.js'
import { hover, lower, quality, tokens } from './words.js'

/** The paper's hours at which methods are compared: the longest at which slm is there too. */
const HOURS = 400

/** Perplexity beside slm's, method by method and size by size, with the paper's own. */
export async function leadFigure(view: View): Promise<string> {
  const methods = view.methods.filter(method => method !== 'slm' && method !== 'slm-nopt'), names = view.sizes.map(size => `${tokens(size)} tokens`)
  const styles = new Map<string, SeriesStyle>(stepStyles(names)), marks: DotChart['marks'][number][] = []
  for (const [i, size] of view.sizes.entries()) {
    const quoted = paperSize(size, view.sizes), paperName = quoted === undefined ? undefined : `the paper, ${tokens(PAPER.dataTokens[quoted]!)}`
    for (const method of methods) {
      const found = pair(view, method, size)
      if (found) marks.push({ row: method, series: names[i]!, x: -found.by, hover: `${hover(found.a, 'after', method)}\n${lower(found.by)} than slm's ${quality(found.b.after!)}` })
      const own = quoted === undefined ? undefined : paperRatio(method, quoted)
      if (own !== undefined && paperName !== undefined) {
        styles.set(paperName, { color: `var(--paper-${Math.min(i, 2) + 1})`, shape: 'cross', dash: [] })
        marks.push({ row: method, series: paperName, x: own - 1, hover: `${method} in the paper\n${tokens(PAPER.dataTokens[quoted!]!)} tokens, ${HOURS} hours of pretraining: ${lower(1 - own)} than slm` })
      }
    }
  }
  if (!marks.some(({ series }) => names.includes(series))) return ''
  return figureBlock({
    id: 'lead', heading: 'Perplexity beside slm\'s', legend: legend([...new Set(marks.map(({ series }) => series))], styles),
    body: await dotChart({ marks, rows: methods, x: { title: 'perplexity beside that of slm (left is better)', unit: 'share' }, styles, beside: true }),
    caption: `After fine-tuning, on the same tokens of pretraining (llm and llm-lora too, which cost more). The paper's points are at equal cost, ${HOURS} hours of an ${PAPER.device}.`,
  })
}

function pair(view: View, method: MethodName, size: number): { by: number; a: Point; b: Point } | undefined {
  const [own, plain] = [view.series(method, size), view.series('slm', size)], shared = common([...own, ...plain]).points
  // On all domains, or else on those that both have.
  const found = atEqualTokens(own, plain, 'after') ?? atEqualTokens(shared.filter(point => point.method === method), shared.filter(point => point.method === 'slm'), 'after')
  return found && { ...found, by: gain(found.a.after!, found.b.after!) }
}

function paperRatio(method: MethodName, size: number): number | undefined {
  const [own, plain] = [method, 'slm'].map(name => PAPER.equalCost.find(row => row.hours === HOURS && row.method === name))
  return own && plain && own.after[size]! / plain.after[size]!
}
