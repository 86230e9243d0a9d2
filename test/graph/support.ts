import { Arena, type Copies, type Device, type NumericArray } from '../../bindings/index.js'
import { backward } from '../../src/graph/autodiff.js'
import { Layout, lower } from '../../src/graph/lower.js'
import { trace, type Node } from '../../src/graph/op.js'
import { persistent, type Tensor } from '../../src/graph/tensor.js'

/** A trainable f32 tensor with a place for its gradient. */
export function trainable(name: string, shape: readonly number[]): Tensor {
  const tensor = persistent(name, 'f32', shape)
  tensor.gradient = persistent(`gradient of ${name}`, 'f32', shape)
  tensor.requiresGradient = true
  return tensor
}

/** Traces a function (and its gradient), runs it once on the inputs and gives the asked tensors' values; what nobody writes is 0. */
export async function runTrace(device: Device, body: () => void, inputs: [Tensor, NumericArray][], asked: Tensor[], options: { gradient?: boolean } = {}): Promise<{ values: Float32Array[]; nodes: Node[] }> {
  const nodes = trace(body)
  if (options.gradient) backward(nodes)
  const layout = new Layout(), lowered = lower(nodes, layout)
  layout.place(...inputs.map(([tensor]) => tensor), ...asked)
  using arena = new Arena(layout.bytes + lowered.temporaryBytes, device)
  using program = device.compile(arena, lowered.text(layout))
  const values = asked.map((tensor) => new Float32Array(tensor.size))
  const reads: Copies = asked.flatMap((tensor, i) => [layout.offset(tensor), values[i]!])
  await device.run(arena, [{ program, writes: inputs.flatMap(([tensor, data]) => [layout.offset(tensor), data]) }], reads)
  return { values, nodes: lowered.nodes }
}

/** Relative error in the Euclidean norm; NaN if anything is NaN. */
export function relativeError(got: Float32Array, want: ArrayLike<number>): number {
  let difference = got.length === want.length ? 0 : NaN, norm = 0
  for (let i = 0; i < got.length; i++) { difference += (got[i]! - want[i]!) ** 2; norm += want[i]! ** 2 }
  return Math.sqrt(difference / norm)
}

/** Deterministic deviates of about unit variance. */
export function deviates(count: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count)
  let state = seed >>> 0 || 1
  const uniform = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  for (let i = 0; i < count; i++) values[i] = scale * (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3)
  return values
}
