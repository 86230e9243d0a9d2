import type { Node } from './op.js'
import { Tensor } from './tensor.js'

/**
 * Activation checkpointing (arXiv 1604.06174): values of a marked stretch (`stretch`) that only the stretch itself and the backward pass read are not kept;
 * the calls that make them run again before the backward call that reads one of them first. They are the same calls on the same operands, so every
 * gradient has the same bits. A trace without stretches, or without a backward pass, stays as it is.
 */
export function recompute(nodes: readonly Node[]): Node[] {
  const stretches = new Map<object, Node[]>(), home = new Map<Tensor, object>()
  for (const node of nodes) {
    if (node.backward || !node.stretch) continue
    stretches.set(node.stretch, [...(stretches.get(node.stretch) ?? []), node])
    for (const tensor of Object.values(node.outputs)) if (!tensor.persistent) home.set(tensor, node.stretch)
  }
  // What the forward pass goes on with elsewhere is there anyway until its last reader; it stays.
  for (const node of nodes) if (!node.backward) for (const tensor of Object.values(node.operands)) if (tensor && home.get(tensor) !== node.stretch) home.delete(tensor)

  const again = new Map<Tensor, Tensor>(), result: Node[] = []
  const mapped = (operands: Node['operands']): Node['operands'] => Object.fromEntries(Object.entries(operands).map(([name, tensor]) => [name, tensor && (again.get(tensor) ?? tensor)]))
  const repeat = (node: Node): Node => {
    const copy: Node = { ...node, operands: mapped(node.operands), outputs: {}, again: true }
    for (const [name, tensor] of Object.entries(node.outputs)) {
      const other = copy.outputs[name] = new Tensor(tensor, { producer: copy })
      if (home.has(tensor)) again.set(tensor, other)
    }
    return copy
  }
  for (const node of nodes) {
    if (!node.backward) {
      result.push(node)
      continue
    }
    for (const tensor of Object.values(node.operands)) {
      const stretch = tensor && home.get(tensor), calls = stretch && stretches.get(stretch)
      if (!calls) continue
      stretches.delete(stretch)
      for (const call of calls) if (!Object.values(call.outputs).some((output) => output.persistent)) result.push(repeat(call))
    }
    result.push({ ...node, operands: mapped(node.operands) })
  }
  return again.size ? result : [...nodes]
}
