import { philox, streamKey } from '../base/random.js'
import { sizeOf, type ParameterSpec } from './parameters.js'

/** Elements that are made at a time, where each depends on its place alone. */
const PART = 1 << 18

/** A part of a parameter's start, from element `first` on. The array may be used again for the next part. */
export interface InitialPart { first: number; values: Float32Array<ArrayBuffer> }

/** `initialValues` part by part: a table of a large model is never whole in memory beside the one that it goes to. */
export function* initialParts(spec: ParameterSpec, seed: number): Generator<InitialPart> {
  const { start } = spec, size = sizeOf(spec)
  if (!('normal' in start || 'constant' in start) || size <= PART) return yield { first: 0, values: initialValues(spec, seed) }
  const room = new Float32Array(PART), key = streamKey(seed, `initialize ${spec.name}`)
  for (let first = 0; first < size; first += PART) {
    const values = room.subarray(0, Math.min(PART, size - first))
    if ('normal' in start) fillNormals(values, key, start.normal, first)
    else values.fill(start.constant)
    yield { first, values }
  }
}

/** The start of a parameter: a pure function of the seed and its name. */
export function initialValues(spec: ParameterSpec, seed: number): Float32Array<ArrayBuffer> {
  const { start, shape } = spec, size = sizeOf(spec), width = shape.at(-1)!
  if ('constant' in start) return new Float32Array(size).fill(start.constant)
  if ('normal' in start) return normals(streamKey(seed, `initialize ${spec.name}`), size, start.normal)
  if ('common' in start) {
    const own = normals(streamKey(seed, `initialize ${spec.name}`), size, start.common.spread), common = normals(streamKey(seed, `initialize ${spec.name} common`), width, 1)
    for (let at = 0; at < size; at += width) {
      const row = own.subarray(at, at + width)
      row.forEach((value, i) => { row[i] = value + common[i]! })
      resize(row, start.common.norm)
    }
    return own
  }
  return orthogonal(normals(streamKey(seed, `initialize ${spec.name}`), size, 1), shape[0]!, width)
}

const normals = (key: number, size: number, deviation: number): Float32Array<ArrayBuffer> => fillNormals(new Float32Array(size), key, deviation)

/** Normal deviates in pairs by Box and Muller (1958) from counter-based uniforms: those from `first` on, an even number. */
function fillNormals<Array extends Float32Array>(values: Array, key: number, deviation: number, first = 0): Array {
  for (let i = 0; i < values.length; i += 2) {
    const [a, b] = philox(key, (first + i) >>> 1, 0)
    const radius = deviation * Math.sqrt(-2 * Math.log((a + 0.5) / 2 ** 32)), angle = (2 * Math.PI * b) / 2 ** 32
    values[i] = radius * Math.cos(angle)
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle)
  }
  return values
}

function resize(values: Float32Array, norm: number): void {
  const factor = norm / Math.hypot(...values)
  values.forEach((value, i) => { values[i] = value * factor })
}

/** Random orthogonal directions by Gram and Schmidt, twice over: of rows, or of columns where there are fewer; all of such length that |x M|² = |x|² columns / rows. */
function orthogonal(from: Float32Array<ArrayBuffer>, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const byRows = rows <= columns, count = Math.min(rows, columns), length = Math.max(rows, columns)
  const at = (vector: number, i: number): number => (byRows ? vector * columns + i : i * columns + vector)
  const vectors = Array.from({ length: count }, (_, v) => Float64Array.from({ length }, (__, i) => from[at(v, i)]!))
  for (const [v, vector] of vectors.entries()) {
    for (let pass = 0; pass < 2; pass++)
      for (const before of vectors.slice(0, v)) {
        const dot = vector.reduce((sum, value, i) => sum + value * before[i]!, 0)
        vector.forEach((value, i) => { vector[i] = value - dot * before[i]! })
      }
    const norm = Math.hypot(...vector)
    vector.forEach((value, i) => { vector[i] = value / norm })
  }
  // Rows of unit length keep |x|; columns of unit length keep it in the mean over x by count / rows.
  const factor = byRows ? Math.sqrt(columns / rows) : 1
  const values = new Float32Array(rows * columns)
  for (const [v, vector] of vectors.entries()) vector.forEach((value, i) => { values[at(v, i)] = value * factor })
  return values
}
