import { NichelmError } from '../base/errors.js'
import { dropUnused, fuse } from './fuse.js'
import { checkOps, type Node } from './op.js'
import { aligned, planMemory } from './plan.js'
import { recompute } from './recompute.js'
import { BYTES, type Tensor } from './tensor.js'

/** Places of persistent tensors, in bytes from the arena's start; programs that share an arena share one of these. */
export class Layout {
  readonly #offsets = new Map<Tensor, number>()
  bytes = 0

  /** Gives a persistent tensor a place if it has none. Views need none of their own. */
  place(...tensors: Tensor[]): void {
    for (const tensor of tensors) {
      const root = tensor.view?.of ?? tensor
      if (this.#offsets.has(root)) continue
      this.#offsets.set(root, this.bytes)
      this.bytes += aligned(Math.max(1, root.bytes))
    }
  }

  /** Byte offset of a persistent tensor or a view of one. */
  offset(tensor: Tensor): number {
    const root = this.#offsets.get(tensor.view?.of ?? tensor)
    if (root === undefined) throw new NichelmError('INTERNAL', `${tensor} has no place in the arena`)
    return root + (tensor.view?.offset ?? 0) * BYTES[tensor.dtype]
  }
}

/**
 * A program before it has addresses: its calls in order, and the temporary memory they need; `liveBytes`: what is alive at once at the most, which no plan can
 * do with less than. FLOPs are those of the model: what is computed again does not count.
 */
export interface Lowered { nodes: Node[]; temporaryBytes: number; liveBytes: number; flops: number; text(layout: Layout): string }

/** Joins, prunes and plans a trace; `text` then writes it out for the addon, its temporary memory right behind the layout's. */
export function lower(trace: readonly Node[], layout: Layout): Lowered {
  checkOps()
  const nodes = dropUnused(recompute(dropUnused(fuse(dropUnused(trace)))))
  const plan = planMemory(nodes)
  for (const node of nodes)
    for (const tensor of [...Object.values(node.operands), ...Object.values(node.outputs)]) if (tensor?.persistent) layout.place(tensor)
  return {
    nodes,
    temporaryBytes: plan.bytes,
    liveBytes: plan.live,
    flops: nodes.reduce((sum, node) => sum + (node.again ? 0 : (node.op.flops?.(node) ?? 0)), 0),
    text: (placed) => {
      const operand = (tensor: Tensor): string => {
        const offset = tensor.persistent ? placed.offset(tensor) : plan.offsets.get(tensor)
        if (offset === undefined) throw new NichelmError('INTERNAL', `${tensor} is used before it is made`)
        return `${tensor.persistent ? offset : placed.bytes + offset}:${tensor.dtype}:${(tensor.shape.length ? tensor.shape : [1]).join(',')}`
      }
      return ['nichelm-program 1', ...nodes.map((node) => `${node.op.name} ${fieldsOf(node, operand)}`), ''].join('\n')
    },
  }
}

function fieldsOf(node: Node, operand: (tensor: Tensor) => string): string {
  return Object.entries(node.op.fields).map(([name, kind]) => {
    if (kind === 'bool') return `${name}=${node.attributes[name] ? 1 : 0}`
    if (kind === 'int' || kind === 'float') return `${name}=${Number(node.attributes[name])}`
    const tensor = node.operands[name] ?? node.outputs[name]
    if (tensor) return `${name}=${operand(tensor)}`
    if (kind.endsWith('?')) return `${name}=-`
    throw new NichelmError('INTERNAL', `${node.op.name}: the operand '${name}' is missing`)
  }).join(' ')
}
