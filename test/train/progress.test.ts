import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { ProgressDisplay, progressLine, type TrainProgress } from '../../src/train/index.js'

const progress = (step: number, changes: Partial<TrainProgress> = {}): TrainProgress => ({ step, steps: 4, loss: 2.5, tokens: 100 * step, tokensPerSecond: 1234, flopsPerSecond: 5e9, remaining: 65 * (4 - step), ...changes })
const validation = { nll: 2.25, perplexity: 9.49, bitsPerByte: 1, targets: 10, flops: 0 }

test('where the stream is no terminal, an evaluation has a line of its own and says only what is new', () => {
  let text = ''
  const stream = new Writable({ write: (part, _, done) => { text += part; done() } }) as unknown as NodeJS.WriteStream
  using display = new ProgressDisplay({ label: 'train', peak: 1e10, stream, every: 1000 })
  for (const step of [1, 2]) display.show(progress(step))
  display.show(progress(2, { validation, flopsPerSecond: 0 }))
  for (const step of [3, 4]) display.show(progress(step))
  display.show(progress(4, { validation, flopsPerSecond: 0 }))
  assert.deepEqual(text.split('\n'), [
    'train: step 1/4, loss 2.500, 3m15s left, 1,234 tokens/s, 50% of peak',
    'train: step 2/4, validation 2.250',
    'train: step 4/4, loss 2.500, 1,234 tokens/s, 50% of peak',
    'train: step 4/4, validation 2.250',
    '',
  ])
})

test('on a terminal a bar is drawn over, and goes when it is disposed', () => {
  let text = ''
  const stream = Object.assign(new Writable({ write: (part, _, done) => { text += part; done() } }), { isTTY: true, columns: 60 }) as unknown as NodeJS.WriteStream
  {
    using display = new ProgressDisplay({ label: 'train', stream })
    for (const step of [1, 2, 4]) display.show(progress(step))
  }
  // Step 2 comes too soon after step 1 to be drawn.
  const drawn = (line: string) => `\r${line}\x1b[K`
  assert.equal(text, `${drawn('train [███░░░░░░░] 1/4, loss 2.500, 3m15s left')}${drawn('train [██████████] 4/4, loss 2.500, 1,234 tokens/s')}\r\x1b[K`)
  text = ''
  new ProgressDisplay({ label: 'train', stream })[Symbol.dispose]()
  assert.equal(text, '', 'nothing was drawn, so nothing is to be taken away')
})

test('a bar fits its terminal and leaves out the least important', () => {
  const facts = ['loss 2.500', '3m15s left', 'validation 2.250', '1,234 tokens/s', '50% of peak']
  assert.equal(progressLine(120, 'train', 1, 4, facts), `train [${'█'.repeat(6)}${'░'.repeat(18)}] 1/4, ${facts.join(', ')}`)
  assert.equal(progressLine(50, 'train', 1, 4, facts), `train [${'█'.repeat(3)}${'░'.repeat(7)}] 1/4, loss 2.500, 3m15s left`)
  fc.assert(fc.property(fc.integer({ min: 1, max: 150 }), fc.integer({ min: 0, max: 4 }), (columns, step) => progressLine(columns, 'pretrain-slm-is-law', step, 4, facts).length <= columns))
})
