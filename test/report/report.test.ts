import assert from 'node:assert/strict'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { lossCurves } from '../../src/report/plots.js'
import { resultsCsv, writeReport } from '../../src/report/report.js'
import { smoothed, totalCost } from '../../src/report/reportData.js'
import { reportHtml } from '../../src/report/reportHtml.js'
import { temporaryFolder } from '../base/temporary.js'
import { lacks, selfContained, wellFormed } from './html.js'
import { sampleReport } from './sample.js'

/** The cells of the page's first table, row by row. */
const cells = (html: string): string[][] => [...html.slice(html.indexOf('<tbody>'), html.indexOf('</table>')).matchAll(/<tr>(.*?)<\/tr>/g)]
  .map(([, row]) => [...row!.matchAll(/<td[^>]*>(.*?)<\/td>/g)].map(([, cell]) => cell!))

test('a report is one page that needs nothing else, with the same numbers as JSON and CSV', async () => {
  using folder = temporaryFolder()
  const report = sampleReport()
  const files = await writeReport(join(folder.path, 'new'), report)
  assert.deepEqual(readdirSync(join(folder.path, 'new')).sort(), ['report.html', 'report.json', 'table.csv'])
  const html = readFileSync(files.html, 'utf8')
  wellFormed(html)
  selfContained(html)
  assert.equal(html.match(/<svg /g)!.length, 4) // bars, two kinds of losses, one histogram
  assert.deepEqual(JSON.parse(readFileSync(files.json, 'utf8')), report)
  assert.deepEqual(cells(html), [
    ['slm', '224.1', '2.440', '110.2', '2.120', '1.35M', '1.10M', '11.6T', '1 min 30 s'],
    ['slm-is', '179.5', '2.340', '100.8', '2.080', '1.35M', '1.10M', '11.6T', '1 min 31 s'],
    ['slm-nopt', '–', '–', '621.7', '2.900', '1.35M', '400k', '4.20T', '32.4 s'],
  ])
  for (const cell of ['179.5', '2.340', '100.8', '2.080']) assert.match(html, new RegExp(`<td class="number best">${cell}<`))
  assert.equal(html.match(/number best/g)!.length, 4)
  const [head, slm, ...others] = readFileSync(files.csv, 'utf8').trimEnd().split('\r\n').map(line => line.split(','))
  assert.equal(others.length, 2)
  const { before } = report.results[0]!
  assert.equal(slm![head!.indexOf('before_perplexity')], String(before!.perplexity))
  assert.equal(others[1]![head!.indexOf('before_perplexity')], '')
})

test('several domains: each row of bars and each domain has its own figures', async () => {
  const html = await reportHtml(sampleReport(['freelaw', 'pubmed', 'wikipedia']))
  wellFormed(html)
  assert.equal(html.match(/<svg /g)!.length, 1 + 4 + 3)
  assert.match(html, /<td rowspan="3">pubmed<\/td>/)
  assert.match(html, /On <b>wikipedia<\/b>, <b>slm-is<\/b> reaches/)
})

test('nothing that a user names can become markup', async () => {
  const hostile = `"><img src=x onerror=alert(1)></svg><script>alert('&')</script>`
  const report = sampleReport([hostile])
  report.title = report.description = report.date = hostile
  report.notes = [hostile]
  report.settings = { [hostile]: [hostile], nested: { [hostile]: hostile } }
  report.machine = { [hostile]: hostile }
  for (const row of [...report.results, ...report.runs]) row.method = `${row.method}${hostile}`
  const html = await reportHtml(report)
  wellFormed(html)
  lacks(html, /<img|<script/i)
  assert.ok(html.includes('&lt;script&gt;'))
})

test('values that are missing or not finite leave a report that can be read', async () => {
  const report = sampleReport()
  report.results = [{ method: 'slm', domain: 'd', parameters: 1, after: { loss: NaN, perplexity: Infinity, bitsPerByte: NaN } }]
  report.runs = [
    { name: 'a', method: 'slm', stage: 'pretraining', points: [{ step: 1, tokens: 10, loss: NaN, kind: 'train' }] },
    { name: 'b', method: 'slm', stage: 'pretraining', points: [{ step: 1, tokens: 10, loss: 3, kind: 'train' }] },
    { name: 'c', method: 'slm', stage: 'pretraining', points: [] },
  ]
  wellFormed(await reportHtml(report))
  wellFormed(await reportHtml({ ...report, results: [], runs: [], sampling: [], notes: [] }))
})

test('a report that cannot be written says why, and leaves no half of it', async () => {
  using folder = temporaryFolder()
  writeFileSync(folder.file('taken'), '')
  await assert.rejects(writeReport(join(folder.path, 'taken'), sampleReport()), /taken/)
  assert.deepEqual(readdirSync(folder.path), ['taken'])
})

test('CSV fields with commas, quotes and line ends are quoted', () => {
  const [row] = sampleReport(['a,"b"\nc']).results
  assert.ok(resultsCsv([row!]).split('\r\n')[1]!.startsWith('"a,""b""\nc",slm,'))
})

test('smoothing keeps a constant as it is, follows a change, and thins', () => {
  const points = (count: number, loss: (i: number) => number) => Array.from({ length: count }, (_, i) => ({ step: i, tokens: i, loss: loss(i), kind: 'train' as const }))
  for (const point of smoothed(points(200, () => 3))) assert.ok(Math.abs(point.loss - 3) < 1e-12)
  const step = smoothed(points(1000, i => i < 500 ? 1 : 0), 1000)
  assert.ok(step[499]!.loss > 0.999 && step[520]!.loss < 0.5 && step[999]!.loss < 1e-6)
  const thin = smoothed(points(5000, i => i))
  assert.equal(thin.length, 300)
  assert.equal(thin.at(-1)!.step, 4999)
  assert.deepEqual(smoothed(points(3, i => i === 1 ? NaN : i)).map(({ loss }) => loss), [0, 0, 2])
})

test('loss curves name runs where methods alone would not tell them apart', async () => {
  const { runs } = sampleReport(['x', 'y'])
  const svg = await lossCurves(runs.filter(({ stage }) => stage === 'pretraining'), ['slm', 'slm-is'])
  assert.match(svg, /slm-is x</)
  assert.match(svg, /slm-is y</)
  const one = await lossCurves(runs.filter(({ domain, stage }) => domain === 'x' && stage === 'fine-tuning'), ['slm', 'slm-is'])
  assert.doesNotMatch(one, /slm-is x</)
})

test('costs add up', () => {
  const [slm, , nopt] = sampleReport().results
  assert.deepEqual(totalCost(nopt!), nopt!.specialization)
  assert.equal(totalCost(slm!).tokens, 1_100_000)
})
