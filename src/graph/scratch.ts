import type { Node } from './op.js'
import { BYTES, type Tensor } from './tensor.js'

/** What the CPU's kernels take memory by: see `nichelm doctor`. */
export interface KernelFacts { threads: number; isa: string }

/** Bytes by what holds them: shared by all threads, and of each thread. Buffers grow to the most that any call wants, and are kept. */
interface Need { packed?: number; partial?: number; logits?: number; ownPacked?: number; ownSums?: number; own?: number }

const MIB = 2 ** 20, CHUNK_LOGITS = 8 * MIB, MOST_LOGITS = 32 * MIB, MANY_TOKENS = 1024, LEAST_CHUNK = 512, NARROW = 256, MOST_PACKED = 32 * MIB, GROUPED = 8 * MIB, BLOCK_STEPS = 512, DEEP_STEPS = 256, DEEP_BYTES = MIB / 2, DEEP_RESULT = 2 * MIB, SHARED_BLOCK = 1.25 * MIB, OWN_BLOCK = MIB / 4, FEW_ROWS = 64
/** Bytes from row to row that native/ops/matmul/apart.h leaves: an odd number of lines of 64. */
const apart = (bytes: number): number => 64 * (Math.ceil(bytes / 64) | 1)
const up = (x: number, step: number): number => Math.ceil(x / step) * step

/**
 * Bytes that the CPU's kernels take besides a program's arena: packed operands and sums of products, logits of a chunk of tokens, rows of attention.
 * A model of native/ops/matmul/plan.h, linear_cross_entropy/output_layer.h and attention/cpu.cpp, which a test compares with what they took.
 */
export function scratchBytes(nodes: Iterable<Node>, facts: KernelFacts): number {
  const most: Required<Need> = { packed: 0, partial: 0, logits: 0, ownPacked: 0, ownSums: 0, own: 0 }
  for (const node of nodes)
    for (const need of needsOf(node, facts)) for (const [name, bytes] of Object.entries(need) as [keyof Need, number][]) most[name] = Math.max(most[name], bytes)
  return most.packed + most.partial + most.logits + facts.threads * (most.ownPacked + most.ownSums + most.own)
}

function needsOf({ op, operands, outputs, attributes }: Node, { isa, threads }: KernelFacts): Need[] {
  const product = (groups: number, m: number, n: number, k: number, values: number): Need => needOfProduct({ groups, m, n, steps: Math.max(1, Math.ceil(k / values)), threads })
  // The wider operand of a weight's gradient is the second, where native/ops/matmul/cpu.cpp makes it so.
  const gradient = (groups: number, m: number, n: number, k: number, values: number): Need => {
    const turned = deepShape(m, n, Math.ceil(k / values)) ? m > n : m >= 4 * n && n <= NARROW
    return turned ? product(groups, n, m, k, values) : product(groups, m, n, k, values)
  }
  const values = (tensor: Tensor): number => (tensor.dtype === 'bf16' && isa === 'avx512bf16' ? 2 : 1)
  switch (op.name) {
    case 'matmul':
    case 'matmul_accumulate': {
      const a = operands.a!, b = operands.b!, c = operands.c ?? outputs.c!
      const k = attributes.transpose_a ? a.rows : a.width, n = c.width, groups = Math.max(b.shape.length === 3 && !attributes.transpose_a ? b.shape[0]! : 1, op.name === 'matmul_accumulate' && c.shape.length === 3 && attributes.transpose_a ? c.shape[0]! : 1)
      const stacked = op.name === 'matmul_accumulate' && groups > 1 && Boolean(attributes.transpose_a)
      const m = stacked ? c.shape[1]! : c.rows / groups, depth = stacked ? k / groups : k
      return [op.name === 'matmul_accumulate' && attributes.transpose_a && !attributes.transpose_b ? gradient(groups, m, n, depth, values(a)) : product(groups, m, n, depth, values(a))]
    }
    case 'matmul_swiglu':
    case 'matmul_swiglu_gradient': {
      const a = operands.a!, b = operands.b!, groups = b.shape.length === 3 ? b.shape[0]! : 1, n = attributes.transpose_b ? b.shape.at(-2)! : b.width, m = a.rows / groups
      return [m <= FEW_ROWS ? { partial: 4 * a.rows * n } : product(groups, m, n, a.width, values(a))]
    }
    case 'linear_cross_entropy':
    case 'linear_cross_entropy_gradient':
    case 'linear_distillation':
    case 'linear_distillation_gradient': {
      const { x, weight } = operands, tokens = x!.rows, width = x!.width, vocabulary = weight!.rows, withGradient = op.name.endsWith('gradient')
      const fitting = (bytes: number): number => Math.floor(bytes / (4 * vocabulary))
      const limit = Math.max(LEAST_CHUNK, fitting(CHUNK_LOGITS), Math.min(MANY_TOKENS, fitting(MOST_LOGITS))), chunk = up(Math.ceil(tokens / Math.max(1, Math.ceil(tokens / limit))), 16)
      const slopes = withGradient && x!.dtype === 'bf16' ? chunk * apart(2 * vocabulary) : 0
      const logits = 8 * tokens + chunk * apart(4 * vocabulary) + slopes + 2 * chunk * width * BYTES[x!.dtype]
      return [
        { logits, own: op.name.startsWith('linear_distillation') ? 8 * vocabulary : slopes ? 4 * vocabulary : 0 }, product(1, chunk, vocabulary, width, values(x!)),
        ...(withGradient ? [product(1, chunk, width, vocabulary, values(x!)), gradient(1, vocabulary, width, chunk, values(x!))] : []),
      ]
    }
    case 'attention':
    case 'attention_gradient': {
      const [, length, width] = operands.qkv!.shape as [number, number, number], head = up(width / (Number(attributes.heads) + 2 * Number(attributes.kv_heads)), 16)
      // Keys and values packed three ways, and the sums of their gradients; forward packs a block at a time.
      return op.name === 'attention' ? [] : [{ own: up(length, 32) * head * (3 * (4 / values(operands.qkv!)) + 8) }]
    }
    default: return []
  }
}

const deepShape = (m: number, n: number, steps: number): boolean => steps >= 4 * BLOCK_STEPS && 4 * Math.min(m, n) * DEEP_STEPS <= DEEP_BYTES && 4 * m * n <= DEEP_RESULT

function evenParts(tasks: number, threads: number): number {
  const least = Math.ceil(threads / tasks)
  for (let parts = least; parts < 4 * least; parts++) if ((tasks * parts) % threads === 0) return parts
  return 4 * least
}

/** One product of each of `groups`, [m, k] · [k, n]; `steps`: words along k, each of one f32 or two bf16. */
function needOfProduct({ groups, m, n, steps, threads }: { groups: number; m: number; n: number; steps: number; threads: number }): Need {
  const deep = deepShape(m, n, steps)
  const blocks = Math.ceil(steps / (deep ? DEEP_STEPS : BLOCK_STEPS)), blockSteps = Math.ceil(steps / blocks)
  const rows = up(m, 14), columns = up(n, 32), sharesRows = m <= n && 4 * rows * blockSteps <= SHARED_BLOCK && 4 * rows * steps <= MOST_PACKED
  const shared = sharesRows ? 4 * rows * steps : Math.min(4 * columns * steps, Math.max(MOST_PACKED, 4 * 32 * steps))
  const splits = Math.max(1, Math.min(Math.floor(16 / (Math.ceil(m / 112) * Math.ceil(n / 256))), blocks, Math.floor(MOST_PACKED / (4 * m * n))))
  const together = Math.min(groups, Math.max(1, Math.floor(GROUPED / shared))), tasks = together * splits, parts = evenParts(tasks, threads)
  const partial = splits > 1 ? together * splits * 4 * rows * columns : 0, ownSums = (taskRows: number, taskColumns: number): number => (blocks > 1 && splits === 1 ? 4 * taskRows * taskColumns : 0)
  if (deep && Math.ceil(threads / tasks) <= 2) {
    const ownRows = Math.min(rows, m > n ? up(OWN_BLOCK / (4 * blockSteps), 14) : rows), ownColumns = Math.min(columns, m > n ? columns : up(OWN_BLOCK / (4 * blockSteps), 32))
    return { partial, ownPacked: 4 * blockSteps * (ownRows + ownColumns), ownSums: ownSums(rows, columns) / parts }
  }
  const taskRows = Math.min(rows, up(OWN_BLOCK / (4 * blockSteps), 14))
  return {
    packed: together * shared, partial, ownPacked: sharesRows ? up(OWN_BLOCK, 4 * 32 * blockSteps) : 4 * taskRows * blockSteps,
    ownSums: sharesRows ? ownSums(rows, up(OWN_BLOCK / (4 * blockSteps), 32)) : ownSums(taskRows, columns),
  }
}
