import { defineOp, fits, type Node } from '../op.js'
import { like, spec, type Tensor, type TensorSpec } from '../tensor.js'

const product = ({ operands: { x, weight } }: Node): number => 2 * x!.rows * x!.width * weight!.rows

/** What the losses of the output layer ask of their operands, alike; gives the types of their results. */
function outputLayer(op: string, { x, weight, targets, token_weights }: Record<string, Tensor>): Record<'nll' | 'loss', TensorSpec> {
  fits(x!.width === weight!.width && x!.dtype === weight!.dtype, op, `${x} and ${weight} do not fit each other`)
  fits(targets!.size === x!.rows && token_weights!.size === x!.rows, op, `${targets} and ${token_weights} do not fit ${x}`)
  return { nll: spec('f32', x!.rows), loss: spec('f32', 1) }
}

const call = defineOp('linear_cross_entropy', {
  fields: { x: 'in', weight: 'in', targets: 'in', token_weights: 'in', nll: 'out', loss: 'out' },
  outputs: (operands) => outputLayer('linear_cross_entropy', operands),
  flops: product,
  gradient: (node, _, sink) => {
    const { x, weight, targets, token_weights } = node.operands
    // The gradient op computes nll and loss as well, into the same places: the forward need not run.
    const { dx } = gradient({ x, weight, targets, token_weights, dweight: weight!.gradient, nll: node.outputs.nll, loss: node.outputs.loss })
    node.replaced = true
    if (sink.needs(x)) sink.add(x, dx!)
  },
})

const gradient = defineOp('linear_cross_entropy_gradient', {
  fields: { x: 'in', weight: 'in', targets: 'in', token_weights: 'in', nll: 'out', loss: 'out', dx: 'out', dweight: 'accumulate?' },
  outputs: ({ x }) => ({ nll: spec('f32', x!.rows), loss: spec('f32', 1), dx: like(x!) }),
  flops: (node) => (node.operands.dweight ? 3 : 2) * product(node),
})

/**
 * Output layer and loss in one, in chunks of tokens: logits = x · weightᵀ, nll = -log softmax at the target (nats), loss = sum of tokenWeights · nll.
 * x [..., width]; weight [vocabulary, width]; targets [...] i32; tokenWeights [...] f32, 0 where a token does not count.
 * The results go to persistent tensors: nll [tokens] f32 and loss [1] f32. loss is a root that `backward` takes.
 */
export function linearCrossEntropy(x: Tensor, weight: Tensor, targets: Tensor, tokenWeights: Tensor, into: { nll: Tensor; loss: Tensor }): void {
  call({ x, weight, targets, token_weights: tokenWeights, ...into })
}

const TEACHER = { teacher: 'in?', ids: 'in?', probabilities: 'in?' } as const

const distillation = defineOp('linear_distillation', {
  fields: { x: 'in', weight: 'in', targets: 'in', token_weights: 'in', ...TEACHER, nll: 'out', loss: 'out', alpha: 'float', temperature: 'float' },
  outputs: (operands) => {
    const { x, weight, teacher, ids, probabilities } = operands
    const given = teacher ? teacher.width === weight!.rows && !ids && !probabilities : ids !== undefined && ids.rows === x!.rows && ids.width === probabilities?.width
    fits(given && (teacher ?? probabilities)!.rows === x!.rows, 'linear_distillation', `the teacher (${teacher ?? `${ids}, ${probabilities}`}) does not fit ${x} and ${weight}`)
    return outputLayer('linear_distillation', operands)
  },
  flops: product,
  gradient: (node, _, sink) => {
    const { dx } = distillationGradient({ ...node.operands, dweight: node.operands.weight!.gradient, nll: node.outputs.nll, loss: node.outputs.loss }, node.attributes)
    node.replaced = true
    if (sink.needs(node.operands.x)) sink.add(node.operands.x, dx!)
  },
})

const distillationGradient = defineOp('linear_distillation_gradient', {
  fields: { x: 'in', weight: 'in', targets: 'in', token_weights: 'in', ...TEACHER, nll: 'out', loss: 'out', dx: 'out', dweight: 'accumulate?', alpha: 'float', temperature: 'float' },
  outputs: ({ x }) => ({ nll: spec('f32', x!.rows), loss: spec('f32', 1), dx: like(x!) }),
  flops: (node) => (node.operands.dweight ? 3 : 2) * product(node),
})

/** A teacher's next-token distributions: its logits [tokens, vocabulary] f32, or its k most probable tokens, ids [tokens, k] i32 with probabilities [tokens, k] f32 at the temperature. */
export type TeacherTensors = { logits: Tensor } | { ids: Tensor; probabilities: Tensor }

/**
 * linearCrossEntropy with a teacher (arXiv 1503.02531): loss = sum of tokenWeights · ((1 - alpha) nll + alpha temperature² KL(teacher || student)), both sides
 * softened by the temperature; nll stays the plain cross-entropy. Of a teacher that gives its k most probable tokens, the rest's mass is one outcome on both sides.
 */
export function linearDistillation(
  x: Tensor, weight: Tensor, targets: Tensor, tokenWeights: Tensor, teacher: TeacherTensors,
  settings: { alpha: number; temperature: number }, into: { nll: Tensor; loss: Tensor },
): void {
  const given = 'logits' in teacher ? { teacher: teacher.logits } : { ids: teacher.ids, probabilities: teacher.probabilities }
  distillation({ x, weight, targets, token_weights: tokenWeights, ...given, ...into }, { alpha: settings.alpha, temperature: settings.temperature })
}
