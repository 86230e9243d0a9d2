import { integer, percent, perplexity } from './format.js'
import { clusterBars, lossCurves, qualityBars, shownClusters } from './plots.js'
import { byDomain, type Report, type ReportResult, type ReportRun, type SamplingFacts, type Setting } from './reportData.js'
import { STYLE } from './reportStyle.js'
import { best, COLUMNS } from './table.js'

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
/** Text for HTML, inside elements and quoted attributes. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, character => ESCAPES[character]!)

/** A page that needs nothing else: no script, no network. `body` is HTML. */
export const htmlPage = (title: string, style: string, body: string): string => `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>${body}</body></html>
`

/** The report as one HTML page that needs nothing else: no script, no network. */
export async function reportHtml(report: Report): Promise<string> {
  const methods = [...new Set([...report.results, ...report.runs].map(({ method }) => method))]
  const sections = [
    report.results.length ? `<h2>Results</h2>${resultsTable(report.results)}${figure(await qualityBars(report.results), 'Bits a byte on held-out text of the domain.')}` : '',
    await losses(report.runs, methods),
    await sampling(report.sampling),
    `<h2>Machine</h2>${settingsTable(report.machine)}`,
    `<h2>Settings</h2><details><summary>All settings of this run</summary>${settingsTable(report.settings)}</details>`,
  ]
  return htmlPage(report.title, STYLE, `<main>
<header><h1>${escapeHtml(report.title)}</h1>
${report.description ? `<p>${escapeHtml(report.description)}</p>` : ''}<p class="soft">${escapeHtml(dateText(report.date))}</p></header>
${summary(report.results)}
${report.notes?.length ? `<ul class="notes">${report.notes.map(note => `<li>${escapeHtml(note)}</li>`).join('')}</ul>` : ''}
${sections.filter(Boolean).join('\n')}
<footer class="soft">Made by nichelm. The same numbers: report.json and table.csv beside this page.</footer>
</main>`)
}

const dateText = (date: string): string => {
  const time = new Date(date)
  return Number.isNaN(time.valueOf()) ? date : time.toISOString().replace('T', ' ').replace(/:\d\d\.\d+Z$/, ' UTC')
}

/** The best method of each domain against the plain small model, in words. */
function summary(results: readonly ReportResult[]): string {
  const sentences = byDomain(results).flatMap(({ domain, rows }) => {
    const finished = rows.filter(row => row.after), plain = finished.find(({ method }) => method === 'slm')
    const winner = finished.reduce<ReportResult | undefined>((a, b) => !a || b.after!.loss < a.after!.loss ? b : a, undefined)
    if (!winner || !plain || winner === plain) return winner && finished.length > 1 ? [`On <b>${escapeHtml(domain)}</b>, <b>${escapeHtml(winner.method)}</b> is best after fine-tuning: perplexity ${perplexity(winner.after!.perplexity)}.`] : []
    const gain = 1 - winner.after!.perplexity / plain.after!.perplexity
    return [`On <b>${escapeHtml(domain)}</b>, <b>${escapeHtml(winner.method)}</b> reaches perplexity ${perplexity(winner.after!.perplexity)} after fine-tuning, ${percent(gain)} below the plain small model's ${perplexity(plain.after!.perplexity)}.`]
  })
  return sentences.length ? `<div class="summary">${sentences.map(sentence => `<p>${sentence}</p>`).join('')}</div>` : ''
}

function resultsTable(results: readonly ReportResult[]): string {
  const groups = byDomain(results), columns = groups.length > 1 ? COLUMNS : COLUMNS.filter(({ title }) => title !== 'domain')
  const cell = (tag: string, className: string, content: string, more = ''): string => `<${tag}${className ? ` class="${className}"` : ''}${more}>${content}</${tag}>`
  let top = ''
  for (let i = 0; i < columns.length;) {
    const { group } = columns[i]!, span = group === undefined ? 1 : columns.slice(i).findIndex(column => column.group !== group)
    top += group === undefined ? cell('th', '', '') : cell('th', 'group', `${escapeHtml(group)} fine-tuning`, ` colspan="${span}" scope="colgroup"`)
    i += span
  }
  const head = columns.map(({ title, value }) => cell('th', value ? 'number' : '', escapeHtml(title), ' scope="col"')).join('')
  const bodies = groups.map(({ domain, rows }) => `<tbody>${rows.map((row, i) => `<tr>${columns.map(column =>
    column.title === 'domain' ? (i === 0 ? cell('td', '', escapeHtml(domain), ` rowspan="${rows.length}"`) : '')
      : cell('td', [column.value ? 'number' : '', best(column, rows).has(row) ? 'best' : ''].filter(Boolean).join(' '), escapeHtml(column.text(row)))).join('')}</tr>`).join('')}</tbody>`)
  const costs = 'Costs are those of pretraining and fine-tuning together'
  const shared = groups.length > 1 && results.some(({ pretraining }) => pretraining?.shared)
  const note = `<p class="soft">${costs}${shared ? '; a pretraining that serves several domains is counted in full for each' : ''}.</p>`
  return `<div class="scroll"><table><thead><tr>${top}</tr><tr>${head}</tr></thead>${bodies.join('')}</table></div>${note}`
}

async function losses(runs: readonly ReportRun[], methods: readonly string[]): Promise<string> {
  const drawn = runs.filter(({ points }) => points.some(({ loss }) => Number.isFinite(loss)))
  if (!drawn.length) return ''
  const groups = new Map<string, ReportRun[]>()
  for (const run of drawn) {
    const title = run.stage === 'pretraining' ? 'Pretraining' : `Fine-tuning${run.domain === undefined ? '' : ` on ${run.domain}`}`
    groups.set(title, [...groups.get(title) ?? [], run])
  }
  const figures = await Promise.all([...groups].map(async ([title, members]) => `<h3>${escapeHtml(title)}</h3>${figure(await lossCurves(members, methods), 'Solid: training, smoothed. Dashed with points: validation.')}`))
  return `<h2>Loss</h2>${figures.join('')}`
}

async function sampling(facts: readonly SamplingFacts[]): Promise<string> {
  if (!facts.length) return ''
  const parts = await Promise.all(facts.map(async fact => {
    const rows: [string, string][] = [
      ['Clusters', integer(fact.clusters)],
      ['Entropy of the domain', `${fact.domainEntropy.toFixed(2)} nats`],
      ['Entropy of the generic set', `${fact.genericEntropy.toFixed(2)} nats`],
      ['Divergence of the domain from the generic set (KL)', `${fact.divergence.toFixed(2)} nats`],
      ['Effective sample size', `${integer(fact.effectiveSampleSize)} of ${integer(fact.genericWindows)} windows (${percent(fact.effectiveSampleSize / fact.genericWindows)})`],
      ["Share of the domain's most frequent cluster", percent(fact.topFraction)],
      ['Draws of the most repeated window', fact.mostRepeats.toFixed(1)],
      ['Share of the domain in clusters without generic text', percent(fact.movedFraction)],
    ]
    return `<h3>${escapeHtml(fact.domain)}</h3><div class="scroll"><table class="facts"><tbody>${rows.map(([name, value]) => `<tr><td>${escapeHtml(name)}</td><td class="number">${escapeHtml(value)}</td></tr>`).join('')}</tbody></table></div>${
      figure(await clusterBars(fact), `Importance sampling draws generic windows so that their clusters have the shares of the domain. ${othersText(fact)}`)}`
  }))
  return `<h2>Sampling</h2>${parts.join('')}`
}

function othersText(fact: SamplingFacts): string {
  const { shown, others, othersDomain, othersGeneric } = shownClusters(fact)
  return others === 0 ? '' : `Shown are the domain's ${shown.length} largest clusters; the other ${integer(others)} hold ${percent(othersDomain)} of the domain and ${percent(othersGeneric)} of the generic set.`
}

const figure = (svg: string, caption: string): string => `<figure>${svg}<figcaption>${escapeHtml(caption)}</figcaption></figure>`

function settingsTable(settings: Record<string, Setting>): string {
  const rows = [...flattened(settings)].map(([name, value]) => `<tr><td>${escapeHtml(name)}</td><td>${escapeHtml(value)}</td></tr>`).join('')
  return `<div class="scroll"><table class="facts"><tbody>${rows}</tbody></table></div>`
}

/** Nested settings as dotted names. */
function* flattened(value: Setting, name = ''): Generator<[string, string]> {
  if (Array.isArray(value) && value.every(item => typeof item !== 'object')) yield [name, value.join(', ')]
  else if (typeof value === 'object' && value !== null) for (const [key, inner] of Object.entries(value)) yield* flattened(inner, name ? `${name}.${key}` : key)
  else if (value !== undefined) yield [name, String(value)]
}
