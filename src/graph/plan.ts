import type { Node } from './op.js'
import type { Tensor } from './tensor.js'

/** Every address is a multiple of this: a cache line, and the widest vector. */
export const ALIGNMENT = 64
export const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT

/** Where each value of a program lies in its temporary memory, in bytes. `live`: the most that is alive at once, below which no plan gets. */
export interface Plan { offsets: Map<Tensor, number>; bytes: number; live: number }

/**
 * Gives every value of a program a place such that no two that are alive at once overlap: largest first, each at the lowest place
 * that is free for its whole life (greedy by size, as in "Efficient memory management for deep neural net inference", arXiv 2001.03288).
 */
export function planMemory(nodes: readonly Node[]): Plan {
  const lives = new Map<Tensor, { first: number; last: number }>()
  nodes.forEach((node, at) => {
    for (const tensor of Object.values(node.outputs)) if (!tensor.persistent) lives.set(tensor, { first: at, last: at })
    for (const tensor of Object.values(node.operands)) {
      const life = tensor && lives.get(tensor)
      if (life) life.last = at
    }
  })
  const change = new Float64Array(nodes.length + 1)
  for (const [tensor, { first, last }] of lives) {
    const size = aligned(Math.max(1, tensor.bytes))
    change[first]! += size
    change[last + 1]! -= size
  }
  let live = 0, now = 0
  for (const size of change) live = Math.max(live, now += size)
  const placed: { first: number; last: number; start: number; end: number }[] = []
  const offsets = new Map<Tensor, number>()
  let bytes = 0
  const bySize = [...lives].sort(([a, x], [b, y]) => b.bytes - a.bytes || x.first - y.first)
  for (const [tensor, life] of bySize) {
    const size = aligned(Math.max(1, tensor.bytes))
    const neighbours = placed.filter((other) => other.first <= life.last && life.first <= other.last).sort((a, b) => a.start - b.start)
    let start = 0
    for (const other of neighbours) {
      if (other.start - start >= size) break
      start = Math.max(start, other.end)
    }
    placed.push({ ...life, start, end: start + size })
    offsets.set(tensor, start)
    bytes = Math.max(bytes, start + size)
  }
  return { offsets, bytes, live }
}
