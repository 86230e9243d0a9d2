import type { MethodName } from '../../model/index.js'
import { perplexity } from '../format.js'
import { byCost, figureBlock, legend } from './blocks.js'
import { panelChart, type Mark } from './charts.js'
import { studentCost, totalCost, type Point } from './points.js'
import type { CostKind, Phase } from './series.js'
import { METHOD_STYLES } from './styles.js'
import { comparable, type View } from './view.js'
import { hover, onlyOn, tokens } from './words.js'

/** Points whose perplexity is so many times the greatest of the plain small model's are told in the caption, for they would flatten all others. */
const FAR = 1.25

const axis = (kind: CostKind, what: string): { title: string; unit: CostKind; log: true } => ({ title: kind === 'hours' ? `${what}, device {unit}` : `${what}, FLOPs`, unit: kind, log: true })
const PERPLEXITY = { title: 'perplexity', unit: 'plain' } as const

interface Curve { panel: string; method: MethodName; points: readonly Point[]; phase: Phase; cost: (point: Point, kind: CostKind) => number }

function marksOf(curves: readonly Curve[], kind: CostKind): Mark[] {
  return curves.flatMap(({ panel, method, points, phase, cost }) => points.flatMap(point => {
    const x = cost(point, kind), quality = point[phase]
    return quality && x > 0 && Number.isFinite(quality.perplexity) ? [{ panel, series: method, x, y: quality.perplexity, hover: hover(point, phase, method) }] : []
  }))
}

/** Leaves out what would flatten a panel, and says so. */
function near(marks: readonly Mark[]): { marks: Mark[]; far: string } {
  const limit = new Map<string, number>()
  for (const panel of new Set(marks.map(mark => mark.panel))) {
    const there = marks.filter(mark => mark.panel === panel), plain = there.filter(({ series }) => series === 'slm')
    limit.set(panel, (plain.length ? Math.max(...plain.map(({ y }) => y)) : Infinity) * FAR)
  }
  const far = marks.filter(({ panel, y }) => y > limit.get(panel)!)
  const words = [...new Set(far.map(({ series }) => series))].map(name => {
    const values = far.filter(({ series }) => series === name).map(({ y }) => y), [low, high] = [Math.min(...values), Math.max(...values)].map(perplexity)
    return `${name} at ${low === high ? low : `${low} to ${high}`}`
  })
  return { marks: marks.filter(mark => !far.includes(mark)), far: words.length ? ` Above the frame: ${words.join(', ')}.` : '' }
}

/** At each size of data the series on the domains on which most can be compared, and which these are, for the caption. */
function bySize(view: View, methods: readonly MethodName[], of?: MethodName): { series: (method: MethodName, size: number) => Point[]; words: string } {
  const found = new Map(view.sizes.map(size => [size, comparable(view, methods, size, of)]))
  const parts = view.sizes.flatMap(size => { const on = onlyOn(found.get(size)!.domains, view.domainsAt(size)); return on ? [`${tokens(size)} tokens: over ${on}`] : [] })
  return { series: (method, size) => found.get(size)?.series(method) ?? [], words: parts.length ? ` (${parts.join('; ')}; the others were not run at every budget)` : '' }
}

interface CostFigure { id: string; heading: string; panels: readonly string[]; columns: number; curves: readonly Curve[]; cost: string; caption: string; view: View }

async function costFigure({ id, heading, panels, columns, curves, cost, caption, view }: CostFigure): Promise<string> {
  const shown = near(marksOf(curves, 'flops')), names = new Set(shown.marks.map(({ series }) => series))
  if (!shown.marks.length) return ''
  const body = await byCost(kind => {
    const { marks } = near(marksOf(curves, kind))
    return marks.length ? panelChart({ marks, panels, columns, x: axis(kind, cost), y: PERPLEXITY, styles: METHOD_STYLES }) : ''
  })
  return figureBlock({ id, heading, legend: legend([...names], METHOD_STYLES, name => view.words(name as MethodName)), body, caption: `${caption}${shown.far}` })
}

const pretraining = (point: Point, kind: CostKind): number => point.cost.pretraining[kind]

/** Generic perplexity against the cost of pretraining. */
export function genericFigure(view: View): Promise<string> {
  const size = view.sizes[0]!, methods = (['slm', 'slm-pn', 'slm-mix', 'llm'] as const).filter(method => view.methods.includes(method))
  return costFigure({
    id: 'generic', heading: 'Generic perplexity against the cost of pretraining', panels: [''], columns: 1, view, cost: 'cost of pretraining',
    curves: methods.map(method => ({ panel: '', method, points: view.series(method, size), phase: 'generic', cost: pretraining })),
    caption: 'On the generic held-out set; of slm-pn and slm-mix each window by the expert of its cluster.',
  })
}

const sizePanel = (size: number): string => `fine-tuned on ${tokens(size)} tokens`

/** Perplexity on the domains against the cost of pretraining, before and after fine-tuning. */
export function specializedFigure(view: View): Promise<string> {
  const methods = view.methods.filter(method => method !== 'slm-nopt' && method !== 'slm-d' && method !== 'llm-lora'), small = view.sizes[0]!, at = bySize(view, methods)
  return costFigure({
    id: 'specialized', heading: 'Perplexity on the domains against the cost of pretraining', panels: ['before fine-tuning', ...view.sizes.map(sizePanel)], columns: Math.min(3, 1 + view.sizes.length), view, cost: 'cost of pretraining',
    curves: methods.flatMap(method => [
      { panel: 'before fine-tuning', method, points: at.series(method, small), phase: 'before' as const, cost: pretraining },
      ...view.sizes.map(size => ({ panel: sizePanel(size), method, points: at.series(method, size), phase: 'after' as const, cost: pretraining })),
    ]),
    caption: `Macro-average${at.words}. For slm-is the cost is that of its own pretraining, which every domain pays again; for the others pretraining serves all domains.`,
  })
}

/** Distillation against the student's cost and against the whole. */
export function distillationFigure(view: View): Promise<string> {
  if (!view.methods.includes('slm-d')) return Promise.resolve('')
  const methods = (['slm', 'slm-pn', 'slm-d'] as const).filter(method => view.methods.includes(method)), at = bySize(view, methods, 'slm-d')
  const panels = view.sizes.flatMap(size => [`${tokens(size)} tokens: cost of the student alone`, `${tokens(size)} tokens: teacher counted`])
  return costFigure({
    id: 'distillation', heading: 'Distillation against the cost of the student, and against all of it', panels, columns: 2, view, cost: 'cost for one domain',
    curves: view.sizes.flatMap(size => methods.flatMap(method => [
      { panel: `${tokens(size)} tokens: cost of the student alone`, method, points: at.series(method, size), phase: 'after' as const, cost: (point: Point, kind: CostKind) => studentCost(point)[kind] },
      { panel: `${tokens(size)} tokens: teacher counted`, method, points: at.series(method, size), phase: 'after' as const, cost: (point: Point, kind: CostKind) => totalCost(point, 1)[kind] },
    ])),
    caption: `Macro-average after fine-tuning${at.words}. The teacher costs its pretraining, its fine-tuning on the domain and its forward passes.`,
  })
}

/** For how many domains the whole cost is shown, as in the paper. */
export const DOMAIN_COUNTS = [1, 7, 50] as const

/** Perplexity against total(N) = generic + specialization x N. */
export function totalFigure(view: View): Promise<string> {
  const at = bySize(view, view.methods)
  const panel = (size: number, count: number): string => `${count === 1 ? '1 domain' : `${count} domains`}, ${tokens(size)} tokens`
  return costFigure({
    id: 'total', heading: 'Perplexity against the total cost, by the number of domains', panels: view.sizes.flatMap(size => DOMAIN_COUNTS.map(count => panel(size, count))), columns: 3, view, cost: 'total cost',
    curves: view.sizes.flatMap(size => DOMAIN_COUNTS.flatMap(count => view.methods.map(method =>
      ({ panel: panel(size, count), method, points: at.series(method, size), phase: 'after' as const, cost: (point: Point, kind: CostKind) => totalCost(point, count)[kind] })))),
    caption: `total(N) = generic + specialization x N; macro-average after fine-tuning${at.words}. Importance sampling pays its pretraining for every domain; a projected network or a mixture pays once.`,
  })
}

/** One small chart a domain. */
export async function domainFigures(view: View): Promise<string> {
  const size = view.sizes[0]
  if (size === undefined) return ''
  const methods = view.methods.filter(method => method !== 'slm-nopt' && method !== 'slm-d' && method !== 'llm-lora')
  const marks = (kind: CostKind): Mark[] => methods.flatMap(method => view.series(method, size).flatMap(point => {
    const x = pretraining(point, kind)
    return x > 0 ? point.cells.flatMap(cell => cell.after && Number.isFinite(cell.after.perplexity) ? [{ panel: cell.domain, series: method, x, y: cell.after.perplexity, hover: `${cell.domain}\n${hover({ ...point, cells: [cell], after: { ...cell.after, domains: 1 } }, 'after', method).replace(', 1 domains', '')}` }] : []) : []
  }))
  const shown = near(marks('flops')).marks
  if (!shown.length) return ''
  const body = await byCost(kind => panelChart({ marks: near(marks(kind)).marks, panels: view.domains, columns: 3, x: axis(kind, 'cost of pretraining'), y: PERPLEXITY, styles: METHOD_STYLES }))
  return figureBlock({ id: 'domains', heading: `Each domain, fine-tuned on ${tokens(size)} tokens`, legend: legend([...new Set(shown.map(({ series }) => series))], METHOD_STYLES, name => view.words(name as MethodName)), body, caption: 'Perplexity on the held-out text of the domain after fine-tuning, against the cost of pretraining.' })
}
