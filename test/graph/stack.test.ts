import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Arena, Device } from '../../bindings/index.js'
import { backward } from '../../src/graph/autodiff.js'
import { Layout, lower } from '../../src/graph/lower.js'
import { trace } from '../../src/graph/op.js'
import { linearCrossEntropy, matmul, matmulAccumulate } from '../../src/graph/ops/index.js'
import { persistent, viewOf, type Tensor } from '../../src/graph/tensor.js'

const groups = 3, rows = 16, width = 16, inner = 32, vocabulary = 11

function parameter(name: string, ...shape: number[]): Tensor {
  const tensor = persistent(name, 'f32', shape)
  tensor.gradient = persistent(`gradient of ${name}`, 'f32', shape)
  tensor.requiresGradient = true
  return tensor
}

/** What a group sees of a tensor whose first axis is made of groups. */
function part(tensor: Tensor, group: number, shape: number[]): Tensor {
  const view = viewOf(tensor, group * (tensor.size / groups), shape)
  if (tensor.gradient) view.gradient = viewOf(tensor.gradient, group * (tensor.size / groups), shape)
  view.requiresGradient = tensor.requiresGradient
  return view
}

/** Loss and gradients of a small network whose second and third products have a weight for each group, in one product each or group by group. */
async function gradients(together: boolean): Promise<{ loss: number; shared: Float32Array; up: Float32Array; down: Float32Array; flops: number }> {
  const x = persistent('x', 'f32', [groups * rows, width]), targets = persistent('targets', 'i32', [groups * rows]), weights = persistent('weights', 'f32', [groups * rows])
  const shared = parameter('shared', width, width), up = parameter('up', groups, width, inner), down = parameter('down', groups, width, inner), table = parameter('table', vocabulary, width)
  const nll = persistent('nll', 'f32', [groups * rows]), losses = Array.from({ length: together ? 1 : groups }, (_, i) => persistent(`loss ${i}`, 'f32', [1]))
  const network = (rowsOf: (t: Tensor, width?: number) => Tensor, weight: (t: Tensor) => Tensor, loss: Tensor): void => {
    const hidden = matmul(matmul(rowsOf(x, width), shared), weight(up))
    linearCrossEntropy(matmul(hidden, weight(down), { transposeB: true }), table, rowsOf(targets), rowsOf(weights), { nll: rowsOf(nll), loss })
  }
  const nodes = trace(() => {
    if (together) return network((t) => t, (t) => t, losses[0]!)
    losses.forEach((loss, g) => network((t, columns) => part(t, g, columns ? [rows, columns] : [rows]), (t) => part(t, g, [width, inner]), loss))
  })
  backward(nodes)
  const layout = new Layout(), lowered = lower(nodes, layout)
  using device = new Device({ threads: 2 })
  using arena = new Arena(layout.bytes + lowered.temporaryBytes, device)
  ;[x, shared, up, down, table].forEach((tensor, i) => arena.write(layout.offset(tensor), Float32Array.from({ length: tensor.size }, (_, at) => Math.sin((i + 1) * 0.7 * (at + 1)))))
  arena.write(layout.offset(targets), Int32Array.from({ length: targets.size }, (_, i) => i % vocabulary))
  arena.write(layout.offset(weights), new Float32Array(weights.size).fill(1 / weights.size))
  using program = device.compile(arena, lowered.text(layout))
  await device.run(arena, [{ program }])
  const read = (tensor: Tensor): Float32Array => {
    const into = new Float32Array(tensor.size)
    arena.read(layout.offset(tensor), into)
    return into
  }
  return { loss: losses.reduce((sum, loss) => sum + read(loss)[0]!, 0), shared: read(shared.gradient!), up: read(up.gradient!), down: read(down.gradient!), flops: lowered.flops }
}

test('a stack of weights computes what a product for each group does, forward and backward', async () => {
  const [stacked, apart] = await Promise.all([gradients(true), gradients(false)])
  assert.ok(Math.abs(stacked.loss - apart.loss) < 1e-5)
  for (const name of ['shared', 'up', 'down'] as const) {
    assert.ok(apart[name].some((value) => Math.abs(value) > 1e-3))
    apart[name].forEach((value, i) => assert.ok(Math.abs(stacked[name][i]! - value) < 1e-5, `${name}[${i}] is ${stacked[name][i]}, not ${value}`))
  }
  assert.equal(stacked.flops, apart.flops)
})

test('stacks that do not fit are told when the model is traced', () => {
  const f32 = (...shape: number[]): Tensor => persistent('t', 'f32', shape)
  const told = (body: () => void, what: RegExp): void => assert.throws(() => trace(body), what)
  told(() => matmul(f32(7, 4), f32(2, 4, 3)), /do not split/)
  told(() => matmul(f32(8, 4), f32(2, 3, 4)), /do not share an inner size/)
  told(() => matmul(f32(8, 4), f32(1, 2, 4, 3)), /neither a matrix nor a stack/)
  told(() => matmulAccumulate(f32(7, 4), f32(7, 3), f32(2, 4, 3), { transposeA: true }), /do not split/)
  told(() => matmulAccumulate(f32(8, 4), f32(8, 3), f32(2, 3, 4), { transposeA: true }), /does not hold products/)
  assert.deepEqual(trace(() => void matmul(f32(2, 4, 4), f32(2, 3, 4), { transposeB: true }))[0]!.outputs.c!.shape, [2, 4, 3])
})
