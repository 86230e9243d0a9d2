import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readResults, writeExperimentReport } from '../../../src/report/experiment/index.js'
import { panelChart } from '../../../src/report/experiment/charts.js'
import { METHOD_STYLES } from '../../../src/report/experiment/styles.js'
import { experimentPage } from '../../../src/report/experiment/page.js'
import { findingsOf } from '../../../src/report/experiment/findings.js'
import { comparable, viewOf } from '../../../src/report/experiment/view.js'
import type { ExperimentResults } from '../../../src/report/experiment/results.js'
import { writeJson } from '../../../src/base/files.js'
import { temporaryFolder } from '../../base/temporary.js'
import { lacks, selfContained, wellFormed } from '../html.js'
import { partialResults, sampleResults } from './sample.js'

function pageOf(results: ExperimentResults): Promise<string> {
  const view = viewOf(results)
  return experimentPage(view, findingsOf(results, view.points))
}
const headings = (html: string): string[] => [...html.matchAll(/<h3[^>]*>(.*?)<\/h3>/g)].map(([, text]) => text!)

test('the report of an experiment: one page that needs nothing else, and the same numbers as JSON and CSV', async () => {
  using folder = temporaryFolder()
  const results = sampleResults(), into = join(folder.path, 'report')
  const files = await writeExperimentReport(into, results)
  assert.deepEqual(readdirSync(into).sort(), ['averages.csv', 'cells.csv', 'clusters.csv', 'report.html', 'report.json'])
  const html = readFileSync(files.html, 'utf8')
  wellFormed(html)
  selfContained(html)
  for (const heading of [
    'Before and after fine-tuning', 'At equal cost of generic pretraining', 'How the expert is chosen', 'Generic perplexity against the cost of pretraining', 'Perplexity on the domains against the cost of pretraining',
    'Perplexity against the total cost, by the number of domains', 'Distillation against the cost of the student, and against all of it', 'Each domain, fine-tuned on 100k tokens', 'How many clusters, how many experts',
    'Share of each domain in its most frequent cluster', 'Entropy of the cluster histograms',
  ]) assert(headings(html).includes(heading), heading)
  for (const panel of ['1 domain, 100k tokens', '7 domains, 400k tokens', '50 domains, 100k tokens', 'before fine-tuning', 'fine-tuned on 400k tokens']) assert(html.includes(`>${panel}<`), panel)

  const lines = (file: string): string[][] => readFileSync(file, 'utf8').trimEnd().split('\r\n').map(line => line.split(','))
  assert.equal(lines(files.cells).length, 1 + results.cells.length)
  assert.equal(lines(files.clusters).length, 1 + 3 * 10)
  const json = JSON.parse(readFileSync(files.json, 'utf8')) as { averages: { method: string; after: { perplexity: number }; cells: string[] }[]; findings: unknown[] }
  assert.equal(lines(files.averages).length, 1 + json.averages.length)
  assert.equal(json.averages.reduce((sum, { cells }) => sum + cells.length, 0), results.cells.length)
  const [head, first] = lines(files.averages)
  assert.equal(first![head!.indexOf('after_perplexity')], String(json.averages[0]!.after.perplexity))
})

test('each point tells its settings, costs and device on hover', async () => {
  const html = await pageOf(sampleResults())
  const titles = [...html.matchAll(/<title>([^<]*)<\/title>/g)].map(([, text]) => text!)
  const own = titles.filter(text => text.startsWith('slm-is (64 clusters)'))
  assert(own.length > 10)
  for (const text of own) for (const fact of [/perplexity [\d.,]+ \([\d.]+ bits\/byte\)/, /pretrained on \d+M tokens/, /specialization, a domain: .*FLOPs/, /rate: 0\.002/, /AMD EPYC 9004/]) assert.match(text, fact)
  assert(!/finetuneSteps/.test(own.find(text => text.includes('9 domains'))!), 'a setting that differs between the domains of a point')
})

test('the paper\'s figures stand beside, by the size of data or its rank', async () => {
  const html = await pageOf(sampleResults())
  for (const value of ['227.1', '45.60', '18.57', '14.48', '17.32', '16.98', '4.07']) assert(html.includes(`<td class="number paper">${value}</td>`), value)
  const same = await pageOf(sampleResults({ sizes: [1e6, 64e6], domains: ['a', 'b'] }))
  assert(same.includes('<td class="number paper">17.60</td>'))
  assert(!same.includes('<td class="number paper">45.60</td>'))
})

test('missing cells leave gaps: averages only where all domains are, and the page says so', async () => {
  const whole = sampleResults()
  const cells = whole.cells.filter(({ method, domain }) => method !== 'slm-is' || domain !== 'news')
  const html = await pageOf({ ...whole, cells })
  wellFormed(html)
  assert.match(html, /points are of a part of the domains only, and stand in averages over just these: slm-is \(64 clusters\) after 1M at 100k without news;/)
  const view = viewOf({ ...whole, cells })
  assert(view.points.filter(({ method }) => method === 'slm-is').every(({ after, before }) => !after && !before))
  assert(view.points.filter(({ method }) => method === 'slm').every(({ after }) => after))
  // Any part of the results makes a page.
  for (let every = 2; every < 60; every += 7) wellFormed(await pageOf({ ...whole, cells: whole.cells.filter((_, i) => i % every === 0), clusterings: whole.clusterings.slice(0, every % 3) }))
  wellFormed(await pageOf({ ...whole, cells: [], clusterings: [] }))
  for (const cell of [whole.cells[0]!, whole.cells.at(-1)!]) wellFormed(await pageOf({ ...whole, cells: [{ ...cell, before: null, after: null, generic: null, curve: [] }], clusterings: [] }))
})

test('budgets and ablations that were run on some domains are compared on those, and the page says on which', async () => {
  const results = partialResults(), view = viewOf(results), html = await pageOf(results), some = 'freelaw, opensubtitles and pubmed'
  wellFormed(html)
  assert(html.includes(`Macro-average (100k tokens: over ${some}; the others were not run at every budget).`))
  assert(html.includes(`Macro-average after fine-tuning, all else equal, over ${some}.`))
  const slm = comparable(view, ['slm', 'slm-pn', 'llm'], 100_000), mean = (budget: number) => {
    const nlls = results.cells.filter(cell => cell.method === 'slm' && cell.budgetTokens === budget && cell.dataTokens === 100_000 && ['freelaw', 'opensubtitles', 'pubmed'].includes(cell.domain)).map(cell => cell.after!.nll)
    return Math.exp(nlls.reduce((a, b) => a + b) / nlls.length)
  }
  assert.deepEqual(slm.domains, ['freelaw', 'opensubtitles', 'pubmed'])
  for (const point of slm.series('slm')) assert(Math.abs(point.after!.perplexity / mean(point.budgetTokens!) - 1) < 1e-12)
  assert.deepEqual(slm.series('slm').map(({ budgetTokens }) => budgetTokens), [2e6, 4e6, 8e6])
  // A figure about distillation is of the domains that distillation was run on.
  assert.deepEqual(comparable(view, ['slm', 'slm-pn', 'slm-d'], 400_000, 'slm-d').domains, ['freelaw', 'opensubtitles', 'pubmed'])
  assert.equal(comparable(view, ['slm', 'slm-pn', 'slm-d'], 400_000).domains.length, 9)
  // The table of all domains holds only what all of them have: the mixture twice, for it was also trained longer.
  const [, table] = /<h3>Before and after fine-tuning<\/h3>.*?<tbody>(.*?)<\/tbody>/s.exec(html)!
  assert.deepEqual([...table!.matchAll(/<tr><td>(.*?)(?:<small>.*?)?<\/td><td class="number">(.*?)<\/td>/g)].map(([, method, budget]) => `${method} ${budget}`), ['slm 8M', 'slm-is 8M', 'slm-pn 8M', 'slm-mix 8M', 'slm-mix 32M', 'slm-d 8M', 'slm-nopt –', 'llm 8M', 'llm-lora 8M'])
  assert.equal(html.match(/>best-finetuned</g)?.length, 4)
})

test('a clustering that tells of a domain at several sizes counts it once', async () => {
  const results = sampleResults({ domains: ['a', 'b', 'c', 'd'] }), twice = results.clusterings.map(clustering => ({ ...clustering, domains: clustering.domains.flatMap(facts => [{ ...facts, dataTokens: 100_000, entropy: 0.01 }, { ...facts, dataTokens: 400_000 }]) }))
  const view = viewOf({ ...results, clusterings: [...twice, ...twice] })
  assert.deepEqual(view.results.clusterings.map(({ clusters, domains }) => [clusters, domains.map(({ domain, entropy }) => [domain, entropy])]), results.clusterings.map(({ clusters, domains }) => [clusters, domains.map(({ domain, entropy }) => [domain, entropy])]))
})

test('axes have several ticks, whatever the range', async () => {
  for (const [low, high] of [[1, 1.1], [0.3, 0.34], [2e13, 2.6e13], [1, 3], [4e12, 3e15]] as const) {
    const marks = [low, high].map((x, i) => ({ panel: '', series: 'slm', x, y: 10 - i, hover: 'x' }))
    const svg = await panelChart({ marks, panels: [''], columns: 1, x: { title: 'cost', unit: 'flops', log: true }, y: { title: 'y', unit: 'plain' }, styles: METHOD_STYLES })
    const axis = /aria-label="X-axis[^]*?<\/g><\/g><\/g>/.exec(svg)![0], labels = [...axis.matchAll(/<text[^>]*>([^<]+)<\/text>/g)].map(([, text]) => text!).filter(text => text !== 'cost')
    assert(labels.length >= 2 && new Set(labels).size === labels.length, `${low} to ${high}: ${labels.join(' ')}`)
  }
})

test('domains that are taken whole count as one size', async () => {
  const results = sampleResults({ domains: ['a', 'b', 'c'], sizes: [100_000] })
  const cells = results.cells.map(cell => ({ ...cell, dataTokens: { a: 50_000, b: 100_000, c: 300_000 }[cell.domain]! }))
  const view = viewOf({ ...results, cells })
  assert.deepEqual(view.sizes, [150_000])
  assert(view.points.every(({ after }) => after!.domains === 3))
  assert.match(await pageOf({ ...results, cells }), /Domains are taken whole, 50k to 300k tokens: they are averaged as one size, 150k/)
  // Sizes that several domains share are sizes of their own: the third is missing there.
  assert.deepEqual(viewOf({ ...results, cells: results.cells.map(cell => ({ ...cell, dataTokens: cell.domain === 'a' ? 50_000 : 100_000 })) }).sizes, [50_000, 100_000])
})

test('values that are not finite, and text of unknown size, do not break the page', async () => {
  const whole = sampleResults({ domains: ['a', 'b'] })
  const html = await pageOf({ ...whole, cells: whole.cells.map((cell, i) => ({ ...cell, after: cell.after && { ...cell.after, bitsPerByte: null, ...i % 5 ? {} : { nll: NaN, perplexity: NaN } } })) })
  wellFormed(html)
  lacks(html.replace(/<style>.*?<\/style>/s, ''), /NaN|Infinity|undefined/)
})

test('nothing that a user names can become markup', async () => {
  const hostile = `"><img src=x onerror=alert(1)></svg><script>alert('&')</script>`
  const results = sampleResults({ domains: [hostile, 'b', 'c'] })
  const html = await pageOf({ ...results, experiment: { ...results.experiment, name: hostile, description: hostile, [hostile]: hostile }, machine: { [hostile]: hostile }, cells: results.cells.map(cell => ({ ...cell, settings: { ...cell.settings, [hostile]: hostile } })) })
  wellFormed(html)
  lacks(html, /<img|<script/i)
  assert(html.includes('&lt;script&gt;'))
})

test('results are read from a file or its folder; what is none is refused with the field', () => {
  using folder = temporaryFolder()
  const results = sampleResults({ domains: ['a'] })
  writeJson(folder.file('results.json'), results)
  assert.deepEqual(readResults(folder.path), results)
  assert.deepEqual(readResults(folder.file('results.json')), results)
  writeJson(folder.file('other.json'), { ...results, cells: [{ ...results.cells[0], method: 'slm-x' }] })
  assert.throws(() => readResults(folder.file('other.json')), { code: 'CORRUPT', message: /other\.json: cells\.0\.method: is not the results of an experiment/ })
  assert.throws(() => readResults(folder.file('none.json')), { code: 'INPUT' })
})
