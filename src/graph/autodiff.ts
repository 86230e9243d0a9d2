import { NichelmError } from '../base/errors.js'
import { traceInto, type GradientSink, type Node } from './op.js'
import { add } from './ops/index.js'
import type { Tensor } from './tensor.js'

/**
 * Adds to a trace the calls that carry the gradient of its losses back to every trainable parameter, where it is added to the
 * parameter's gradient tensor. Losses are the calls whose op is a root (linear_cross_entropy): their gradient with respect to
 * themselves is one, and several of them add up. Throws INTERNAL if an op on the way has no gradient.
 */
export function backward(nodes: Node[]): void {
  const forward = [...nodes]
  const gradients = new Map<Tensor, Tensor>()
  traceInto(nodes, () => {
    const sink: GradientSink = {
      needs: (operand): operand is Tensor => operand !== undefined && operand.requiresGradient && operand.producer !== undefined,
      add: (operand, gradient) => {
        const before = gradients.get(operand)
        gradients.set(operand, before ? add(before, gradient) : gradient)
      },
    }
    for (const node of [...forward].reverse()) {
      const outputs = Object.entries(node.outputs).map(([name, tensor]) => [name, gradients.get(tensor)] as const)
      if (!isRoot(node) && !outputs.some(([, gradient]) => gradient)) continue
      if (!node.op.gradient) throw new NichelmError('INTERNAL', `the op '${node.op.name}' has no gradient`)
      node.op.gradient(node, Object.fromEntries(outputs), sink)
    }
  })
  for (const node of nodes.slice(forward.length)) node.backward = true
}

/** A loss: it is differentiable, and its results are persistent. */
const isRoot = (node: Node): boolean =>
  node.op.gradient !== undefined && Object.values(node.outputs).every((t) => t.persistent) && Object.values(node.operands).some((t) => t?.requiresGradient)
