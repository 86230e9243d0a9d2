import { escapeHtml, htmlPage } from '../reportHtml.js'
import { STYLE } from '../reportStyle.js'
import { ablationFigure, entropyFigure, finetuningFigure, topClusterFigure } from './clusterFigures.js'
import { distillationFigure, domainFigures, genericFigure, specializedFigure, totalFigure } from './costFigures.js'
import { SAME, type Finding, type Verdict } from './findings.js'
import { leadFigure } from './leadFigure.js'
import { PAGE_STYLE } from './pageStyle.js'
import { baselinesTable, choiceTable, domainTable, equalCostTable, pointsTable } from './tables.js'
import type { Point } from './points.js'
import type { View } from './view.js'
import { tokens, variantWords } from './words.js'

/** The page of an experiment: needs neither script nor network. */
export async function experimentPage(view: View, findings: readonly Finding[]): Promise<string> {
  const { results: { experiment, machine, date }, sizes } = view
  const section = (id: string, heading: string, ...parts: string[]): string => parts.some(Boolean) ? `<h2 id="${id}">${escapeHtml(heading)}</h2>${parts.filter(Boolean).join('')}` : ''
  const body = view.points.length ? [
    section('findings', 'What held as in the paper, and what did not', findingsList(findings)),
    section('tables', 'Results', `<h3>Before and after fine-tuning</h3>${baselinesTable(view)}`, await leadFigure(view), headed('At equal cost of generic pretraining', await equalCostTable(view)), headed('How the expert is chosen', choiceTable(view))),
    section('figures', 'Quality against cost', await genericFigure(view), await specializedFigure(view), await totalFigure(view), await distillationFigure(view)),
    section('each', 'Domain by domain', ...sizes.map((size, i) => (i === 0 ? headed : folded)(`Fine-tuned on ${tokens(size)} tokens`, domainTable(view, size))), await domainFigures(view), folded('Fine-tuning, step by step', await finetuningFigure(view))),
    section('clusters', 'Clusters and experts', await ablationFigure(view), await topClusterFigure(view), await entropyFigure(view)),
    section('everything', 'Everything that was measured', folded(`All ${view.points.length} points`, pointsTable(view))),
  ] : ['<p>No cell has a result yet.</p>']
  return htmlPage(experiment.name, `${STYLE}${PAGE_STYLE}`, `
<input class="choose" type="radio" name="cost" id="cost-hours" checked="checked" aria-label="Costs in device hours"/><input class="choose" type="radio" name="cost" id="cost-flops" aria-label="Costs in FLOPs"/>
<div class="bar"><div>Costs in <label for="cost-hours">device time</label><label for="cost-flops">FLOPs</label><nav><a href="#findings">Findings</a><a href="#tables">Results</a><a href="#figures">Costs</a><a href="#each">Domains</a><a href="#clusters">Clusters</a><a href="#machine">Machine</a></nav></div></div>
<main>
<header><h1>${escapeHtml(experiment.name)}</h1>${experiment.description ? `<p>${escapeHtml(experiment.description)}</p>` : ''}<p class="soft">${escapeHtml([date ? dateText(date) : '', devices(view), `${view.results.cells.length} cells, ${view.domains.length} domains`].filter(Boolean).join(' · '))}</p></header>
${notes(view)}
${body.filter(Boolean).join('\n')}
${section('machine', 'Machine and settings', settingsTable(machine), folded('What was asked for', settingsTable(experiment)))}
<footer class="soft">Made by nichelm. The same numbers beside this page: cells.csv, averages.csv, clusters.csv and report.json. Points tell on hover what is behind them.</footer>
</main>`)
}

const headed = (heading: string, body: string): string => body ? `<h3>${escapeHtml(heading)}</h3>${body}` : ''
const folded = (heading: string, body: string): string => body ? `<details><summary>${escapeHtml(heading)}</summary>${body}</details>` : ''

const VERDICTS: Record<Verdict, string> = { held: 'held', partly: 'in part', level: 'level', not: 'did not hold', open: 'not measured' }

function findingsList(findings: readonly Finding[]): string {
  const items = findings.map(({ claim, paper, verdict, measured }) =>
    `<li><span class="verdict ${verdict}">${VERDICTS[verdict]}</span><div><p class="claim">${escapeHtml(claim)}</p>${measured.map(sentence => `<p>${escapeHtml(sentence)}</p>`).join('')}<p class="paper soft">The paper: ${escapeHtml(paper)}</p></div></li>`)
  const counts = (Object.keys(VERDICTS) as Verdict[]).flatMap(verdict => { const count = findings.filter(finding => finding.verdict === verdict).length; return count ? [`${count} ${VERDICTS[verdict]}`] : [] })
  return `<p>Of ${findings.length} orderings of the paper: ${counts.join(', ')}. Every figure below is computed from the results; differences of up to ${100 * SAME}% count as level.</p><ul class="findings">${items.join('')}</ul>`
}

const devices = ({ points }: View): string => [...new Set(points.flatMap(point => point.devices))].join(' and ')

/** What a reader must know before the numbers. */
function notes(view: View): string {
  const seeds = new Set(view.results.cells.map(({ seed }) => seed)).size, all = [...new Set(view.points.flatMap(point => point.devices))]
  const missing = view.points.filter(point => point.missing.length)
  const list = [
    'Averages are macro-averages: exp of the mean over domains of the mean negative log-likelihood a token, each domain weighing the same. Bits a byte stand beside every perplexity; they alone can be compared between tokenizers.',
    seeds > 1 ? `${seeds} seeds, averaged.` : 'One seed: differences below about 2% mean little.',
    ...view.whole ? [`Domains are taken whole, ${tokens(view.whole.fewest)} to ${tokens(view.whole.most)} tokens: they are averaged as one size, ${tokens(view.sizes[0]!)}.`] : [],
    ...all.length > 1 ? [`Hours are of different devices (${all.join('; ')}): compare costs by FLOPs.`] : [],
    ...missing.length ? [`${missing.length} of ${view.points.length} points are of a part of the domains only, and stand in averages over just these: ${missing.slice(0, 6).map(gap).join('; ')}${missing.length > 6 ? '; and others' : ''}.`] : [],
  ]
  return `<ul class="notes">${list.map(note => `<li>${escapeHtml(note)}</li>`).join('')}</ul>`
}

const gap = (point: Point): string => `${point.method}${variantWords(point) ? ` (${variantWords(point)})` : ''}${point.budgetTokens === null ? '' : ` after ${tokens(point.budgetTokens)}`} at ${tokens(point.dataTokens)} without ${point.missing.length > 2 ? `${point.missing.length} domains` : point.missing.join(' and ')}`

const dateText = (date: string): string => {
  const time = new Date(date)
  return Number.isNaN(time.valueOf()) ? date : time.toISOString().replace('T', ' ').replace(/:\d\d\.\d+Z$/, ' UTC')
}

function settingsTable(settings: Record<string, unknown>): string {
  const rows = [...flattened(settings, '')].map(([name, value]) => `<tr><td>${escapeHtml(name)}</td><td>${escapeHtml(value)}</td></tr>`).join('')
  return rows ? `<div class="scroll"><table class="facts"><tbody>${rows}</tbody></table></div>` : ''
}

/** Nested settings as dotted names. */
function* flattened(value: unknown, name: string): Generator<[string, string]> {
  if (Array.isArray(value) && value.every(item => typeof item !== 'object' || item === null)) yield [name, value.join(', ')]
  else if (typeof value === 'object' && value !== null) for (const [key, inner] of Object.entries(value)) yield* flattened(inner, name ? `${name}.${key}` : key)
  else if (value !== undefined && value !== null) yield [name, String(value)]
}
