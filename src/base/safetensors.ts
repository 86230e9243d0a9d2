import { createHash } from 'node:crypto'
import { NichelmError } from './errors.js'
import { RangeFile, sha256, writeFileAtomic } from './files.js'
import { fromBf16, fromF16 } from './half.js'
import { DTYPES, HEADER_LIMIT, parseHeader, type Dtype, type Header, type TensorArray, type TensorEntry } from './safetensorsHeader.js'

export { DTYPES, type Dtype, type TensorArray, type TensorEntry } from './safetensorsHeader.js'

/** Tensors by name, from one file or several. */
export interface TensorSource extends Disposable {
  readonly names: string[]
  has(name: string): boolean
  /** Throws INPUT if there is no such tensor. */
  entry(name: string): TensorEntry
  /** The tensor's elements in its own type, or those of [start, start + count). */
  read(name: string, range?: ElementRange): TensorArray
  /** The tensor as f32: F16, BF16 and F64 are converted; other types throw INPUT. With `finite`, NaN and infinity throw CORRUPT. */
  readF32(name: string, options?: ElementRange & { finite?: boolean }): Float32Array<ArrayBuffer>
  /** Compares the stored checksums. Returns how many tensors were checked: 0 if none was stored. Throws CORRUPT naming the tensor. */
  verify(): number
}
export interface ElementRange { start?: number; count?: number }

/**
 * A safetensors file (https://huggingface.co/docs/safetensors: 8 bytes of header length, JSON header, data), read by ranges.
 *
 * The header is checked in full when the file is opened: every violation is a CORRUPT error that names file and tensor.
 */
export class SafetensorsFile implements TensorSource {
  readonly metadata: Readonly<Record<string, string>>
  readonly #file: RangeFile
  readonly #header: Header

  constructor(readonly file: string) {
    this.#file = new RangeFile(file)
    try {
      const start = Buffer.alloc(8)
      if (this.#file.bytes < 8) throw this.#corrupt(`is no safetensors file: it has ${this.#file.bytes} bytes`)
      this.#file.read(start, 0)
      const length = start.readBigUInt64LE()
      if (length > HEADER_LIMIT || Number(length) + 8 > this.#file.bytes)
        throw this.#corrupt(`is no safetensors file, or is cut short: its first 8 bytes promise a header of ${length} bytes, and the file has ${this.#file.bytes}`)
      const text = Buffer.alloc(Number(length))
      this.#file.read(text, 8)
      this.#header = parseHeader(file, text, this.#file.bytes)
      this.metadata = this.#header.metadata
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  /** In the order of the data. */
  get names(): string[] { return [...this.#header.entries.keys()] }
  has(name: string): boolean { return this.#header.entries.has(name) }

  entry(name: string): TensorEntry {
    const entry = this.#header.entries.get(name)
    if (!entry) throw new NichelmError('INPUT', `has no tensor "${name}"; it has ${listed(this.names)}`, { place: { file: this.file }, fix: 'Name a file that has it.' })
    return entry
  }

  read(name: string, range: ElementRange = {}): TensorArray {
    const { dtype, offset, bytes, count } = this.entry(name)
    const width = DTYPES[dtype].BYTES_PER_ELEMENT
    const start = range.start ?? 0, wanted = range.count ?? count - start
    if (!Number.isInteger(start) || !Number.isInteger(wanted) || start < 0 || wanted < 0 || start + wanted > count)
      throw new NichelmError('USAGE', `elements ${start} to ${start + wanted} were asked for, but it has ${count}`, { place: { file: this.file, field: name } })
    let into: Uint8Array<ArrayBuffer>
    try { into = new Uint8Array(wanted * width) } catch (error) {
      throw new NichelmError('RESOURCE', `no memory for its ${bytes} bytes`, { place: { file: this.file, field: name }, cause: error })
    }
    this.#file.read(into, offset + start * width)
    return new DTYPES[dtype](into.buffer)
  }

  readF32(name: string, options: ElementRange & { finite?: boolean } = {}): Float32Array<ArrayBuffer> {
    const data = this.read(name, options), { dtype } = this.entry(name)
    const values = dtype === 'F32' ? data as Float32Array<ArrayBuffer> : dtype === 'F64' ? new Float32Array(data as Float64Array)
      : dtype === 'BF16' ? fromBf16(data as Uint16Array) : dtype === 'F16' ? fromF16(data as Uint16Array) : undefined
    if (!values) throw new NichelmError('INPUT', `holds ${dtype}, where floating-point numbers are needed`, { place: { file: this.file, field: name } })
    if (options.finite) for (let i = 0; i < values.length; i++)
      if (!Number.isFinite(values[i])) throw this.#corrupt(`holds ${values[i]} at element ${(options.start ?? 0) + i}`, name)
    return values
  }

  verify(): number {
    const { metadata, entries } = this.#header
    if (metadata[HEADER_SUM] === undefined) {
      if (Object.keys(metadata).some(key => key.startsWith(TENSOR_SUM))) throw this.#corrupt('has checksums of tensors, but none of its header')
      return 0
    }
    if (headerSum(this.#header.json) !== metadata[HEADER_SUM]) throw this.#corrupt('its header does not match its checksum')
    const room = new Uint8Array(CHUNK)
    for (const { name, offset, bytes } of entries.values()) {
      const hash = createHash('sha256')
      for (let at = 0; at < bytes; at += CHUNK) {
        const chunk = room.subarray(0, Math.min(CHUNK, bytes - at))
        this.#file.read(chunk, offset + at)
        hash.update(chunk)
      }
      if (hash.digest('hex') !== metadata[TENSOR_SUM + name]) throw this.#corrupt('does not match its checksum', name)
    }
    return entries.size
  }

  [Symbol.dispose](): void { this.#file[Symbol.dispose]() }

  #corrupt(what: string, name?: string): NichelmError {
    return new NichelmError('CORRUPT', what, { place: name === undefined ? { file: this.file } : { file: this.file, field: name }, fix: 'Use another copy of the file, or make it again.' })
  }
}

const HEADER_SUM = 'sha256', TENSOR_SUM = 'sha256:', CHUNK = 1 << 20

/**
 * A tensor to write. `data` may be a function, so that not all tensors need to be in memory at once, and give the elements in parts, so that not all of one
 * need to be; a part's array may be used again for the next. With checksums it is called twice.
 */
export interface TensorToWrite<D extends Dtype = Dtype> { name: string; dtype: D; shape: readonly number[]; data: TensorArray<D> | (() => TensorArray<D> | Generator<TensorArray<D>>) }

export interface WriteOptions {
  /** Strings kept in the header; keys must not begin with `sha256`. */
  metadata?: Record<string, string>
  /** Stores a SHA-256 of the header and of each tensor's bytes in the metadata, for `verify`. */
  checksums?: boolean
}

/**
 * Writes a safetensors file, whole or not at all. The data is in the order of `tensors` and starts at a multiple of 8 bytes.
 * Throws USAGE if a name is used twice or a tensor's data does not fit its dtype and shape; RESOURCE if the disk is full.
 */
export function writeSafetensors(file: string, tensors: Iterable<TensorToWrite>, options: WriteOptions = {}): void {
  const list = [...tensors], metadata: Record<string, string> = { ...options.metadata }
  const refuse = (name: string, what: string): never => { throw new NichelmError('USAGE', what, { place: { file, field: name } }) }
  for (const key of Object.keys(metadata)) if (key.startsWith(HEADER_SUM)) refuse(key, 'is a metadata key kept for checksums')
  const seen = new Set<string>(), fields: [string, unknown][] = []
  let at = 0
  for (const { name, dtype, shape } of list) {
    if (name === '__metadata__' || seen.has(name)) refuse(name, 'a tensor cannot have this name, or another has it already')
    if (!shape.every(size => Number.isInteger(size) && size >= 0)) refuse(name, `has shape [${shape.join(', ')}]`)
    seen.add(name)
    const bytes = elements(shape) * DTYPES[dtype].BYTES_PER_ELEMENT
    fields.push([name, { dtype, shape, data_offsets: [at, at + bytes] }])
    at += bytes
  }
  const bytesOf = function* ({ name, dtype, shape, data }: TensorToWrite): Generator<Uint8Array> {
    const given = typeof data === 'function' ? data() : data
    let count = 0
    for (const part of 'next' in given ? given : [given]) {
      count += part.length
      if (!(part instanceof DTYPES[dtype]) || count > elements(shape)) refuse(name, `its data does not fit ${dtype} [${shape.join(', ')}]`)
      yield new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
    }
    if (count !== elements(shape)) refuse(name, `its data does not fit ${dtype} [${shape.join(', ')}]`)
  }
  const sumOf = (tensor: TensorToWrite): string => {
    const hash = createHash('sha256')
    for (const bytes of bytesOf(tensor)) hash.update(bytes)
    return hash.digest('hex')
  }
  if (options.checksums) for (const tensor of list) metadata[TENSOR_SUM + tensor.name] = sumOf(tensor)
  // Built by fromEntries, which makes an own property even of a name such as __proto__.
  const header = Object.fromEntries([...Object.keys(metadata).length || options.checksums ? [['__metadata__', metadata] as [string, unknown]] : [], ...fields])
  if (options.checksums) metadata[HEADER_SUM] = headerSum(header)
  const text = Buffer.from(JSON.stringify(header)), padded = Math.ceil(text.length / 8) * 8
  if (padded > HEADER_LIMIT) refuse('__metadata__', `the header would have ${padded} bytes, and the format allows ${HEADER_LIMIT}`)
  const start = Buffer.alloc(8 + padded, ' ')
  start.writeBigUInt64LE(BigInt(padded))
  text.copy(start, 8)
  writeFileAtomic(file, function* () {
    yield start
    for (const tensor of list) yield* bytesOf(tensor)
  }())
}

/** The header's checksum: of its JSON without the checksum itself. */
function headerSum(json: Record<string, unknown>): string {
  const { [HEADER_SUM]: _, ...metadata } = json['__metadata__'] as Record<string, string>
  return sha256(JSON.stringify({ ...json, __metadata__: metadata }))
}

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

function listed(names: string[]): string {
  return names.length <= 8 ? names.join(', ') || 'none' : `${names.slice(0, 8).join(', ')} and ${names.length - 8} more`
}
