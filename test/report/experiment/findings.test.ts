import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findingsOf, type Finding } from '../../../src/report/experiment/findings.js'
import { PAPER, paperSize } from '../../../src/report/experiment/paper.js'
import { averageOf, pointsOf, studentCost, totalCost } from '../../../src/report/experiment/points.js'
import type { Cell, ExperimentResults } from '../../../src/report/experiment/results.js'
import { atEqualCost, mainVariants, readingAt } from '../../../src/report/experiment/series.js'
import { METHOD_NAMES } from '../../../src/model/index.js'
import { partialResults, sampleResults } from './sample.js'

const near = (a: number, b: number, within = 1e-12): void => assert(Math.abs(a / b - 1) < within, `${a} is not ${b}`)
const of = (results: ExperimentResults, claim: RegExp): Finding => findingsOf(results, pointsOf(results)).find(finding => claim.test(finding.claim))!
const changed = (results: ExperimentResults, change: (cell: Cell) => Partial<Cell>): ExperimentResults => ({ ...results, cells: results.cells.map(cell => ({ ...cell, ...change(cell) })) })
const worse = (by: number, method: Cell['method']) => (cell: Cell): Partial<Cell> => cell.method === method && cell.after ? { after: { ...cell.after, nll: cell.after.nll + by, perplexity: Math.exp(cell.after.nll + by) } } : {}

test('a macro-average weighs domains alike, whatever their text, and averages seeds first', () => {
  const [cell] = sampleResults({ domains: ['a'] }).cells
  const one = (domain: string, nll: number, targets: number, seed = 1): Cell => ({ ...cell!, domain, seed, after: { nll, perplexity: Math.exp(nll), bitsPerByte: nll / 2, targets } })
  const average = averageOf([one('a', 2, 10), one('b', 3, 1e6), one('b', 4, 1e6, 2)], 'after', ['a', 'b'])!
  near(average.nll, (2 + 3.5) / 2)
  near(average.perplexity, Math.exp(2.75))
  near(average.bitsPerByte!, 2.75 / 2)
  assert.equal(averageOf([one('a', 2, 10)], 'after', ['a', 'b']), undefined)
})

test('total(N) = generic + specialization x N; the student\'s cost leaves the teacher out', () => {
  const points = pointsOf(sampleResults()), pick = (method: string) => points.find(point => point.method === method && point.after)!
  const slm = pick('slm'), is = pick('slm-is'), taught = pick('slm-d')
  near(totalCost(slm, 50).flops, slm.cells[0]!.cost.generic.flops + 50 * slm.cells[0]!.cost.specialization.flops)
  assert.equal(is.cost.generic.flops, 0)
  near(totalCost(is, 7).flops, 7 * is.cost.specialization.flops)
  near(is.cost.pretraining.flops, slm.cost.pretraining.flops)
  const { generic, specialization } = taught.cells[0]!.cost
  near(studentCost(taught).hours, generic.parts!['pretraining']!.deviceHours + specialization.parts!['finetuning']!.deviceHours, 1e-9)
  near(taught.cost.pretraining.flops, generic.parts!['pretraining']!.flops, 1e-9)
})

test('points differ in decisive settings only', () => {
  const results = sampleResults({ domains: ['a', 'b'] })
  // The steps differ between domains: still one point. A second rate of the same cells: two.
  const count = pointsOf(results).length
  const twice = { ...results, cells: [...results.cells, ...results.cells.filter(({ method }) => method === 'slm').map(cell => ({ ...cell, id: `${cell.id}-rate`, settings: { ...cell.settings, rate: 1e-3 } }))] }
  const points = pointsOf(twice), slm = points.filter(({ method }) => method === 'slm')
  assert.equal(points.length, count + slm.length / 2)
  assert.deepEqual([...new Set(slm.map(({ settings }) => JSON.stringify(settings)))].sort(), ['{"rate":0.001}', '{"rate":0.002}'])
})

test('the settings that stand for a method are those with the most results', () => {
  const points = pointsOf(sampleResults()), main = mainVariants(points), variant = (method: Cell['method']) => points.find(point => point.variant === main.get(method))!
  assert.equal(variant('slm-is').clusters, 64)
  assert.deepEqual([variant('slm-pn').experts, variant('slm-pn').choice], [16, 'frequent'])
})

test('readings between points are straight in the logarithms, and there are none outside', () => {
  const slm = pointsOf(sampleResults()).filter(({ method, dataTokens }) => method === 'slm' && dataTokens === 100_000), cost = (point: (typeof slm)[0]) => point.cost.pretraining.flops
  const [a, b] = slm, middle = readingAt(slm, 'after', cost, Math.sqrt(cost(a!) * cost(b!)))!
  near(middle.nll, (a!.after!.nll + b!.after!.nll) / 2)
  assert.equal(middle.measured, false)
  assert.equal(readingAt(slm, 'after', cost, cost(a!))!.measured, true)
  assert.equal(readingAt(slm, 'after', cost, cost(a!) / 2), undefined)
  assert.equal(readingAt(slm, 'after', cost, cost(slm.at(-1)!) * 2), undefined)
  const equal = atEqualCost(slm, slm.slice(0, 2), 'after', cost)!
  near(equal.cost, cost(b!))
  near(equal.a.nll, equal.b.nll)
})

test('each ordering follows from the numbers: it turns when they do', () => {
  const results = sampleResults()
  assert.equal(of(results, /^Resampling/).verdict, 'held')
  assert.match(of(results, /^Resampling/).measured[0]!, /slm-is reaches 43\.38 .*13\.1% lower than slm's 49\.90/)
  assert.equal(of(changed(results, worse(0.5, 'slm-is')), /^Resampling/).verdict, 'not')
  assert.equal(of(changed(results, worse(0.11, 'slm-is')), /^Resampling/).verdict, 'partly')
  const slm = (cell: Cell) => results.cells.find(({ method, domain, dataTokens, budgetTokens }) => method === 'slm' && domain === cell.domain && dataTokens === cell.dataTokens && budgetTokens === cell.budgetTokens)!
  assert.equal(of(changed(results, cell => cell.method === 'slm-is' ? { after: slm(cell).after } : {}), /^Resampling/).verdict, 'level')
  assert.equal(of(results, /^A projected network/).verdict, 'held')
  assert.equal(of(changed(results, worse(0.2, 'slm-pn')), /^A projected network/).verdict, 'partly') // Still ahead on the generic set.
  assert.equal(of(results, /^Without pretraining/).verdict, 'held')
  assert.equal(of(changed(results, worse(-4, 'slm-nopt')), /^Without pretraining/).verdict, 'not')
  assert.equal(of(results, /best small model/).verdict, 'held')
  assert.equal(of(changed(results, worse(-1, 'slm-mix')), /best small model/).verdict, 'not')
  assert.equal(of(results, /^LoRA/).verdict, 'held')
  assert.equal(of(changed(results, worse(0.3, 'llm-lora')), /^LoRA/).verdict, 'not')
  assert.equal(of(results, /^More clusters/).verdict, 'held')
  assert.equal(of(results, /^Choosing/).verdict, 'held')
  assert.equal(of(changed(results, cell => cell.choice === 'best-finetuned' ? worse(0.2, cell.method)(cell) : {}), /^Choosing/).verdict, 'not')
  assert.equal(of(results, /lead over slm shrinks/).verdict, 'held')
})

test('the mixture is compared with every way of choosing its expert, the choice counted', () => {
  const { measured } = of(partialResults(), /^The hard mixture/)
  assert(measured.some(text => /slm-mix is .* than slm-pn/.test(text)), measured.join('\n'))
  assert(measured.some(text => /slm-mix with best-pretrained is .* than slm-pn/.test(text)), measured.join('\n'))
})

test('where domains are missing, an ordering is told of those that both methods have', () => {
  const results = sampleResults(), few = { ...results, cells: results.cells.filter(({ method, domain }) => method !== 'slm-is' || domain < 'g') }
  const found = of(few, /^Resampling/), mean = (method: string) => {
    const cells = few.cells.filter(cell => cell.method === method && cell.domain < 'g' && cell.dataTokens === 100_000 && cell.budgetTokens === 8e6 && (cell.clusters ?? 64) === 64)
    return Math.exp(cells.reduce((sum, cell) => sum + cell.after!.nll, 0) / cells.length)
  }
  assert(found.measured[0]!.includes(`slm-is reaches ${mean('slm-is').toFixed(2)}`) && found.measured[0]!.includes(`slm's ${mean('slm').toFixed(2)}`) && found.measured[0]!.includes('on the 2 of 9 domains that both have'), found.measured[0])
  assert.equal(found.verdict, 'held')
})

test('an ordering without results is open, not held', () => {
  const only = (method: Cell['method']) => { const results = sampleResults(); return { ...results, cells: results.cells.filter(cell => cell.method === method) } }
  for (const method of METHOD_NAMES) for (const finding of findingsOf(only(method), pointsOf(only(method)))) {
    if (/^More clusters/.test(finding.claim) && method === 'slm-is' || /^Choosing/.test(finding.claim) && (method === 'slm-pn' || method === 'slm-mix')) continue
    assert.equal(finding.verdict, 'open', `${method}: ${finding.claim}`)
    assert.deepEqual(finding.measured, [])
  }
})

test('the paper\'s tables', () => {
  assert.equal(PAPER.equalCost.length, 11)
  for (const { after } of [...PAPER.baselines, ...PAPER.equalCost]) assert(after.length === 3 && after[0]! > after[1]! && after[1]! > after[2]!)
  assert.deepEqual([1e6, 8e6, 64e6].map(size => paperSize(size, [1e6, 64e6])), [0, 1, 2])
  assert.deepEqual([100_000, 400_000].map(size => paperSize(size, [100_000, 400_000])), [0, 1])
  assert.equal(paperSize(400_000, [400_000, 1e6]), undefined)
})

test('slm-is with windows chosen by n-grams is told beside slm, where it has the same domains', () => {
  const results = sampleResults(), better = Math.exp(-0.05)
  const own = results.cells.filter(({ method, clusters, budgetTokens, dataTokens }) => method === 'slm-is' && clusters === 64 && budgetTokens === 8e6 && dataTokens === 100_000)
    .map(cell => ({ ...cell, id: `${cell.id}-n0.5`, settings: { ...cell.settings, ngrams: { share: 0.5 } }, after: { ...cell.after!, nll: cell.after!.nll - 0.05, perplexity: cell.after!.perplexity * better } }))
  const measured = (cells: typeof own) => of({ ...results, cells: [...results.cells, ...cells] }, /^Resampling/).measured
  const plain = measured([]), all = measured(own)
  assert.deepEqual(all.slice(0, -1), plain)
  const macro = Math.exp(own.reduce((sum, { after }) => sum + after.nll, 0) / own.length)
  assert.match(all.at(-1)!, new RegExp(`slm-is \\(64 clusters, ngrams share 0\\.5\\) reaches ${macro.toFixed(2).replace('.', '\\.')} .*lower than slm's`))
  assert.deepEqual(measured(own.slice(1)), plain)
})
