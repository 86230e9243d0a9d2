import { ops, type Node } from './op.js'
import type { Tensor } from './tensor.js'

/** Calls that use each tensor as an operand. */
export function usersOf(nodes: readonly Node[]): Map<Tensor, Node[]> {
  const users = new Map<Tensor, Node[]>()
  for (const node of nodes)
    for (const tensor of Object.values(node.operands)) if (tensor) users.set(tensor, [...(users.get(tensor) ?? []), node])
  return users
}

/** Drops calls that nothing needs: without effect on a persistent tensor, and with no output that a kept call uses; and optional results that nothing reads. */
export function dropUnused(nodes: readonly Node[]): Node[] {
  const needed = new Set<Tensor>(), kept: Node[] = []
  for (const node of [...nodes].reverse()) {
    const effects = Object.keys(node.operands).some((name) => /^(inout|accumulate)/.test(node.op.fields[name]!)) || Object.values(node.outputs).some((t) => t.persistent)
    if (node.replaced || !(effects || Object.values(node.outputs).some((t) => needed.has(t)))) continue
    for (const tensor of Object.values(node.operands)) if (tensor) needed.add(tensor)
    const outputs = Object.entries(node.outputs), read = outputs.filter(([name, tensor]) => node.op.fields[name] !== 'out?' || tensor.persistent || needed.has(tensor))
    kept.push(read.length === outputs.length ? node : { ...node, outputs: Object.fromEntries(read) })
  }
  return kept.reverse()
}

/** The product that made a tensor, if nothing else but `user` uses it and it can still take the operand `field`. */
function absorbable(tensor: Tensor | undefined, op: string, fields: string[], users: Map<Tensor, Node[]>, user: Node): Node | undefined {
  const producer = tensor?.producer
  if (!producer || producer.op.name !== op || tensor.persistent || fields.some((field) => producer.operands[field] || producer.outputs[field])) return undefined
  return users.get(tensor)?.every((other) => other === user) && users.get(tensor)?.length === 1 ? producer : undefined
}

/**
 * Joins calls into the epilogues that kernels offer:
 * - gelu or swiglu after a product (keeping the value before it where the backward needs it), and their gradients after a product (swiglu's in bf16
 *   alone: in f32 the wider rows that the product would write cost more than a pass over them);
 * - an addition after a product (its residual operand), and after a norm's gradient.
 * A joined call stands where the second of the two stood, so everything it needs is there.
 */
export function fuse(nodes: readonly Node[]): Node[] {
  const users = usersOf(nodes)
  const removed = new Set<Node>()
  const result: Node[] = []
  const replace = (producer: Node, node: Node, joined: Node): void => {
    removed.add(producer)
    if (node.backward) joined.backward = true
    if (node.stretch && node.stretch === producer.stretch) joined.stretch = node.stretch
    for (const tensor of Object.values(joined.outputs)) if (!tensor.persistent) tensor.producer = joined
    for (const tensor of Object.values(joined.operands)) if (tensor) users.set(tensor, (users.get(tensor) ?? []).map((user) => (user === node || user === producer ? joined : user)))
    result.push(joined)
  }
  for (const node of nodes) {
    const joined = join(node, users)
    if (joined) replace(joined.producer, node, joined.node)
    else result.push(node)
  }
  return result.filter((node) => !removed.has(node))
}

function join(node: Node, users: Map<Tensor, Node[]>): { producer: Node; node: Node } | undefined {
  const { operands, outputs } = node
  if (node.op.name === 'gelu') {
    const x = operands.x!
    const producer = x.producer
    if (producer?.op.name !== 'matmul' || producer.attributes.gelu || producer.operands.residual || producer.operands.gelu_of || x.persistent) return undefined
    const keep = users.get(x)!.length > 1
    return {
      producer,
      node: { op: producer.op, operands: producer.operands, attributes: { ...producer.attributes, gelu: true }, outputs: { c: outputs.y!, ...(keep ? { pre: x } : {}) } },
    }
  }
  if (node.op.name === 'gelu_gradient') {
    const producer = absorbable(operands.dy, 'matmul', ['gelu_of', 'residual', 'bias', 'pre'], users, node)
    if (!producer || producer.attributes.gelu) return undefined
    return { producer, node: { op: producer.op, operands: { ...producer.operands, gelu_of: operands.x }, attributes: producer.attributes, outputs: { c: outputs.dx! } } }
  }
  if (node.op.name === 'swiglu') {
    const x = operands.x!, producer = x.producer
    if (producer?.op.name !== 'matmul' || producer.attributes.gelu || producer.attributes.transpose_a || producer.operands.residual || producer.operands.gelu_of || x.dtype !== producer.operands.a!.dtype || x.persistent) return undefined
    const { a, b, bias } = producer.operands, keep = users.get(x)!.length > 1
    return { producer, node: { op: ops().get('matmul_swiglu')!, operands: { a, b, bias }, attributes: { transpose_b: producer.attributes.transpose_b! }, outputs: { c: outputs.y!, ...(keep ? { pre: x } : {}) } } }
  }
  if (node.op.name === 'swiglu_gradient') {
    const producer = absorbable(operands.dy, 'matmul', ['gelu_of', 'residual', 'bias', 'pre'], users, node)
    if (!producer || producer.attributes.gelu || producer.attributes.transpose_a || operands.dy!.dtype !== producer.operands.a!.dtype || operands.dy!.dtype !== 'bf16') return undefined
    const { a, b } = producer.operands
    return { producer, node: { op: ops().get('matmul_swiglu_gradient')!, operands: { a, b, x: operands.x }, attributes: { transpose_b: producer.attributes.transpose_b! }, outputs: { dx: outputs.dx! } } }
  }
  if (node.op.name === 'add') {
    for (const [mine, other] of [[operands.a, operands.b], [operands.b, operands.a]]) {
      const product = absorbable(mine, 'matmul', ['residual'], users, node)
      if (product) return { producer: product, node: { op: product.op, operands: { ...product.operands, residual: other }, attributes: product.attributes, outputs: { ...product.outputs, c: outputs.y! } } }
      for (const op of ['layer_norm_gradient', 'rms_norm_gradient']) {
        const norm = absorbable(mine, op, ['residual'], users, node)
        if (norm) return { producer: norm, node: { op: norm.op, operands: { ...norm.operands, residual: other }, attributes: norm.attributes, outputs: { dx: outputs.y! } } }
      }
    }
  }
  return undefined
}
