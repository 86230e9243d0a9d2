import { Decompress } from 'fzstd'
import { NichelmError } from '../base/errors.js'
import { Xxh64 } from './xxh64.js'

/** Bytes that come in chunks, taken in pieces of the size that is asked for. */
class ByteQueue {
  #held: Uint8Array = new Uint8Array()
  /** Bytes taken so far. */
  taken = 0
  readonly #chunks: AsyncIterator<Uint8Array>
  constructor(chunks: AsyncIterable<Uint8Array>) { this.#chunks = chunks[Symbol.asyncIterator]() }

  /** The next `size` bytes; fewer only if the stream ends before. */
  async take(size: number): Promise<Uint8Array> {
    const parts = [this.#held]
    let got = this.#held.length
    while (got < size) {
      const next = await this.#chunks.next()
      if (next.done) break
      parts.push(next.value)
      got += next.value.length
    }
    const all = parts.length === 1 ? this.#held : Buffer.concat(parts)
    this.#held = all.subarray(size)
    const piece = all.subarray(0, size)
    this.taken += piece.length
    return piece
  }
}

/**
 * Decompresses Zstandard (RFC 8878): any number of frames, block by block, each frame checked against its checksum if it has one.
 *
 * Frames are taken apart here, because the library's stream does not say where one ends, and does not check.
 * Throws INPUT that says at which byte the stream is cut short or damaged.
 */
export async function* decompressZstd(chunks: AsyncIterable<Uint8Array>, file: string): AsyncGenerator<Uint8Array> {
  const queue = new ByteQueue(chunks)
  const fail = (what: string, fix: string): never => { throw new NichelmError('INPUT', what, { place: { file }, fix }) }
  const damaged = (what: string): never => fail(`${what}: the file is damaged or no zst file`, 'Fetch or compress it again.')
  const exactly = async (size: number): Promise<Uint8Array> => {
    const piece = await queue.take(size)
    return piece.length === size ? piece : fail(`the zst stream is cut short: it ends at byte ${queue.taken}, in the middle of a frame`, 'Fetch or compress it again.')
  }

  for (;;) {
    const start = queue.taken
    const magic = await queue.take(4)
    if (magic.length === 0) return
    if (magic.length < 4) await exactly(1)
    const number = new DataView(magic.buffer, magic.byteOffset).getUint32(0, true)
    if (number >>> 4 === 0x184d2a5) { // a skippable frame: not ours
      const size = await exactly(4)
      for (let left = new DataView(size.buffer, size.byteOffset).getUint32(0, true); left > 0; left -= 65536) await exactly(Math.min(left, 65536))
      continue
    }
    if (number !== 0xfd2fb528) damaged(`no Zstandard frame at byte ${start}`)
    const descriptor = await exactly(1), flags = descriptor[0]!
    const single = (flags >> 5) & 1, hasChecksum = (flags >> 2) & 1
    if (flags & 3) fail('this zst file needs a dictionary', 'Compress it without one.')
    const sizeBytes = flags >> 6 === 0 ? single : 1 << (flags >> 6)
    const rest = await exactly(1 - single + sizeBytes)

    const output: Uint8Array[] = []
    const decompress = new Decompress((piece) => { output.push(piece) })
    const push = (piece: Uint8Array, final: boolean): void => {
      try { decompress.push(piece, final) } catch (error) { damaged(`${(error as Error).message} before byte ${queue.taken} of the zst stream`) }
    }
    const hash = new Xxh64()
    push(Buffer.concat([magic, descriptor, rest]), false)
    for (let last = false; !last;) {
      const header = await exactly(3)
      const block = header[0]! | (header[1]! << 8) | (header[2]! << 16)
      last = (block & 1) === 1
      const type = (block >> 1) & 3
      const body = await exactly(type === 1 ? 1 : block >> 3)
      const checksum = last && hasChecksum ? await exactly(4) : new Uint8Array()
      push(Buffer.concat([header, body, checksum]), last)
      for (const piece of output.splice(0)) {
        hash.update(piece)
        if (piece.length > 0) yield piece
      }
      if (checksum.length > 0 && new DataView(checksum.buffer, checksum.byteOffset).getUint32(0, true) !== Number(hash.digest() & 0xffffffffn))
        damaged(`the frame that begins at byte ${start} of the zst stream does not have the checksum that it should`)
    }
  }
}
