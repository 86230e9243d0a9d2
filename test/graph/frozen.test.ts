import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Device, type NumericArray } from '../../bindings/index.js'
import { add, embedding, layerNorm, linearCrossEntropy, matmul, rmsNorm, scale } from '../../src/graph/ops/index.js'
import { persistent, type Tensor } from '../../src/graph/tensor.js'
import { deviates, relativeError, runTrace, trainable } from './support.js'

const TOKENS = 12, WIDTH = 8, VOCABULARY = 11
const SHAPES = { tokens: [VOCABULARY, WIDTH], positions: [TOKENS, WIDTH], gain: [WIDTH], bias: [WIDTH], product: [WIDTH, WIDTH], rms: [WIDTH], head: [VOCABULARY, WIDTH] }
type Name = keyof typeof SHAPES
const names = Object.keys(SHAPES) as Name[]
const values = Object.fromEntries(names.map((name, i) => [name, deviates(SHAPES[name].reduce((a, b) => a * b), i + 1, name === 'gain' || name === 'rms' ? 1 : 0.5)])) as Record<Name, Float32Array<ArrayBuffer>>

/** A small network with every op whose parameters may be frozen. Gradients of those that are not, and the loss. */
async function run(device: Device, free: readonly Name[]): Promise<{ loss: number; gradients: Map<Name, Float32Array>; text: string[] }> {
  const p = Object.fromEntries(names.map((name) => [name, free.includes(name) ? trainable(name, SHAPES[name]) : persistent(name, 'f32', SHAPES[name])])) as Record<Name, Tensor>
  const places = (name: string): Tensor => persistent(name, 'i32', [2, TOKENS / 2])
  const tokens = places('tokens'), starts = places('starts'), targets = places('targets'), weights = persistent('weights', 'f32', [2, TOKENS / 2])
  const nll = persistent('nll', 'f32', [TOKENS]), loss = persistent('loss', 'f32', [1])
  const ids = Int32Array.from({ length: TOKENS }, (_, i) => (i * 7) % VOCABULARY)
  const inputs: [Tensor, NumericArray][] = [...names.map((name): [Tensor, NumericArray] => [p[name], values[name]]), [tokens, ids], [targets, ids.map((id) => (id + 3) % VOCABULARY)], [weights, new Float32Array(TOKENS).fill(1 / TOKENS)]]
  const body = (): void => {
    const x = embedding(tokens, starts, p.tokens, p.positions)
    const y = add(x, scale(matmul(layerNorm(x, p.gain, p.bias, 1e-5), p.product), -0.7))
    linearCrossEntropy(rmsNorm(y, p.rms, 1e-5), p.head, targets, weights, { nll, loss })
  }
  const result = await runTrace(device, body, inputs, [loss, ...free.map((name) => p[name].gradient!)], { gradient: true })
  return { loss: result.values[0]![0]!, gradients: new Map(free.map((name, i) => [name, result.values[i + 1]!])), text: result.nodes.map((node) => node.op.name) }
}

test('a parameter has the same gradient whichever others are frozen', async () => {
  using device = new Device({ threads: 1 })
  const all = await run(device, names)
  for (const free of [...names.map((name) => [name]), ['gain', 'head'], ['positions', 'bias'], ['tokens', 'rms']] as Name[][]) {
    const some = await run(device, free)
    assert.equal(some.loss, all.loss)
    for (const name of free) assert.deepEqual(some.gradients.get(name), all.gradients.get(name), `${name}, where only ${free.join(' and ')} can change`)
  }
})

test('what lies before the first free parameter has no backward calls', async () => {
  using device = new Device({ threads: 1 })
  const { text } = await run(device, ['rms'])
  assert.ok(!text.some((name) => ['embedding_gradient', 'layer_norm_gradient', 'matmul_accumulate'].includes(name)), text.join(' '))
})

test("gradients through scale are those of finite differences", async () => {
  using device = new Device({ threads: 1 })
  const { gradients } = await run(device, ['product'])
  const numeric = new Float32Array(values.product.length)
  for (let i = 0; i < numeric.length; i++) {
    const middle = values.product[i]!, at = async (x: number): Promise<number> => { values.product[i] = x; return (await run(device, [])).loss }
    numeric[i] = ((await at(middle + 0.03)) - (await at(middle - 0.03))) / 0.06
    values.product[i] = middle
  }
  assert.ok(relativeError(gradients.get('product')!, numeric) < 2e-3, `relative error ${relativeError(gradients.get('product')!, numeric)}`)
})
