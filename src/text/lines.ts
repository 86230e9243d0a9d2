import { constants, isUtf8 } from 'node:buffer'
import { NichelmError } from '../base/errors.js'
import { invalidUtf8 } from './bytes.js'

/** A line without its end (\n or \r\n). `number` counts from 1; `ended` is false for a last line without \n. */
export interface Line { text: string; number: number; ended: boolean }

const withoutMark = (bytes: Uint8Array): Uint8Array => (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes)

/** UTF-8 to text; a byte order mark at its beginning stays. Throws INPUT that names the byte, counted from the beginning of `bytes`. */
export function toText(bytes: Uint8Array, file: string, line?: number): string {
  const place = { file, ...(line !== undefined && { line }) }
  if (bytes.length > constants.MAX_STRING_LENGTH) throw new NichelmError('INPUT', `${bytes.length} bytes are too many for one document or line`, { place, fix: 'Split it; for a .txt file, one line can be one document.' })
  if (isUtf8(bytes)) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
  throw new NichelmError('INPUT', `invalid UTF-8 at byte ${invalidUtf8(bytes)}${line === undefined ? '' : ' of the line'}`, { place, fix: 'Convert the file to UTF-8, for example with iconv.' })
}

/** The whole text of a file, without a byte order mark. */
export async function readWhole(chunks: AsyncIterable<Uint8Array>, file: string): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return toText(Buffer.concat(parts), file).replace(/^\ufeff/, '')
}

/** The lines of a file as they come, however long they are. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>, file: string): AsyncGenerator<Line> {
  let number = 0
  let parts: Uint8Array[] = [] // of the line that has begun
  const line = (tail: Uint8Array, ended: boolean): Line => {
    let bytes = parts.length === 0 ? tail : Buffer.concat([...parts, tail])
    parts = []
    if (number === 0) bytes = withoutMark(bytes)
    number++
    if (ended && bytes.at(-1) === 0x0d) bytes = bytes.subarray(0, -1)
    return { text: toText(bytes, file, number), number, ended }
  }
  for await (const chunk of chunks) {
    let begin = 0
    for (let end: number; (end = chunk.indexOf(0x0a, begin)) >= 0; begin = end + 1) yield line(chunk.subarray(begin, end), true)
    if (begin < chunk.length) parts.push(chunk.subarray(begin))
  }
  if (parts.length > 0) yield line(new Uint8Array(), false)
}
