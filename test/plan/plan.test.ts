import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { writeJson } from '../../src/base/files.js'
import { countModel, modelConfig } from '../../src/model/index.js'
import { advise, clusterAdvice, configOfSize, experimentEvidence, findEvidence, paperEvidence, type PlanRequest } from '../../src/plan/index.js'
import { readCurve, readSizes, TOKEN_EXPONENT } from '../../src/plan/curve.js'
import { expect } from '../../src/plan/evidence.js'
import { chooseFrom } from '../../src/plan/advise.js'
import { adviceText } from '../../src/plan/text.js'
import { PAPER } from '../../src/report/experiment/paper.js'
import { temporaryFolder } from '../base/temporary.js'
import { sampleResults } from '../report/experiment/sample.js'

const near = (a: number, b: number, within = 1e-9): void => assert(Math.abs(a - b) <= within * Math.max(1, Math.abs(b)), `${a} is not ${b}`)
const slm = modelConfig('slm', 32000), paper = paperEvidence()
/** Hours of a device that trains at the speed that the paper's hours come to. */
const HOUR = 3600 * 1e9 * countModel(slm).trainingFlopsPerToken / (2.2 * 3600)
const request = (changes: Partial<PlanRequest> = {}): PlanRequest => ({ model: slm, domains: 1, domainTokens: 1e6, flops: 400 * HOUR, evidence: paper, fallback: paper, ...changes })
const codes = (changes: Partial<PlanRequest>): string[] => advise(request(changes)).warnings.map(({ code }) => code)

test('curves: straight in the logarithm of tokens between points, a power law beyond, flat where loss would rise', () => {
  const points = [{ ratio: 10, nll: 4 }, { ratio: 40, nll: 3.5 }, { ratio: 160, nll: 3.2 }]
  near(readCurve(points, 20)!.nll, 3.75)
  assert.deepEqual(readCurve(points, 40), { nll: 3.5, outside: 1 })
  const law = (ratio: number) => 2 + 5 * ratio ** -TOKEN_EXPONENT, exact = [10, 40].map(ratio => ({ ratio, nll: law(ratio) }))
  for (const ratio of [1, 5, 400]) near(readCurve(exact, ratio)!.nll, law(ratio))
  assert.deepEqual([readCurve(exact, 5)!.outside, readCurve(exact, 400)!.outside], [2, 10])
  assert.equal(readCurve([{ ratio: 10, nll: 3 }, { ratio: 20, nll: 3.1 }], 100)!.nll, 3.1)
  assert.equal(readCurve([], 5), undefined)
  assert.equal(readCurve([points[0]!], 20), undefined)
  near(readSizes([100, 10_000], 1000, size => ({ nll: size === 100 ? 4 : 3, outside: 1 }))!.nll, 3.5)
  assert.deepEqual([10, 1e6].map(tokens => readSizes([100, 10_000], tokens, size => ({ nll: size, outside: 1 }))!.nll), [100, 10_000])
})

test('the paper\'s tables come back as expectations', () => {
  for (const { hours, method, after } of PAPER.equalCost.filter(row => row.method !== 'llm')) {
    const perBillion = PAPER.hoursPerBillion.find(row => row.method === method)!.generic!
    after.forEach((value, i) => near(Math.exp(expect(paper, method, 1e9 * hours / perBillion / paper.served, PAPER.dataTokens[i]!)!.nll), value))
  }
})

test('one domain: slm-is; many on the same budget: slm-pn; and where the choice turns is where it is told', () => {
  assert.equal(advise(request()).method, 'slm-is')
  const many = advise(request({ domains: 50 }))
  assert.equal(many.method, 'slm-pn')
  assert(many.split!.generic > 0.9)
  assert.equal(advise(request()).split!.specialization, 1)
  for (const { from, to, method } of many.byDomains) for (const domains of [from, Math.min(to ?? from + 5, from + 5), to ?? 1000]) assert.equal(advise(request({ domains })).method, method, `${domains} domains`)
  assert.deepEqual(many.byDomains.map(({ from }) => from).slice(1), many.byDomains.map(({ to }) => to! + 1).slice(0, -1))
})

test('every plan keeps to the budget, and pays fine-tuning of each domain', () => {
  for (const domains of [1, 7, 50]) for (const plan of advise(request({ domains, teacher: modelConfig('llm', 32000) })).methods) {
    assert(plan.total <= 400 * HOUR * (1 + 1e-9), plan.method)
    near(plan.total, plan.generic + domains * plan.specialization)
    if (plan.method !== 'slm-nopt') near(plan.total, 400 * HOUR)
    assert(plan.specialization > 0)
  }
  const [plain] = advise(request()).methods
  near(plain!.pretrainingTokens! * countModel(slm).trainingFlopsPerToken, plain!.generic)
  assert.equal(plain!.relative, 1)
})

test('distillation is expected to gain nothing on the paper\'s word, and its teacher costs', () => {
  const { methods, method } = advise(request({ teacher: modelConfig('llm', 32000) })), taught = methods.find(plan => plan.method === 'slm-d')!
  assert(taught.relative! > 1 && taught.specialization > methods[0]!.specialization)
  assert.notEqual(method, 'slm-d')
  assert(!advise(request()).methods.some(plan => plan.method === 'slm-d'))
})

test('the large model is shown with its cost, where it cannot be served, and is never the choice', () => {
  const teacher = modelConfig('llm', 32000), { methods, method, byDomains } = advise(request({ domains: 50, teacher })), without = advise(request({ domains: 50 }))
  const large = methods.find(plan => plan.method === 'llm')!
  assert(!large.servable && methods.every(plan => plan.servable === (plan.method !== 'llm')))
  assert(large.relative! < methods.find(plan => plan.method === 'slm-pn')!.relative!, 'it would be the better one')
  near(large.total, 400 * HOUR)
  // The paper's own point: its tokens of 100 hours, at the price of the large model.
  const tokens = 1e11 / 7.7, row = PAPER.equalCost.find(one => one.method === 'llm' && one.hours === 100)!
  near(Math.exp(expect(paper, 'llm', tokens / 771e6, 1e6)!.nll), row.after[0]!)
  assert.equal(method, without.method)
  assert.deepEqual(byDomains, without.byDomains)
  assert.match(adviceText(advise(request({ teacher })), null), /llm, not servable.*\n[^]*larger than what you can serve/)
  assert(!advise(request({ teacher: slm })).methods.some(plan => plan.method === 'llm'))
})

test('a simpler method is taken unless another is worth the trouble', () => {
  const base = advise(request({ domains: 50 })).methods, set = (nll: Record<string, number>) => base.map(plan => ({ ...plan, nll: nll[plan.method] ?? null }))
  assert.equal(chooseFrom(set({ 'slm': 3, 'slm-pn': 2.995 }))!.method, 'slm')
  assert.equal(chooseFrom(set({ 'slm': 3, 'slm-pn': 2.98 }))!.method, 'slm-pn')
  assert.equal(chooseFrom(set({})), undefined)
})

test('warnings: too small a budget, too few steps, repeats, little and much data, another scale', () => {
  assert.deepEqual(codes({}), ['bound'])
  assert(codes({ flops: 20 * HOUR / 2 }).includes('few-tokens') === false)
  assert(codes({ flops: HOUR }).includes('few-tokens'))
  assert(codes({ flops: HOUR / 20 }).includes('few-steps'))
  assert(codes({ genericTokens: 1e9 }).includes('repeats'))
  assert(!codes({ genericTokens: 1e12 }).includes('repeats'))
  assert(codes({ domainTokens: 10_000 }).includes('little-data'))
  assert(codes({ domainTokens: 1e8 }).includes('much-data'))
  assert(codes({ model: modelConfig('nano', 4096), flops: 1e15 }).includes('other-scale'))
  const none = advise(request({ flops: HOUR / 1000 }))
  assert.equal(none.method, null)
  assert.deepEqual(none.warnings.map(({ code }) => code), ['unaffordable'])
  assert.equal(none.split, null)
})

test('clusters: as many as the windows of the domain and of the generic set allow, and as the experiment found best', () => {
  const of = (changes: object) => clusterAdvice({ domainTokens: 1e6, context: 1024, evidence: paper, ...changes }).clusters
  assert.equal(of({}), 1024)
  assert.equal(of({ domainTokens: 64e6 }), 1024)
  assert.equal(of({ domainTokens: 100_000 }), 128)
  assert.equal(of({ genericTokens: 10_000 * 1024 }), 64)
  assert.equal(of({ domainTokens: 1 }), 2)
  const evidence = { ...paper, tried: { clusters: [16, 64, 256], best: 64 } }
  assert.equal(of({ evidence }), 64)
  assert.equal(of({ evidence: { ...evidence, tried: { clusters: [16, 64], best: 64 } } }), 1024)
})

test('results of an experiment come before the paper, and the paper fills what they lack', () => {
  const results = sampleResults(), evidence = experimentEvidence(results, 'here')!
  assert.equal(evidence.served, 387_456)
  assert.deepEqual(evidence.tried, { clusters: [16, 64, 256], best: 256 })
  near(evidence.timeFactor['slm-pn']!, 1.2)
  near(evidence.passes.get(100_000)!, 8)
  const model = configOfSize(387_456, 4096, 128), flops = 5e14
  const advice = advise(request({ model, domainTokens: 100_000, flops, evidence }))
  assert(advice.methods.every(({ source }) => source === 'experiment'))
  assert.deepEqual(advice.sources, [evidence.source])
  assert.equal(advice.method, 'slm-is')
  // At a budget that was measured, the numbers are those of the experiment.
  const last = results.cells.filter(({ method, budgetTokens, dataTokens }) => method === 'slm' && budgetTokens === 8e6 && dataTokens === 100_000)
  near(expect(evidence, 'slm', 8e6 / 387_456, 100_000)!.nll, last.reduce((sum, cell) => sum + cell.after!.nll, 0) / last.length)
  const some = experimentEvidence({ ...results, cells: results.cells.filter(({ method }) => method === 'slm' || method === 'slm-pn') }, 'here')!
  const mixed = advise(request({ model, domainTokens: 100_000, flops, evidence: some }))
  assert.deepEqual(Object.fromEntries(mixed.methods.map(({ method, source }) => [method, source])), { 'slm': 'experiment', 'slm-pn': 'experiment', 'slm-is': 'paper', 'slm-mix': 'paper', 'slm-nopt': 'paper' })
  assert.equal(mixed.sources.length, 2)
  assert.equal(experimentEvidence({ ...results, cells: results.cells.filter(({ method }) => method !== 'slm') }, 'here'), undefined)
})

test('results are found on disk, the nearest in size are taken, and damaged ones are left aside', () => {
  using folder = temporaryFolder()
  assert.equal(findEvidence(126e6, [], folder.path).evidence.kind, 'paper')
  mkdirSync(folder.file('runs/small'), { recursive: true })
  writeJson(folder.file('runs/small/results.json'), sampleResults())
  mkdirSync(folder.file('results/broken'), { recursive: true })
  writeFileSync(folder.file('results/broken/results.json'), '{')
  const found = findEvidence(387_456, [], folder.path)
  assert.equal(found.evidence.kind, 'experiment')
  assert.match(found.evidence.source, /The paper in small/)
  assert.equal(found.skipped.filter(text => text.includes('broken')).length, 1)
  assert.equal(findEvidence(126e6, [], folder.path).evidence.kind, 'paper')
  assert.equal(findEvidence(126e6, [folder.file('runs/small')]).evidence.kind, 'experiment')
  assert.throws(() => findEvidence(1e6, [folder.file('results/broken')]), { code: 'CORRUPT' })
  assert.throws(() => findEvidence(1e6, [folder.file('runs')]), { code: 'INPUT' })
  writeJson(folder.file('runs/empty.json'), { ...sampleResults(), cells: [] })
  assert.throws(() => findEvidence(1e6, [folder.file('runs/empty.json')]), { code: 'INPUT', message: /no results of slm/ })
})

test('a model of about so many parameters', () => {
  for (const [parameters, vocabulary, context] of [[387_000, 4096, 128], [5e6, 8192, 256], [126e6, 32000, 1024], [1e9, 50_000, 2048]] as const) {
    const config = configOfSize(parameters, vocabulary, context)
    assert(Math.abs(countModel(config).parameters / parameters - 1) < 0.1, `${parameters}`)
    assert.equal(config.width % config.heads, 0)
  }
  assert.throws(() => configOfSize(1000, 32000, 1024), { code: 'USAGE' })
})

test('advice as text names method, split, clusters, domains and source', () => {
  const text = adviceText(advise(request({ domains: 50 })), 1e14)
  for (const part of [/slm-pn \*/, /Use slm-pn\./, /Split: 99\.\d% of the cost is generic/, /Clusters: 32; as many as experts/, /By number of domains.*1 to \d+: slm-is; \d+ and more: slm-pn/, /the paper's tables/]) assert.match(text, part)
  assert.match(adviceText(advise(request({ flops: HOUR / 1000 })), null), /too dear[^]*Fine-tuning alone takes the whole budget/)
})
