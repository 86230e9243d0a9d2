import type { Arena, NumericArray } from '../../bindings/index.js'
import { toBf16 } from '../base/half.js'
import type { Layout } from '../graph/lower.js'
import { persistent, type Tensor } from '../graph/tensor.js'
import { NichelmError } from '../base/errors.js'
import { isMatrix, parameterSpecs } from '../model/parameters.js'
import { plainLinear, type Weights } from '../model/network.js'
import type { ModelConfig, Precision } from '../model/index.js'

/** A model's parameters as a served model holds them: matrices in the precision of the products and nothing besides, vectors in f32. */
export class ServedWeights implements Weights {
  readonly #tensors = new Map<string, Tensor>()
  readonly bytes: number

  constructor(config: ModelConfig, precision: Precision) {
    for (const spec of parameterSpecs(config)) this.#tensors.set(spec.name, persistent(spec.name, isMatrix(spec) ? precision : 'f32', spec.shape))
    this.bytes = [...this.#tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0)
  }

  get(name: string): Tensor {
    const tensor = this.#tensors.get(name)
    if (!tensor) throw new NichelmError('INTERNAL', `the model has no parameter '${name}'`)
    return tensor
  }
  find(name: string): Tensor | undefined { return this.#tensors.get(name) }
  linear(x: Tensor, name: string): Tensor { return plainLinear(this, x, name) }

  /** Gives every parameter a place. */
  place(layout: Layout): void { layout.place(...this.#tensors.values()) }

  /** Copies a parameter's values to its place, rounded where it is held in bf16. */
  write(arena: Arena, layout: Layout, name: string, values: Float32Array): void {
    const tensor = this.get(name)
    if (values.length !== tensor.size) throw new NichelmError('USAGE', `'${name}' holds ${tensor.size} elements, not ${values.length}`)
    const data: NumericArray = tensor.dtype === 'bf16' ? toBf16(values) : values
    arena.write(layout.offset(tensor), data)
  }
}
