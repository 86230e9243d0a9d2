import { NichelmError } from '../base/errors.js'
import { nativeOps, type FieldKind } from '../../bindings/index.js'
import { Tensor, type TensorSpec } from './tensor.js'

export type Operands = Record<string, Tensor | undefined>
export type Attributes = Record<string, number | boolean>

/** One call of an op in a trace. Outputs are values; inout and accumulate operands are effects on persistent tensors. */
export interface Node {
  readonly op: Op
  /** Every operand that is not an output, by name. */
  operands: Operands
  attributes: Attributes
  outputs: Record<string, Tensor>
  /** Set when another node computes its outputs as well, so that it need not run. */
  replaced?: boolean
  /** The marked stretch of the forward pass that it is in: see `recompute`. */
  stretch?: object
  /** Whether it is of the backward pass. */
  backward?: boolean
  /** Whether it makes again what was not kept: work that no count of the model's FLOPs knows. */
  again?: boolean
}

/** How a gradient rule hands on what it found. */
export interface GradientSink {
  /** Whether a gradient has to reach this operand. */
  needs(operand: Tensor | undefined): operand is Tensor
  /** Adds a contribution to the gradient of an operand. */
  add(operand: Tensor, gradient: Tensor): void
}

export interface OpRules {
  /** Operands and attributes with their kinds, as in the op's native header: checked against the addon. */
  fields: Record<string, FieldKind>
  /** Types and shapes of the outputs. Throws if the operands do not fit. */
  outputs?(operands: Record<string, Tensor>, attributes: Attributes): Record<string, TensorSpec>
  /** Records the calls that carry gradients from the outputs to the operands. */
  gradient?(node: Node, outputGradients: Record<string, Tensor | undefined>, sink: GradientSink): void
  /** FLOPs of one call by the usual count (a multiply and an add are two); element-wise work counts as none. */
  flops?(node: Node): number
}

export interface Op extends OpRules { name: string }

const table = new Map<string, Op>()
let active: Node[] | undefined, marked: object | undefined

/** Every op that is defined, by name. */
export const ops = (): ReadonlyMap<string, Op> => table

/**
 * Defines an op once for the whole process; the result records a call of it in the trace under way. A persistent tensor given under
 * an output's name takes that output.
 * Throws INTERNAL if the name is taken.
 */
export function defineOp(name: string, rules: OpRules): (operands: Operands, attributes?: Attributes) => Record<string, Tensor> {
  if (table.has(name)) throw new NichelmError('INTERNAL', `the op '${name}' is defined twice`)
  const op: Op = { name, ...rules }
  table.set(name, op)
  return (operands, attributes = {}) => record(op, operands, attributes)
}

function record(op: Op, given: Operands, attributes: Attributes): Record<string, Tensor> {
  if (!active) throw new NichelmError('INTERNAL', `the op '${op.name}' was called outside a trace`)
  const operands: Operands = {}, bound: Record<string, Tensor> = {}
  for (const [name, tensor] of Object.entries(given)) {
    if (!op.fields[name]) throw new NichelmError('INTERNAL', `${op.name} has no operand '${name}'`)
    if (tensor) (op.fields[name].startsWith('out') ? bound : operands)[name] = tensor
  }
  const node: Node = { op, operands, attributes, outputs: { ...bound }, ...(marked ? { stretch: marked } : {}) }
  const requires = op.gradient !== undefined && Object.entries(operands).some(([name, tensor]) => op.fields[name]?.startsWith('in') && tensor?.requiresGradient)
  for (const [name, spec] of Object.entries(op.outputs?.(given as Record<string, Tensor>, attributes) ?? {})) {
    const into = bound[name]
    if (into) fits(into.dtype === spec.dtype && into.size === spec.shape.reduce((n, m) => n * m, 1), op.name, `${into} cannot take the result '${name}'`)
    const output = into ?? new Tensor(spec, { producer: node })
    if (!into) output.requiresGradient = requires
    node.outputs[name] = output
  }
  active.push(node)
  return node.outputs
}

/** Runs a function over symbolic tensors and returns the calls it made, in order. */
export function trace(body: () => void): Node[] {
  const outer = active
  const nodes: Node[] = (active = [])
  try { body() } finally { active = outer }
  return nodes
}

/** Adds to a trace that was made before: what the body records goes to its end. */
export function traceInto(nodes: Node[], body: () => void): void {
  const outer = active
  active = nodes
  try { body() } finally { active = outer }
}

/** Marks the calls that the body records as a stretch whose values `recompute` need not keep for the backward pass. One stretch holds no other. */
export function stretch<Result>(body: () => Result): Result {
  const outer = marked
  marked ??= {}
  try { return body() } finally { marked = outer }
}

/** Throws if an operand's type or shape is not what the op needs. */
export function fits(holds: boolean, op: string, what: string): void {
  if (!holds) throw new NichelmError('INTERNAL', `${op}: ${what}`)
}

let checked = false

/** Compares this table with the addon's: same ops, same fields in kind. Throws INTERNAL that names what differs. */
export function checkOps(): void {
  if (checked) return
  const native = new Map(nativeOps().map((op) => [op.name, op.fields]))
  const differences: string[] = []
  for (const name of new Set([...table.keys(), ...native.keys()])) {
    const mine = table.get(name)?.fields, theirs = native.get(name)
    if (!mine || !theirs) differences.push(`${name} is only in ${mine ? 'the program' : 'the addon'}`)
    else for (const field of new Set([...Object.keys(mine), ...Object.keys(theirs)]))
      if (mine[field] !== theirs[field]) differences.push(`${name}.${field} is '${mine[field] ?? 'absent'}' in the program and '${theirs[field] ?? 'absent'}' in the addon`)
  }
  if (differences.length) throw new NichelmError('INTERNAL', `program and addon do not agree about the ops: ${differences.join('; ')}`, { fix: 'Rebuild both with `npm run build`.' })
  checked = true
}
