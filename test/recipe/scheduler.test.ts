import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { NichelmError } from '../../src/base/errors.js'
import { DryRun, Scheduler, type SchedulerOptions } from '../../src/recipe/scheduler.js'
import { Stage, type StageDefinition } from '../../src/recipe/stage.js'

/** Stages that note when they begin. */
function maker(t: TestContext) {
  const output = mkdtempSync(join(tmpdir(), 'nichelm-scheduler-')), began: string[] = []
  t.after(() => rmSync(output, { recursive: true, force: true }))
  const stage = (name: string, needs: Stage[] = [], more: Partial<StageDefinition> = {}) => new Stage(output, {
    name, version: 1, settings: null, needs, planned: name, ...more,
    run: async context => {
      began.push(name)
      return more.run ? more.run(context) : name
    },
  })
  const scheduler = (more: Partial<SchedulerOptions> = {}) => new Scheduler({ signal: new AbortController().signal, log: () => {}, ...more })
  return { began, stage, scheduler }
}

test('text first, then the lowest order; what a stage needs comes with it', async t => {
  const { began, stage, scheduler } = maker(t), all = scheduler()
  const shared = stage('shared'), first = stage('first', [shared]), late = stage('late'), text = stage('text', [], { early: true })
  await Promise.all([all.at(5).get(late), all.at(3).get(shared), all.at(9).get(text), all.at(1).get(first)])
  assert.deepEqual(began, ['text', 'shared', 'first', 'late'])
})

test('who goes on after a stage is not overtaken by those of a higher order', async t => {
  const { began, stage, scheduler } = maker(t), all = scheduler()
  const chain = async (order: number): Promise<void> => { for (const part of ['a', 'b', 'c']) await all.at(order).get(stage(`${part}${order}`)) }
  await Promise.all([chain(2), chain(0), chain(1)])
  assert.deepEqual(began, ['a0', 'b0', 'c0', 'a1', 'b1', 'c1', 'a2', 'b2', 'c2'])
})

test('a stage that several ask for is made once', async t => {
  const { began, stage, scheduler } = maker(t), all = scheduler({ jobs: 2 })
  const results = await Promise.all([0, 1, 2].map(order => all.at(order).get(stage('one'))))
  assert.deepEqual([began, results], [['one'], ['one', 'one', 'one']])
})

test('an error stops what runs and what waits; one that is tolerated only those who need it', async t => {
  const { began, stage, scheduler } = maker(t), controller = new AbortController()
  const failing = stage('failing', [], { run: async () => { throw new NichelmError('DIVERGED', 'up') } })
  const running = stage('running', [], { run: ({ signal }) => new Promise((_, refuse) => signal.addEventListener('abort', () => refuse(new NichelmError('INTERRUPTED', 'saved')))) })
  const all = scheduler({ jobs: 2, signal: controller.signal })
  const told = await Promise.allSettled([all.at(0).get(running), all.at(1).get(failing), all.at(2).get(stage('waiting'))])
  assert.deepEqual(told.map(one => one.status === 'rejected' && (one.reason as NichelmError).code), ['INTERRUPTED', 'DIVERGED', 'DIVERGED'])
  assert.match(String(all.failure), /up/)
  const tolerant = scheduler({ tolerates: error => error.code === 'DIVERGED' })
  const after = await Promise.allSettled([tolerant.at(0).get(stage('needs it', [failing])), tolerant.at(1).get(stage('other'))])
  assert.deepEqual([after.map(one => one.status), tolerant.failure], [['rejected', 'fulfilled'], undefined])
  assert.deepEqual(began, ['running', 'failing', 'failing', 'other'])
})

test('a signal refuses what waits', async t => {
  const { began, stage, scheduler } = maker(t), controller = new AbortController(), all = scheduler({ signal: controller.signal, onEnd: () => controller.abort() })
  const told = await Promise.allSettled([all.at(0).get(stage('one')), all.at(1).get(stage('two'))])
  assert.deepEqual([began, told.map(one => one.status)], [['one'], ['fulfilled', 'rejected']])
  assert.equal((all.failure as NichelmError).code, 'INTERRUPTED')
})

test('a dry run names each stage once, after what it needs, and takes what is there', async t => {
  const { began, stage, scheduler } = maker(t), there = stage('there', [], { run: async () => 'found' }), missing = stage('missing', [there])
  await scheduler().at(0).get(there)
  const run = new DryRun()
  assert.deepEqual([await run.at().get(missing), await run.at().get(there)], ['missing', 'found'])
  assert.deepEqual([run.stages.map(one => one.name), began], [['there', 'missing'], ['there']])
})
