import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Device, packageRoot, type NumericArray } from '../../bindings/index.js'
import { SafetensorsFile } from '../../src/base/safetensors.js'
import { linearDistillation, mostProbable, type TeacherTensors } from '../../src/graph/ops/index.js'
import { persistent, type Tensor } from '../../src/graph/tensor.js'
import { DEVICES } from '../base/devices.js'
import { relativeError, runTrace, trainable } from './support.js'

const identity = (size: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) ? 0 : 1))

/** The student's logits stand in the weight: x is the identity, so that logits = weightᵀ and their gradient = dweightᵀ. Here [rows, columns] becomes [columns, rows]. */
function transposed(values: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: values.length }, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!)
}

/** Vectors made by PyTorch in double precision; see test/golden/README.md. */
for (const [alpha, temperature] of [[0.5, 1], [0.9, 2]] as const)
  for (const form of ['logits', 'all probabilities'] as const) for (const { name: on, options, skip } of DEVICES)
    test(`golden distillation on ${on}, alpha ${alpha}, temperature ${temperature}, teacher as ${form}`, { skip }, async () => {
      using expected = new SafetensorsFile(join(packageRoot, 'test', 'golden', 'distill-tiny', 'expected.safetensors'))
      const [tokens, vocabulary] = expected.entry('student_logits').shape as [number, number]
      const student = expected.readF32('student_logits'), teacherLogits = expected.readF32('teacher_logits')
      const targets = Int32Array.from(expected.read('targets') as unknown as BigInt64Array, Number)
      const x = persistent('x', 'f32', [tokens, tokens]), weight = trainable('weight', [vocabulary, tokens])
      const tensor = { targets: persistent('targets', 'i32', [tokens]), weights: persistent('weights', 'f32', [tokens]), nll: persistent('nll', 'f32', [tokens]), loss: persistent('loss', 'f32', [1]) }
      let teacher: TeacherTensors, inputs: [Tensor, NumericArray][]
      if (form === 'logits') {
        const logits = persistent('teacher', 'f32', [tokens, vocabulary])
        teacher = { logits }
        inputs = [[logits, teacherLogits]]
      } else {
        const ids = persistent('ids', 'i32', [tokens, vocabulary]), probabilities = persistent('probabilities', 'f32', [tokens, vocabulary])
        const values = new Float32Array(tokens * vocabulary)
        for (let n = 0; n < tokens; n++) {
          const e = Array.from(teacherLogits.subarray(n * vocabulary, (n + 1) * vocabulary), (z) => Math.exp(z / temperature)), total = e.reduce((a, b) => a + b)
          e.forEach((value, v) => void (values[n * vocabulary + v] = value / total))
        }
        teacher = { ids, probabilities }
        inputs = [[ids, Int32Array.from(values, (_, i) => i % vocabulary)], [probabilities, values]]
      }
      using device = new Device(options)
      const { values: [loss, gradient], nodes } = await runTrace(device, () => linearDistillation(x, weight, tensor.targets, tensor.weights, teacher, { alpha, temperature }, { nll: tensor.nll, loss: tensor.loss }), [
        [x, identity(tokens)], [weight, transposed(student, tokens, vocabulary)], [weight.gradient!, new Float32Array(tokens * vocabulary)],
        [tensor.targets, targets], [tensor.weights, new Float32Array(tokens).fill(1 / tokens)], ...inputs,
      ], [tensor.loss, weight.gradient!], { gradient: true })
      assert.deepEqual(nodes.map((node) => node.op.name), ['linear_distillation_gradient'])
      const name = `alpha${alpha.toFixed(1)}.temperature${temperature.toFixed(1)}`
      const lossError = Math.abs(loss![0]! / expected.readF32(`loss.${name}`)[0]! - 1), gradientError = relativeError(transposed(gradient!, vocabulary, tokens), expected.readF32(`grad.${name}`))
      assert.ok(lossError < 1e-6, `loss is off by ${lossError}`)
      assert.ok(gradientError < 1e-5, `gradient is off by ${gradientError}`)
    })

test('a teacher that does not fit is told when the model is traced', async () => {
  using device = new Device({ threads: 1 })
  const x = persistent('x', 'f32', [4, 8]), weight = trainable('w', [10, 8]), ids = persistent('targets', 'i32', [4]), weights = persistent('weights', 'f32', [4])
  const into = { nll: persistent('nll', 'f32', [4]), loss: persistent('loss', 'f32', [1]) }
  await assert.rejects(runTrace(device, () => linearDistillation(x, weight, ids, weights, { logits: persistent('teacher', 'f32', [4, 9]) }, { alpha: 0.5, temperature: 1 }, into), [], []), /the teacher .* does not fit/)
})

test('the most probable tokens of logits are a teacher in the other form: all of them give the same loss', async () => {
  using expected = new SafetensorsFile(join(packageRoot, 'test', 'golden', 'distill-tiny', 'expected.safetensors'))
  const [tokens, vocabulary] = expected.entry('teacher_logits').shape as [number, number], alpha = 0.9, temperature = 2
  const logits = persistent('teacher', 'f32', [tokens, vocabulary])
  const into = { ids: persistent('ids', 'i32', [tokens, vocabulary]), probabilities: persistent('probabilities', 'f32', [tokens, vocabulary]), rest: persistent('rest', 'f32', [tokens]), lost: persistent('lost', 'f32', [tokens]) }
  const x = persistent('x', 'f32', [tokens, tokens]), weight = trainable('weight', [vocabulary, tokens])
  const targets = persistent('targets', 'i32', [tokens]), weights = persistent('weights', 'f32', [tokens]), nll = persistent('nll', 'f32', [tokens]), loss = persistent('loss', 'f32', [1])
  using device = new Device({ threads: 1 })
  const { values: [got, rest] } = await runTrace(device, () => {
    mostProbable(logits, temperature, into)
    linearDistillation(x, weight, targets, weights, into, { alpha, temperature }, { nll, loss })
  }, [
    [logits, expected.readF32('teacher_logits')], [x, identity(tokens)], [weight, transposed(expected.readF32('student_logits'), tokens, vocabulary)],
    [targets, Int32Array.from(expected.read('targets') as unknown as BigInt64Array, Number)], [weights, new Float32Array(tokens).fill(1 / tokens)],
  ], [loss, into.rest])
  assert.ok(Math.abs(got![0]! / expected.readF32('loss.alpha0.9.temperature2.0')[0]! - 1) < 1e-6)
  assert.deepEqual(rest, new Float32Array(tokens))
})
