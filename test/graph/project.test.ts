import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Arena, Device } from '../../bindings/index.js'
import { Layout, lower } from '../../src/graph/lower.js'
import { trace } from '../../src/graph/op.js'
import { basisAdamw, basisNorm, basisStep, globalNorm, project, projectGradient } from '../../src/graph/ops/index.js'
import { persistent, type Tensor } from '../../src/graph/tensor.js'

const k = 4, m = 2, h = 3, groups = 3, inputs = 5, outputs = 7, size = inputs * outputs
const close = (got: Float32Array, want: number[], what: string): void => want.forEach((value, i) => assert.ok(Math.abs(got[i]! - value) <= 1e-5 * (1 + Math.abs(value)), `${what}[${i}] is ${got[i]}, not ${value}`))
const sum = (count: number, term: (i: number) => number): number => Array.from({ length: count }, (_, i) => term(i)).reduce((a, b) => a + b, 0)

/** Runs what `body` records, from the given values, and gives back the values of every tensor it names. */
async function run(values: Map<Tensor, Float32Array | Int32Array>, body: () => void, ...results: Tensor[]): Promise<Float32Array[]> {
  const layout = new Layout()
  const lowered = lower(trace(body), layout)
  using device = new Device({ threads: 2 })
  using arena = new Arena(layout.bytes + lowered.temporaryBytes, device)
  for (const [tensor, data] of values) arena.write(layout.offset(tensor), data)
  using program = device.compile(arena, lowered.text(layout))
  await device.run(arena, [{ program }])
  return results.map((tensor) => {
    const into = new Float32Array(tensor.size)
    arena.read(layout.offset(tensor), into)
    return into
  })
}

function tensors() {
  const f32 = (name: string, ...shape: number[]): Tensor => persistent(name, 'f32', shape)
  return {
    experts: f32('experts', k, m), mix: f32('mix', m, h), basis: f32('basis', h, inputs, outputs), ids: persistent('ids', 'i32', [groups]),
    coefficients: f32('coefficients', groups, h), weights: f32('weights', groups, inputs, outputs), dweights: f32('dweights', groups, inputs, outputs),
    dexperts: f32('dexperts', k, m), dmix: f32('dmix', m, h), squares: f32('squares', 1), gradient: f32('gradient', 11), norm: f32('norm', 1), schedule: f32('schedule', 3),
    m: f32('m', h, inputs, outputs), v: f32('v', h, inputs, outputs),
  }
}
const wave = (tensor: Tensor, rate: number): [Tensor, Float32Array] => [tensor, Float32Array.from({ length: tensor.size }, (_, i) => Math.sin(rate * (i + 1)))]

test('a projection, its gradients and the update of its basis are those of the formulas', async () => {
  const t = tensors(), scale = 0.5, ids = [2, 0, 2]
  const values = new Map<Tensor, Float32Array | Int32Array>([wave(t.experts, 1.1), wave(t.mix, 0.7), wave(t.basis, 0.3), wave(t.dweights, 0.9), wave(t.gradient, 2), [t.ids, Int32Array.from(ids)], [t.schedule, Float32Array.of(0.01, 0.1, 0.05)]])
  const [E, M, T, dW] = [t.experts, t.mix, t.basis, t.dweights].map((tensor) => Array.from(values.get(tensor)!)) as [number[], number[], number[], number[]]
  const [coefficients, weights, dexperts, dmix, norm, basis, first] = await run(values, () => {
    project(t, scale, t)
    projectGradient(t, scale, t)
    basisNorm(t.dweights, t.coefficients, t.squares)
    const { clip } = globalNorm(t.gradient, 1, t.norm, t.squares)
    basisAdamw(t, clip, t.schedule, { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 })
  }, t.coefficients, t.weights, t.dexperts, t.dmix, t.norm, t.basis, t.m) as [Float32Array, Float32Array, Float32Array, Float32Array, Float32Array, Float32Array, Float32Array]

  const c = (g: number, r: number): number => scale * sum(m, (q) => E[ids[g]! * m + q]! * M[q * h + r]!)
  const dc = (g: number, r: number): number => scale * sum(size, (i) => dW[g * size + i]! * T[r * size + i]!)
  const dT = Array.from({ length: h * size }, (_, at) => sum(groups, (g) => c(g, Math.floor(at / size)) * dW[g * size + (at % size)]!))
  close(coefficients, Array.from({ length: groups * h }, (_, at) => c(Math.floor(at / h), at % h)), 'coefficients')
  close(weights, Array.from({ length: groups * size }, (_, at) => sum(h, (r) => c(Math.floor(at / size), r) * T[r * size + (at % size)]!)), 'weights')
  close(dexperts, Array.from({ length: k * m }, (_, at) => sum(groups, (g) => (ids[g] === Math.floor(at / m) ? sum(h, (r) => dc(g, r) * M[(at % m) * h + r]!) : 0))), 'dexperts')
  close(dmix, Array.from({ length: m * h }, (_, at) => sum(groups, (g) => E[ids[g]! * m + Math.floor(at / h)]! * dc(g, at % h))), 'dmix')
  const length = Math.sqrt(sum(11, (i) => Math.sin(2 * (i + 1)) ** 2) + sum(dT.length, (i) => dT[i]! ** 2))
  close(norm, [length], 'norm')
  close(first, dT.map((g) => 0.1 * (g / length)), 'm')
  close(basis, dT.map((g, i) => T[i]! * (1 - 0.001) - 0.01 * (g / length) / (Math.abs(g / length) + 1e-8)), 'basis')
})

test('the update with the next projection in one pass has the bits of one after the other', async () => {
  const t = tensors(), next = persistent('next', 'i32', [groups]), settings = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 }
  const values = new Map<Tensor, Float32Array | Int32Array>([
    wave(t.experts, 1.1), wave(t.mix, 0.7), wave(t.basis, 0.3), wave(t.dweights, 0.9), [t.ids, Int32Array.of(2, 0, 2)], [next, Int32Array.of(1, 2, 3)], [t.norm, Float32Array.of(0.5)], [t.schedule, Float32Array.of(0.01, 0.1, 0.05)],
  ])
  const results = [t.basis, t.m, t.v, t.coefficients, t.weights]
  const apart = await run(values, () => {
    project(t, 0.5, t)
    basisAdamw(t, t.norm, t.schedule, settings)
    project({ ...t, ids: next }, 0.5, t)
  }, ...results)
  const together = await run(values, () => {
    project(t, 0.5, t)
    basisStep({ ...t, ids: next }, 0.5, t, t.norm, t.schedule, settings)
  }, ...results)
  assert.deepEqual(together, apart)
  assert.ok(apart.at(-1)!.some((x) => x !== 0))
})

test('what does not fit a projection is told when it is traced', () => {
  const t = tensors()
  const told = (body: () => void, what: RegExp): void => assert.throws(() => trace(body), what)
  told(() => project({ ...t, mix: persistent('mix', 'f32', [3, 3]) }, 1, t), /do not share the size of an expert/)
  told(() => project({ ...t, mix: persistent('mix', 'f32', [2, 4]) }, 1, t), /number of basis matrices/)
  told(() => project({ ...t, ids: persistent('ids', 'i32', [2]) }, 1, t), /is not a matrix of basis/)
  told(() => project(t, 1, { ...t, coefficients: persistent('c', 'f32', [2]) }), /cannot take the result 'coefficients'/)
  told(() => projectGradient({ ...t, dweights: persistent('d', 'bf16', [3, 5, 7]) }, 1, t), /is not a matrix of basis/)
  told(() => projectGradient(t, 1, { ...t, dmix: t.dexperts }), /do not fit/)
  told(() => basisNorm(t.dweights, persistent('c', 'f32', [2, 3]), t.squares), /a row for each/)
  told(() => basisStep({ ...t, ids: persistent('ids', 'i32', [2]) }, 1, t, t.norm, t.schedule, { beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0 }), /do not fit dweights/)
  told(() => basisStep(t, 1, { ...t, weights: persistent('w', 'i32', [3, 5, 7]) }, t.norm, t.schedule, { beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0 }), /is not a matrix of basis/)
  told(() => basisAdamw({ ...t, basis: persistent('basis', 'f32', [3, 7, 5]) }, t.norm, t.schedule, { beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0 }), /does not fit/)
})
