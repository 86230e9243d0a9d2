import { philox, streamKey } from '../base/random.js'
import { sizeOf, type ParameterSpec } from './parameters.js'

/**
 * The start of a parameter: a pure function of the seed and its name.
 * Normal deviates in pairs by Box and Muller (1958) from counter-based uniforms.
 */
export function initialValues(spec: ParameterSpec, seed: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(sizeOf(spec))
  if ('constant' in spec.start) return values.fill(spec.start.constant)
  const key = streamKey(seed, `initialize ${spec.name}`), scale = spec.start.normal
  for (let i = 0; i < values.length; i += 2) {
    const [a, b] = philox(key, i >>> 1, 0)
    const radius = scale * Math.sqrt(-2 * Math.log((a + 0.5) / 2 ** 32)), angle = (2 * Math.PI * b) / 2 ** 32
    values[i] = radius * Math.cos(angle)
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle)
  }
  return values
}
