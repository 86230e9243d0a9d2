import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { usersOf } from '../../src/graph/fuse.js'
import { Layout, lower } from '../../src/graph/lower.js'
import { backward } from '../../src/graph/autodiff.js'
import { trace, type Node } from '../../src/graph/op.js'
import { planMemory } from '../../src/graph/plan.js'
import { matmul } from '../../src/graph/ops/index.js'
import { persistent, Tensor } from '../../src/graph/tensor.js'
import { modelConfig } from '../../src/model/index.js'
import { weightsOf } from '../../src/model/network.js'
import { Parameters, parameterSpecs } from '../../src/model/parameters.js'
import { rowTensors, transformerLoss } from '../../src/model/transformer.js'

test('no two values that are alive at once share memory', () => {
  fc.assert(fc.property(fc.array(fc.record({ size: fc.integer({ min: 0, max: 5000 }), reads: fc.array(fc.nat(), { maxLength: 3 }) }), { minLength: 1, maxLength: 40 }), (steps) => {
    const op = { name: 'any', fields: {} }
    const made: Tensor[] = []
    const nodes: Node[] = steps.map(({ size, reads }) => {
      const operands = Object.fromEntries(made.length ? reads.map((r, i) => [`x${i}`, made[r % made.length]!]) : [])
      const node: Node = { op, operands, attributes: {}, outputs: {} }
      made.push(node.outputs.y = new Tensor({ dtype: 'f32', shape: [size] }, { producer: node }))
      return node
    })
    const { offsets, bytes } = planMemory(nodes)
    const lives = made.map((tensor, first) => ({ tensor, first, last: Math.max(first, ...nodes.map((node, at) => (Object.values(node.operands).includes(tensor) ? at : -1))) }))
    for (const a of lives) {
      const start = offsets.get(a.tensor)!
      assert.equal(start % 64, 0)
      assert.ok(start + a.tensor.bytes <= bytes)
      for (const b of lives) {
        if (a === b || a.first > b.last || b.first > a.last) continue
        const other = offsets.get(b.tensor)!
        assert.ok(start + Math.max(1, a.tensor.bytes) <= other || other + Math.max(1, b.tensor.bytes) <= start, `${a.first}-${a.last} and ${b.first}-${b.last} overlap`)
      }
    }
  }))
})

const GATED = { norm: 'rms', positions: 'rotary', activation: 'swiglu', biases: false } as const
const configOf = (changes: object = {}): ReturnType<typeof modelConfig> => modelConfig('nano', 100, { layers: 1, width: 32, heads: 2, context: 16, ...changes })

function lossTrace(store: Parameters, config = configOf()): Node[] {
  const nodes = trace(() => transformerLoss(weightsOf(store), config, rowTensors(2, 16), { nll: persistent('nll', 'f32', [32]), loss: persistent('loss', 'f32', [1]) }))
  backward(nodes)
  return nodes
}
const parameters = (config = configOf(), copy = true): Parameters => new Parameters(parameterSpecs(config), { copy, gradient: true, moments: true })

test('a training step of GPT-2 has no call left that a kernel could take in', () => {
  const names = lowered(lossTrace(parameters())).map((node) => node.op.name)
  for (const name of ['add', 'gelu', 'gelu_gradient', 'linear_cross_entropy']) assert.ok(!names.includes(name), `${name} is still there: ${names.join(' ')}`)
  assert.equal(names.filter((name) => name === 'linear_cross_entropy_gradient').length, 1)
})

test('a training step with a gated linear unit keeps it, and in bf16 its gradient, in the products', () => {
  for (const bf16 of [true, false]) {
    const config = configOf(GATED), names = lowered(lossTrace(parameters(config, bf16), config)).map((node) => node.op.name)
    assert.ok(names.includes('matmul_swiglu') && !names.includes('swiglu'), names.join(' '))
    assert.equal(names.includes('matmul_swiglu_gradient'), bf16, names.join(' '))
    assert.equal(names.includes('swiglu_gradient'), !bf16, names.join(' '))
  }
})

test('every parameter receives a gradient, the tied table from both its uses', () => {
  const p = parameters()
  const nodes = lossTrace(p)
  const into = new Map<Tensor, number>()
  for (const node of nodes) for (const [name, tensor] of Object.entries(node.operands)) if (tensor && node.op.fields[name]?.startsWith('accumulate')) into.set(tensor, (into.get(tensor) ?? 0) + 1)
  for (const { name } of p.specs) assert.equal(into.get(p.get(name).gradient!), name === 'wte.weight' ? 2 : 1, name)
})

test('what nothing needs is left out', () => {
  const x = persistent('x', 'f32', [4, 8]), w = persistent('w', 'f32', [8, 8]), result = persistent('y', 'f32', [4, 8])
  const nodes = trace(() => {
    matmul(x, w)
    matmul(x, w, { into: result })
  })
  assert.equal(usersOf(nodes).get(x)!.length, 2)
  const kept = lowered(nodes)
  assert.equal(kept.length, 1)
  assert.equal(kept[0]!.outputs.c, result)
})

test('operands that do not fit are told when the model is traced', () => {
  assert.throws(() => trace(() => void matmul(persistent('x', 'f32', [4, 8]), persistent('w', 'f32', [9, 8]))), /do not share an inner size/)
  assert.throws(() => trace(() => void matmul(persistent('x', 'f32', [4, 8]), persistent('w', 'bf16', [8, 8]))), /different types/)
  assert.throws(() => matmul(persistent('x', 'f32', [4, 8]), persistent('w', 'f32', [8, 8])), /outside a trace/)
})

/** The calls that are left after joining and pruning. */
function lowered(nodes: Node[]): Node[] { return lower(nodes, new Layout()).nodes }
