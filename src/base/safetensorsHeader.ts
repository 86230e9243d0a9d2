import { NichelmError } from './errors.js'

/** The types that a tensor in a file may have. F16 and BF16 are held as their bits; BOOL as bytes 0 and 1. */
export const DTYPES = {
  F64: Float64Array, F32: Float32Array, F16: Uint16Array, BF16: Uint16Array,
  I64: BigInt64Array, U64: BigUint64Array, I32: Int32Array, U32: Uint32Array,
  I16: Int16Array, U16: Uint16Array, I8: Int8Array, U8: Uint8Array, BOOL: Uint8Array,
} as const
export type Dtype = keyof typeof DTYPES
/** The array that holds a tensor of dtype D. */
export type TensorArray<D extends Dtype = Dtype> = InstanceType<(typeof DTYPES)[D]>

/** One tensor's place in a file: `offset` in bytes from the start of the file, `count` elements. */
export interface TensorEntry { name: string; dtype: Dtype; shape: number[]; offset: number; bytes: number; count: number }

/** The format's own limit of a header's bytes. */
export const HEADER_LIMIT = 100_000_000

export interface Header { json: Record<string, unknown>; metadata: Record<string, string>; entries: Map<string, TensorEntry> }

/** Types of the format that nichelm does not compute with. */
const UNSUPPORTED = /^(F8_\w+|F4|F6_\w+|C64)$/

/**
 * Parses and checks a safetensors header: UTF-8, JSON, known types, shapes that fit their bytes, and data without gap, overlap or rest.
 *
 * `fileBytes` is the size of the whole file. Entries come in the order of their data, with offsets from the start of the file.
 * Throws CORRUPT naming file and tensor, INPUT for a type that is not supported.
 */
export function parseHeader(file: string, text: Uint8Array, fileBytes: number): Header {
  const corrupt = (what: string, field?: string): NichelmError =>
    new NichelmError('CORRUPT', what, { place: field === undefined ? { file } : { file, field }, fix: 'Use another copy of the file, or make it again.' })
  let json: unknown
  try { json = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(text)) } catch (error) {
    throw corrupt(`its header is not valid JSON (${(error as Error).message})`)
  }
  if (!isObject(json)) throw corrupt('its header is not a JSON object')

  const entries: TensorEntry[] = []
  let metadata: Record<string, string> = {}
  const dataStart = 8 + text.byteLength, dataBytes = fileBytes - dataStart
  for (const [name, value] of Object.entries(json)) {
    if (!isObject(value)) throw corrupt('is not a JSON object', name)
    if (name === '__metadata__') {
      for (const [key, entry] of Object.entries(value)) if (typeof entry !== 'string') throw corrupt(`"${key}" is not a string`, name)
      metadata = value as Record<string, string>
      continue
    }
    const { dtype, shape, data_offsets: offsets } = value
    if (typeof dtype === 'string' && UNSUPPORTED.test(dtype))
      throw new NichelmError('INPUT', `has type ${dtype}, which is not supported`, { place: { file, field: name }, fix: 'Convert the file to F32, F16 or BF16.' })
    if (typeof dtype !== 'string' || !Object.hasOwn(DTYPES, dtype)) throw corrupt(`has unknown type ${JSON.stringify(dtype)}`, name)
    if (!Array.isArray(shape) || !shape.every(isSize)) throw corrupt(`has shape ${JSON.stringify(shape)}`, name)
    if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize) || offsets[0]! > offsets[1]!)
      throw corrupt(`has offsets ${JSON.stringify(offsets)}`, name)
    const [begin, end] = offsets as [number, number]
    const count = (shape as number[]).reduce((a, b) => a * b, 1), bytes = count * DTYPES[dtype as Dtype].BYTES_PER_ELEMENT
    if (end > dataBytes) throw corrupt(`ends at byte ${end} of the data, but the file has only ${dataBytes}: it was cut short`, name)
    if (bytes !== end - begin) throw corrupt(`${dtype} [${shape.join(', ')}] needs ${bytes} bytes, but has ${end - begin}`, name)
    entries.push({ name, dtype: dtype as Dtype, shape: shape as number[], offset: begin, bytes, count })
  }

  entries.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)
  let at = 0
  for (const entry of entries) {
    if (entry.offset !== at) throw corrupt(`begins at byte ${entry.offset} of the data, where ${at} was expected`, entry.name)
    at += entry.bytes
    entry.offset += dataStart
  }
  if (at !== dataBytes) throw corrupt(`has ${dataBytes - at} bytes after its last tensor`)
  return { json, metadata, entries: new Map(entries.map(entry => [entry.name, entry])) }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
