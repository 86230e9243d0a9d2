import assert from 'node:assert/strict'
import { test } from 'node:test'
import { availableThreads } from '../../bindings/index.js'
import { nichelm } from './commandLine.js'

const WITH_THREADS = [['tokenizer', 'train', '--text', 'nowhere.txt', '--into', 'nowhere'], ['bench', 'matmul'], ['bench', 'tokenizer'], ['bench', 'kmeans'], ['bench', 'train', '--model', 'nano']]

for (const command of WITH_THREADS) {
  test(`${command.slice(0, 2).join(' ')} refuses no threads, and more than there are cores`, async () => {
    for (const [given, message] of [['5000', /--threads 5000: this process may use \d+ cores?/], ['0', /--threads 0: must be a whole number of threads from 1 on, or all/]] as const) {
      const { code, err } = await nichelm([...command, '--threads', given])
      assert.equal(code, 2, err)
      assert.match(err, message)
      assert.match(err, /Give 1 to \d+, or all/)
    }
  })
}

test('--threads is a whole number or all', async () => {
  const matmul = ['bench', 'matmul', '--m', '8', '--n', '8', '--k', '8', '--steps', '1', '--json']
  for (const given of [['many'], [''], ['1.5'], ['-1'], ['1', '--threads', '1']]) {
    const { code, err } = await nichelm([...matmul, '--threads', ...given])
    assert.equal(code, 2, `${given}: ${err}`)
    assert.match(err, /--threads/, `${given}`)
  }
  for (const given of [[], ['--threads', 'all']]) {
    const { code, out, err } = await nichelm([...matmul, ...given])
    assert.equal(code, 0, err)
    assert.equal((JSON.parse(out) as { threads: number }).threads, availableThreads())
  }
})

test('an instruction set that cannot be had is told with the name of the variable', async () => {
  const before = process.env['NICHELM_ISA']
  process.env['NICHELM_ISA'] = 'abacus'
  try {
    const { code, err } = await nichelm(['bench', 'matmul', '--m', '8', '--n', '8', '--k', '8'])
    assert.equal(code, 2, err)
    assert.match(err, /NICHELM_ISA: unknown instruction set 'abacus'; there are portable, avx2, avx512, avx512bf16/)
  } finally {
    if (before === undefined) delete process.env['NICHELM_ISA']
    else process.env['NICHELM_ISA'] = before
  }
})

test('doctor names cores, quota and instruction set', async () => {
  const { out } = await nichelm(['doctor'])
  assert.match(out, /cores: \d+ of \d+, .*affinity.*, .*cgroup quota/)
  assert.match(out, /instruction set: \w+.*; this CPU has portable/)
})
