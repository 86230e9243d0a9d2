import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { NichelmError } from '../../src/base/errors.js'
import { Fingerprints } from '../../src/recipe/fingerprint.js'
import { canonical, Stage } from '../../src/recipe/stage.js'
import { runStages } from './support.js'

function temporary(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-stage-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

interface Settings { first?: number; second?: number; version?: number; input?: string }

/** first -> second, and other on its own; each notes that it ran. */
function graph(output: string, ran: string[], { first = 1, second = 1, version = 1, input = 'a' }: Settings = {}): Stage[] {
  const stage = (name: string, settings: number, needs: Stage[], inputs: string[] = [], stageVersion = 1) => new Stage(output, {
    name, version: stageVersion, settings, needs, inputs,
    run: async ({ folder }) => {
      ran.push(name)
      writeFileSync(join(folder, 'out.txt'), `${name} ${settings}`)
      return { value: settings }
    },
  })
  const a = stage('first', first, [], [input], version), b = stage('second', second, [a])
  return [a, b, stage('other', 1, [])]
}

const options = { get signal() { return new AbortController().signal }, log: () => {} }

test('a second run does nothing, and its results are read again', async t => {
  const output = temporary(t), ran: string[] = []
  const outcomes = await runStages(graph(output, ran), options)
  assert.deepEqual(outcomes.map(outcome => outcome.cached), [false, false, false])
  const again = graph(output, ran)
  assert.deepEqual((await runStages(again, options)).map(outcome => outcome.cached), [true, true, true])
  assert.deepEqual(ran, ['first', 'second', 'other'])
  assert.deepEqual(again[0]!.result, { value: 1 })
  assert.equal(readFileSync(join(output, 'second', 'out.txt'), 'utf8'), 'second 1')
})

test('a change redoes only what depends on it', async t => {
  const output = temporary(t)
  const after = async (settings: Settings) => {
    const ran: string[] = []
    await runStages(graph(output, ran, settings), options)
    return ran
  }
  await after({})
  assert.deepEqual(await after({ second: 2 }), ['second'])
  assert.deepEqual(await after({ first: 2 }), ['first', 'second'])
  assert.deepEqual(await after({ version: 2 }), ['first', 'second'])
  assert.deepEqual(await after({ input: 'b' }), ['first', 'second'])
  assert.deepEqual(await after({}), [], 'a setting changed back finds the earlier result')
  assert.match(readlinkSync(join(output, 'first')), /^stages\/first-[0-9a-f]{12}$/)
})

test('a failed stage leaves nothing but the stages before it', async t => {
  const output = temporary(t), ran: string[] = []
  const stages = graph(output, ran)
  const bad = new Stage(output, {
    name: 'bad', version: 1, settings: null, needs: [stages[0]!],
    run: async ({ folder }) => { writeFileSync(join(folder, 'half'), ''); throw new NichelmError('INPUT', 'no') },
  })
  await assert.rejects(runStages([stages[0]!, bad, stages[1]!], options), /no/)
  assert.equal(existsSync(bad.folder), false)
  await runStages(stages, options)
  assert.deepEqual(ran, ['first', 'second', 'other'])
})

test('a stage cut short is removed, unless it can be continued', async t => {
  const output = temporary(t)
  const seen: (string[] | undefined)[] = []
  const training = () => new Stage(output, {
    name: 'training', version: 1, settings: null, resumes: true,
    run: async ({ folder }) => {
      seen.push(readdirSync(folder).filter(name => name !== 'started.json'))
      writeFileSync(join(folder, 'checkpoint'), '')
      if (seen.length === 1) throw new Error('killed')
      return null
    },
  })
  await assert.rejects(runStages([training()], options), /killed/)
  const left = join(output, 'stages', 'plain-0123456789ab')
  mkdirSync(left)
  writeFileSync(join(left, 'half'), '')
  await runStages([training()], options)
  assert.deepEqual(seen, [[], ['checkpoint']])
  assert.equal(existsSync(left), false)
  assert.equal(existsSync(join(output, 'training', 'started.json')), false)
})

test('a signal stops before the next stage with INTERRUPTED', async t => {
  const output = temporary(t), ran: string[] = [], controller = new AbortController()
  const stages = graph(output, ran)
  await assert.rejects(
    runStages(stages, { signal: controller.signal, log: () => {}, onEnd: () => controller.abort() }),
    (error: unknown) => error instanceof NichelmError && error.code === 'INTERRUPTED')
  assert.deepEqual(ran, ['first'])
})

test('canonical text ignores the order of keys and what is undefined', () => {
  assert.equal(canonical({ b: 1, a: [{ d: null, c: undefined }] }), canonical({ a: [{ d: null }], b: 1 }))
  assert.notEqual(canonical({ a: 1 }), canonical({ a: '1' }))
})

test('fingerprints follow the content, not the time of change', async t => {
  const folder = temporary(t), file = join(folder, 'text'), store = join(folder, 'files.json')
  writeFileSync(file, 'one')
  const fingerprints = new Fingerprints(store)
  const one = await fingerprints.of(file)
  fingerprints.save()
  utimesSync(file, 1, 1)
  assert.equal(await new Fingerprints(store).of(file), one)
  writeFileSync(file, 'two')
  assert.notEqual(await new Fingerprints(store).of(file), one)
  writeFileSync(store, '{broken')
  writeFileSync(file, 'one')
  assert.equal(await new Fingerprints(store).of(file), one)
  await assert.rejects(fingerprints.of(join(folder, 'missing')), (error: unknown) => error instanceof NichelmError && error.code === 'INPUT')
})
