import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { fileError, NichelmError, systemCode } from '../base/errors.js'
import type { SourceFile } from './sources.js'
import { decompressZstd } from './zstd.js'

const CHUNK = 1 << 18

/** The bytes of a file as they come, decompressed. Throws INPUT if it cannot be read, or if the compressed stream is cut short or damaged. */
export async function* readBytes({ file, compression }: SourceFile): AsyncGenerator<Uint8Array> {
  const raw = createReadStream(file, { highWaterMark: CHUNK })
  try {
    if (compression === 'none') yield* raw
    else if (compression === 'zst') yield* decompressZstd(raw, file)
    else yield* pipeline(raw, createGunzip({ chunkSize: CHUNK }), () => {}) // the error comes out of the iteration, too
  } catch (error) {
    throw gzipError(error, file) ?? fileError(error, file)
  } finally {
    raw.destroy()
  }
}

function gzipError(error: unknown, file: string): NichelmError | undefined {
  const code = systemCode(error)
  const options = { place: { file }, fix: 'Fetch or compress it again.', cause: error }
  if (code === 'Z_BUF_ERROR') return new NichelmError('INPUT', 'the gz stream is cut short: it ends in the middle', options)
  if (code?.startsWith('Z_')) return new NichelmError('INPUT', `the file is damaged or no gz file (${(error as Error).message})`, options)
  return undefined
}

/** Where the first sequence begins that is not UTF-8; undefined if all is. */
export function invalidUtf8(bytes: Uint8Array): number | undefined {
  const valid = (end: number, stream: boolean): boolean => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, end), { stream })
      return true
    } catch { return false }
  }
  if (valid(bytes.length, false)) return undefined
  // Bisection for the longest beginning that could go on validly; a character that is begun at its end is invalid, too.
  let low = 0, high = bytes.length + 1
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (valid(middle, true)) low = middle
    else high = middle
  }
  while (!valid(low, false)) low--
  return low
}
