import type { MethodName } from '../../model/index.js'
import { bits, compact, perplexity } from '../format.js'
import { byCost, EMPTY, tableBlock, type TableCell, type TableHead } from './blocks.js'
import { PAPER, paperSize } from './paper.js'
import { choicesOf } from './findings.js'
import { averageOf, totalCost, type Average, type Point } from './points.js'
import { lastOf, readingAt, type Phase, type Reading } from './series.js'
import { comparable, type View } from './view.js'
import { costIn, costWords, hover, listed, onlyOn, tokens, variantWords } from './words.js'

const number = (text: string, more: Partial<TableCell> = {}): TableCell => ({ ...more, text, className: `number${more.className ? ` ${more.className}` : ''}` })
const bitsText = (value: number | null): string | undefined => value === null ? undefined : bits(value)

/** Perplexity, bits a byte below it, and on hover what is behind. */
const qualityCell = (quality: Average | Reading | undefined, title?: string, mark = ''): TableCell =>
  quality && Number.isFinite(quality.perplexity) ? number(`${mark}${perplexity(quality.perplexity)}`, { small: bitsText(quality.bitsPerByte), title }) : EMPTY

const paperCell = (value: number | null | undefined): TableCell => value === null || value === undefined ? { ...EMPTY, className: 'number paper' } : number(value.toFixed(value < 100 ? 2 : 1), { className: 'paper' })

/** Marks the least of a column bold, if there are several. */
function bold(rows: TableCell[][], values: readonly (readonly (number | undefined)[])[], first: number): TableCell[][] {
  return rows.map((row, i) => row.map((cell, j) => {
    const column = values.map(line => line[j - first]).filter((value): value is number => value !== undefined && Number.isFinite(value)), own = values[i]?.[j - first]
    return column.length > 1 && own !== undefined && own === Math.min(...column) ? { ...cell, className: `${cell.className ?? ''} best` } : cell
  }))
}

/** Columns that quote the paper: before fine-tuning, and the size that stands for each of ours. */
const paperColumns = (view: View): { heads: TableHead[]; sizes: (number | undefined)[] } => {
  const sizes = view.sizes.map(size => paperSize(size, view.sizes))
  return { sizes, heads: sizes.map(size => ({ text: size === undefined ? '–' : tokens(PAPER.dataTokens[size]!), number: true, className: 'paper' })) }
}

/** Budgets at which a method stands in the table: slm's longest, so that all are alike, and longer ones that were run on all domains. */
function budgetsOf(view: View, method: MethodName): (number | null)[] {
  const series = view.sizes.flatMap(size => view.series(method, size)), reference = lastOf(view.series('slm', view.sizes[0]!), 'after')?.budgetTokens ?? 0
  const done = [...new Set(series.filter(({ after, budgetTokens }) => after && (budgetTokens ?? Infinity) >= reference).map(({ budgetTokens }) => budgetTokens))]
  return done.length ? done : series.slice(-1).map(({ budgetTokens }) => budgetTokens)
}

/** Every method before and after fine-tuning on each size of data, after the same pretraining or longer. */
export function baselinesTable(view: View): string {
  const { sizes, methods } = view, paper = paperColumns(view)
  const lines = methods.flatMap(method => budgetsOf(view, method).map(budget => {
    const points = sizes.map(size => view.series(method, size).find(({ budgetTokens }) => budgetTokens === budget)), shown = points.find(point => point)
    const behind = [points.find(point => point?.generic), points.find(point => point?.before), ...points], phases: Phase[] = ['generic', 'before', ...sizes.map((): Phase => 'after')]
    const found = behind.map((point, i) => point?.[phases[i]!])
    const quoted = PAPER.baselines.find(row => row.method === method) ?? PAPER.equalCost.findLast(row => row.method === method)
    const parameters = shown?.cells[0]?.parameters
    return {
      cells: [
        { text: method, small: view.words(method) || undefined },
        number(shown?.budgetTokens ? tokens(shown.budgetTokens) : '–'),
        ...found.map((quality, i): TableCell => {
          const point = behind[i], cell = qualityCell(quality, point && hover(point, phases[i]!, method))
          return !quality && point?.missing.length ? { ...cell, title: `run on ${listed([...new Set(point.cells.map(({ domain }) => domain))])} only` } : cell
        }),
        number(shown ? costIn('hours', totalCost(shown, 1).hours) : '–', { small: shown && costIn('flops', totalCost(shown, 1).flops), title: shown && `generic ${costWords(shown.cost.generic)}\nspecialization ${costWords(shown.cost.specialization)}\n${shown.devices.join(' + ')}` }),
        number(parameters ? compact(parameters.served) : '–', { small: parameters?.pretraining ? `${compact(parameters.pretraining)} pretrained` : undefined }),
        paperCell(quoted?.before), ...paper.sizes.map(size => paperCell(size === undefined ? undefined : quoted?.after[size])),
      ],
      values: found.map(quality => quality?.perplexity),
    }
  }))
  return tableBlock([
    [{ text: '' }, { text: '' }, { text: '' }, { text: '' }, { text: 'fine-tuned on', span: sizes.length }, { text: '' }, { text: '' }, { text: 'the paper', span: 1 + sizes.length, className: 'paper' }],
    [{ text: 'method' }, { text: 'pretrained on', number: true }, { text: 'generic set', number: true }, { text: 'before', number: true }, ...sizes.map(size => ({ text: tokens(size), number: true })),
      { text: 'cost, 1 domain', number: true }, { text: 'served', number: true }, { text: 'before', number: true, className: 'paper' }, ...paper.heads],
  ], [bold(lines.map(({ cells }) => cells), lines.map(({ values }) => values), 2)],
  `Perplexity, macro-averaged over the domains, with bits a byte below it; best in each column in bold. Where several settings of a method were tried, those with the most results stand for it, among equals the best on the least data. Cost is that of the least data. ${PAPER.source}: nine domains of the Pile, slm-pn and slm-mix at 600 hours of an ${PAPER.device}${sizes.some(size => paperSize(size, sizes) !== undefined && !(PAPER.dataTokens as readonly number[]).includes(size)) ? '; the sizes of data stand for the paper\'s by rank' : ''}.`)
}

const EQUAL: readonly MethodName[] = ['slm', 'slm-mix', 'slm-pn', 'llm']

/** At the costs of the plain small model's budgets: what the others reach for as much. */
export function equalCostTable(view: View): Promise<string> {
  const { sizes } = view, methods = EQUAL.filter(method => view.methods.includes(method)), small = sizes[0]!, paper = paperColumns(view)
  if (methods.length < 2) return Promise.resolve('')
  const found = new Map(sizes.map(size => [size, comparable(view, methods, size)])), series = (method: MethodName, size: number): Point[] => found.get(size)!.series(method)
  const parts = sizes.flatMap(size => { const on = onlyOn(found.get(size)!.domains, view.domainsAt(size)); return on ? [`${tokens(size)} tokens: over ${on}`] : [] })
  return byCost(kind => {
    const cost = (point: Point): number => point.cost.pretraining[kind]
    const levels = levelsOf(methods.flatMap(method => series(method, small).map(cost)).filter(value => value > 0), series('slm', small).map(cost).filter(value => value > 0))
    const bodies = levels.map((level, at) => {
      const lines = methods.flatMap(method => {
        const readings = [readingAt(series(method, small), 'generic', cost, level), readingAt(series(method, small), 'before', cost, level), ...sizes.map(size => readingAt(series(method, size), 'after', cost, level))]
        return readings.some(reading => reading) ? [{ method, readings }] : []
      })
      const quoted = at === 0 ? 100 : at === levels.length - 1 && levels.length > 2 ? 600 : 400
      const rows = lines.map(({ method, readings }, i): TableCell[] => {
        const row = PAPER.equalCost.find(found => found.hours === quoted && found.method === method)
        return [
          ...i === 0 ? [{ text: costIn(kind, level), rows: lines.length }] : [], { text: method },
          ...readings.map(reading => qualityCell(reading, reading && (reading.measured ? 'measured' : 'between two measured budgets'), reading && !reading.measured ? '≈ ' : '')),
          ...i === 0 ? [{ text: `${quoted} h`, rows: lines.length, className: 'paper' }] : [], paperCell(row?.generic), paperCell(row?.before), ...paper.sizes.map(size => paperCell(size === undefined ? undefined : row?.after[size])),
        ]
      })
      const values = lines.map(({ readings }) => readings.map(reading => reading?.perplexity))
      return rows.map((row, i) => bold([row, ...rows.filter((_, j) => j !== i)], [values[i]!, ...values.filter((_, j) => j !== i)], i === 0 ? 2 : 1)[0]!)
    }).filter(rows => rows.length > 1)
    return !bodies.length ? '' : tableBlock([
      [{ text: '' }, { text: '' }, { text: '' }, { text: '' }, { text: 'fine-tuned on', span: sizes.length }, { text: 'the paper', span: 3 + sizes.length, className: 'paper' }],
      [{ text: kind === 'hours' ? 'device time' : 'pretraining' }, { text: 'method' }, { text: 'generic set', number: true }, { text: 'before', number: true }, ...sizes.map(size => ({ text: tokens(size), number: true })),
        { text: 'hours', className: 'paper' }, { text: 'generic', number: true, className: 'paper' }, { text: 'before', number: true, className: 'paper' }, ...paper.heads],
    ], bodies, `At equal cost of generic pretraining${parts.length ? ` (${parts.join('; ')})` : ''}. ≈: between two measured budgets, linear in the logarithms of cost and perplexity. The paper's blocks stand beside by rank: its cost levels are 100, 400 and 600 hours.`)
  })
}

/** Three costs at most to compare at: the plain model's own, or what lies within everyone's reach. */
function levelsOf(all: readonly number[], plain: readonly number[]): number[] {
  const own = [...new Set(plain)].sort((a, b) => a - b), most = Math.max(...all)
  const levels = own.length > 2 ? [own[Math.floor((own.length - 1) / 2)]!, own.at(-1)!] : own
  if (levels.length && most > 1.2 * levels.at(-1)!) levels.push(most)
  return levels
}

/** The ways of choosing the expert. */
export function choiceTable(view: View): string {
  const bodies = (['slm-pn', 'slm-mix'] as const).flatMap(method => view.sizes.flatMap(size => choicesOf(view.points, method, size).map(found => found.points.map((point, i): TableCell[] => [
      ...i === 0 ? [{ text: method, rows: found.points.length, small: `${point.experts} experts, ${tokens(point.budgetTokens ?? 0)} tokens` }, { text: tokens(size), rows: found.points.length, className: 'number', small: onlyOn(found.domains, view.domainsAt(size)) || undefined }] : [],
      { text: point.choice! }, qualityCell(point.after, hover(point, 'after', method)), number(costIn('hours', point.cost.specialization.hours), { small: costIn('flops', point.cost.specialization.flops) }),
      paperCell(method === PAPER.choice.method && size === view.sizes[0] && !onlyOn(found.domains, view.domainsAt(size)) ? PAPER.choice.perplexity[point.choice!] : undefined),
    ]))))
  if (!bodies.length) return ''
  return tableBlock([
    [{ text: 'method' }, { text: 'data', number: true }, { text: 'choice' }, { text: 'perplexity', number: true }, { text: 'cost, a domain', number: true }, { text: `the paper, ${PAPER.choice.experts} experts, 1M`, number: true, className: 'paper' }],
  ], bodies, 'After fine-tuning; cost of specialization, the choice itself included. frequent: the most frequent cluster; mean: all experts, each as often as its cluster is in the domain; best-pretrained: the least loss on the domain before fine-tuning; best-finetuned: all are fine-tuned, the best is kept.')
}

/** Each domain after fine-tuning, method by method, with how far that lies from slm. */
export function domainTable(view: View, size: number): string {
  const last = (method: MethodName, domain: string): { point: Point; average: Average } | undefined => {
    const there = view.series(method, size).filter(({ cells }) => cells.some(cell => cell.domain === domain && cell.after)), reference = lastOf(view.series('slm', size), 'after')?.budgetTokens
    const point = there.find(({ budgetTokens }) => budgetTokens === reference) ?? there.at(-1), average = point && averageOf(point.cells, 'after', [domain])
    return point && average && { point, average }
  }
  const besideSlm = (quality: Average, plain: Average | undefined, method: MethodName): TableCell => {
    const cell = qualityCell(quality)
    return !plain || method === 'slm' ? cell : { ...cell, small: [cell.small, signed(Math.exp(quality.nll - plain.nll) - 1)].filter(Boolean).join(' · ') }
  }
  const rows = view.domains.map((domain): TableCell[] => {
    const found = view.methods.map(method => last(method, domain)), plain = last('slm', domain)?.average, least = Math.min(...found.map(entry => entry?.average.perplexity ?? Infinity))
    return [{ text: domain }, ...found.map((entry, i): TableCell => {
      if (!entry) return EMPTY
      const method = view.methods[i]!, cell = besideSlm(entry.average, plain, method), title = hover({ ...entry.point, cells: entry.point.cells.filter(one => one.domain === domain), after: undefined }, 'after', method)
      return { ...cell, title, className: `${cell.className ?? ''}${found.length > 1 && entry.average.perplexity === least ? ' best' : ''}` }
    })]
  })
  const overall = (method: MethodName): Average | undefined => {
    const done = view.series(method, size).filter(({ after }) => after), reference = lastOf(view.series('slm', size), 'after')?.budgetTokens
    return (done.find(({ budgetTokens }) => budgetTokens === reference) ?? done.at(-1))?.after
  }
  const average: TableCell[] = [{ text: 'average' }, ...view.methods.map(method => { const own = overall(method); return own ? besideSlm(own, overall('slm'), method) : EMPTY })]
  return tableBlock([[{ text: 'domain' }, ...view.methods.map(method => ({ text: method, number: true }))]], [rows, [average]], `Perplexity after fine-tuning on ${tokens(size)} tokens, each method after as much pretraining as slm's longest, where it was; below it bits a byte, and how far the perplexity lies from slm's. Best of each domain in bold. The average is there where all domains are.`)
}

/** −12.3%, +0.4%; ×5.0 where it is many times as much. */
const signed = (off: number): string => off > 2 ? `×${(1 + off).toFixed(1)}` : `${off < 0 ? '−' : '+'}${Math.abs(100 * off).toFixed(1)}%`

/** Everything that was measured, a line a point. */
export function pointsTable(view: View): string {
  const rows = view.points.map((point): TableCell[] => {
    const total = totalCost(point, 1)
    return [
      { text: point.method, small: variantWords(point) || undefined }, number(point.budgetTokens === null ? '–' : tokens(point.budgetTokens)), number(tokens(point.dataTokens)),
      qualityCell(point.generic), qualityCell(point.before), qualityCell(point.after, hover(point, 'after', point.method)),
      number(costIn('hours', total.hours), { small: costIn('flops', total.flops) }), number(point.missing.length ? `${new Set(point.cells.map(({ domain }) => domain)).size} (without ${point.missing.join(', ')})` : String(new Set(point.cells.map(({ domain }) => domain)).size)),
    ]
  })
  return tableBlock([[{ text: 'method' }, { text: 'pretrained on', number: true }, { text: 'data', number: true }, { text: 'generic set', number: true }, { text: 'before', number: true }, { text: 'after', number: true }, { text: 'cost, 1 domain', number: true }, { text: 'domains', number: true }]], [rows])
}
