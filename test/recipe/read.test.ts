import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { NichelmError } from '../../src/base/errors.js'
import { parseRecipe } from '../../src/recipe/read.js'
import { readCount } from '../../src/recipe/sections.js'

const RECIPE = `name: small
data:
  generic: {files: generic/*.jsonl.gz, heldout: [heldout.jsonl.gz]}
  domains:
    pubmed:
      train: pubmed/train.jsonl.gz
      heldout: pubmed/heldout.jsonl.gz
pretrain:
  tokens: 3M
`

function errorOf(text: string, overrides: string[] = []): NichelmError {
  try { parseRecipe(text, 'r.yaml', overrides) } catch (error) {
    assert(error instanceof NichelmError, `not a NichelmError: ${String(error)}`)
    return error
  }
  assert.fail('no error')
}

test('defaults are filled in and short forms read', () => {
  const { settings } = parseRecipe(RECIPE, 'r.yaml')
  assert.equal(settings.pretrain.tokens, 3_000_000)
  assert.deepEqual(settings.data.generic.files, ['generic/*.jsonl.gz'])
  assert.equal(settings.model.preset, 'nano')
  assert.equal(settings.data.domains['pubmed']!.field, 'text')
  assert.deepEqual(settings.methods, ['slm', 'slm-is'])
  assert.equal(parseRecipe(`${RECIPE}model: mini\n`, 'r.yaml').settings.model.preset, 'mini')
  assert.equal(parseRecipe(`${RECIPE}model: {layers: 3}\n`, 'r.yaml').settings.model.layers, 3)
})

test('an unknown key names file, line and the nearest known key', () => {
  const error = errorOf(RECIPE.replace('  tokens: 3M', '  tokens: 3M\n  bacth: 8'))
  assert.equal(error.code, 'CONFIG')
  assert.deepEqual(error.place, { file: 'r.yaml', line: 10, field: 'pretrain.bacth' })
  assert.match(error.fix!, /Did you mean batch\?/)
  assert.match(errorOf(`${RECIPE}  warmUp: 8\n`).fix!, /warmup/)
  assert.match(errorOf(RECIPE.replace('train: pubmed', 'training: pubmed')).fix!, /Did you mean train\?/)
})

test('a key in the wrong group is told where it belongs', () => {
  assert.match(errorOf(`${RECIPE}patience: 3\n`).fix!, /under finetune/)
  assert.match(errorOf(`${RECIPE}  seed: 3\n`).fix!, /at the top/)
})

test('wrong values say what was given and what is allowed', () => {
  const cases: [string, RegExp][] = [
    ['rate: fast', /is "fast", but must be a number/],
    ['rate: -1', /is -1, but must be greater than 0/],
    ['batch: 0', /is 0, but must be at least 1/],
    ['batch: 1.5', /is 1.5, but must be a whole number/],
    ['schedule: linear', /is "linear", but must be one of cosine, constant, wsd/],
    ['finalRate: 2', /is 2, but must be at most 1/],
    ['betas: [0.9]', /is a list, but must be/],
    ['clip: null', /is empty, but must be a number/],
    ['steps: 1e3x', /is "1e3x", but must be a/],
  ]
  for (const [line, expected] of cases) {
    const error = errorOf(`${RECIPE}  ${line}\n`)
    assert.match(error.message, expected)
    assert.equal(error.place.line, 10, line)
    assert.equal(error.place.field?.startsWith(`pretrain.${line.split(':')[0]}`), true, line)
  }
})

test('what is missing is named with the line of the group it should be in', () => {
  const error = errorOf(RECIPE.replace('      heldout: pubmed/heldout.jsonl.gz\n', ''))
  assert.match(error.message, /r\.yaml:5: data\.domains\.pubmed\.heldout: is missing/)
  assert.match(errorOf('').message, /name: is missing/)
})

test('every problem is listed, the first line first', () => {
  const error = errorOf(`${RECIPE}  rate: x\n  bacth: 1\nfoo: 1\n`)
  assert.equal(error.place.line, 10)
  assert.match(error.fix!, /line 11, pretrain\.bacth.*line 12, foo is an unknown key/)
})

test('broken YAML and repeated keys are errors with a line', () => {
  assert.deepEqual(errorOf(`${RECIPE}  tokens: [1\nx: 2`).code, 'CONFIG')
  const repeated = errorOf(`${RECIPE}name: again\n`)
  assert.equal(repeated.place.line, 10)
  assert.match(repeated.message, /not valid YAML/)
})

test('--set changes one setting; its paths start at the current folder', () => {
  const { settings, place } = parseRecipe(RECIPE, 'r.yaml', ['pretrain.tokens=100k', 'data.root=elsewhere', 'model.layers=3', 'methods=[slm]'])
  assert.equal(settings.pretrain.tokens, 100_000)
  assert.equal(settings.data.root, resolve('elsewhere'))
  assert.equal(settings.model.layers, 3)
  assert.deepEqual(settings.methods, ['slm'])
  assert.deepEqual(place(['pretrain', 'tokens']), { field: '--set pretrain.tokens' })
  const short = parseRecipe(`${RECIPE}model: mini\n`, 'r.yaml', ['model.layers=3']).settings.model
  assert.deepEqual([short.preset, short.layers], ['mini', 3])
  assert.match(errorOf(RECIPE, ['pretrain.bacth=3']).message, /--set pretrain\.bacth: is an unknown key/)
  assert.match(errorOf(RECIPE, ['nothing']).message, /is not KEY=VALUE/)
  assert.match(errorOf(RECIPE, ['name.first=x']).message, /single value/)
})

test('counts: suffixes and underscores', () => {
  assert.deepEqual(['12_000_000', '12M', '1.5B', '100k', 7, 'x', '1.2.3', '-3'].map(readCount), [12e6, 12e6, 1.5e9, 1e5, 7, 'x', '1.2.3', '-3'])
})

test('any text is either a recipe or a NichelmError that names the file', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), fc.string().map(text => `${RECIPE}${text}`), fc.json().map(text => `${RECIPE}model: ${text}`)), text => {
    try { parseRecipe(text, 'r.yaml') } catch (error) {
      assert(error instanceof NichelmError, String(error))
      assert.equal(error.place.file, 'r.yaml')
    }
  }), { numRuns: 500 })
})

test('threads are a number from 1 on, or all', () => {
  const threads = (value: string): unknown => parseRecipe(RECIPE, 'recipe.yaml', [`device.threads=${value}`]).settings.device.threads
  assert.equal(threads('all'), 'all')
  assert.equal(threads('3'), 3)
  for (const value of ['0', '-1', '1.5', 'many']) assert.throws(() => threads(value), /but must be a number of threads from 1 on, or all/, value)
})
