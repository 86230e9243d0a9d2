import { defineOp, fits, type Node } from '../op.js'
import { like, spec, type Tensor } from '../tensor.js'

const product = ({ operands: { x, weight } }: Node): number => 2 * x!.rows * x!.width * weight!.rows

const call = defineOp('linear_cross_entropy', {
  fields: { x: 'in', weight: 'in', targets: 'in', token_weights: 'in', nll: 'out', loss: 'out' },
  outputs: ({ x, weight, targets, token_weights }) => {
    fits(x!.width === weight!.width && x!.dtype === weight!.dtype, 'linear_cross_entropy', `${x} and ${weight} do not fit each other`)
    fits(targets!.size === x!.rows && token_weights!.size === x!.rows, 'linear_cross_entropy', `${targets} and ${token_weights} do not fit ${x}`)
    return { nll: spec('f32', x!.rows), loss: spec('f32', 1) }
  },
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
