import assert from 'node:assert/strict'
import { stripVTControlCharacters } from 'node:util'
import { test } from 'node:test'
import { bits, compact, duration, perplexity } from '../../src/report/format.js'
import { resultsTable, samplingLines } from '../../src/report/table.js'
import { sampleReport } from './sample.js'

test('the table lines up, and marks the best of each domain only where it may', () => {
  const { results } = sampleReport(['freelaw', 'pubmed'])
  const plain = resultsTable(results), lines = plain.split('\n')
  assert.equal(new Set(lines.map(line => line.length)).size, 1)
  assert.doesNotMatch(plain, /\x1b/)
  assert.match(plain, /│ freelaw │ slm-is   │      179\.5 │     2\.340 │      100\.8 │     2\.080 │/)
  assert.match(plain, /│ freelaw │ slm-nopt │          – │/)
  const colored = resultsTable(results, { color: true })
  assert.equal(stripVTControlCharacters(colored), plain)
  assert.deepEqual([...colored.matchAll(/\x1b\[1m(.*?)\x1b\[22m/g)].map(([, text]) => text), ['179.5', '2.340', '100.8', '2.080', '224.1', '2.440', '125.9', '2.180'])
})

test('a name cannot command the terminal', () => {
  const { results, sampling } = sampleReport(['a\x1b[2Jb'])
  assert.doesNotMatch(resultsTable(results), /\x1b/)
  assert.doesNotMatch(samplingLines(sampling[0]!).join(''), /\x1b/)
})

test('numbers', () => {
  assert.deepEqual([12.345, 123.45, 1234.56, 123456.7, Infinity, NaN].map(perplexity), ['12.35', '123.5', '1,234.6', '123,457', 'Infinity', 'NaN'])
  assert.deepEqual([2.12345, NaN].map(bits), ['2.123', 'NaN'])
  assert.deepEqual([0, 7, 999, 1234, 1_350_000, 4.2e13, 1e20].map(compact), ['0', '7', '999', '1.23k', '1.35M', '42.0T', '100E'])
  assert.deepEqual([0.001, 0.025, 0.9999, 1.5].map(duration), ['3.6 s', '1 min 30 s', '1.00 h', '1.50 h'])
})
