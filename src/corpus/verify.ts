import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { RangeFile } from '../base/files.js'
import type { Manifest } from './manifest.js'

/** Compares the files of a corpus with the checksums of its manifest. Throws CORRUPT naming the first that differs. */
export function verifyFiles(folder: string, manifest: Manifest): void {
  for (const { file, sha256 } of [...manifest.shards, manifest.windows])
    if (hashFile(join(folder, file)) !== sha256)
      throw new NichelmError('CORRUPT', 'has been damaged: its checksum is not the one in the manifest', { place: { file: join(folder, file) }, fix: 'Build the corpus again.' })
}

function hashFile(path: string): string {
  using file = new RangeFile(path)
  const hash = createHash('sha256'), buffer = new Uint8Array(Math.min(file.bytes, 1 << 22))
  for (let at = 0; at < file.bytes; at += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, file.bytes - at))
    file.read(part, at)
    hash.update(part)
  }
  return hash.digest('hex')
}
