import { join } from 'node:path'
import { z } from 'zod'
import { NichelmError } from '../base/errors.js'
import { RangeFile, readJson, sha256, writeJson } from '../base/files.js'
import type { Corpus } from '../corpus/corpus.js'
import { writeFolderAtomic } from '../corpus/folder.js'
import { BinaryWriter } from '../corpus/writer.js'
import type { NgramSelection } from './ngrams.js'

const MANIFEST_FILE = 'selection.json', WINDOWS_FILE = 'selected.bin'

const schema = z.strictObject({
  format: z.literal('nichelm-selection'),
  version: z.literal(1),
  /** Hash of the corpus whose windows were chosen from. */
  corpus: z.string(),
  /** Windows chosen, and of how many. */
  windows: z.number().int().min(1),
  of: z.number().int().min(1),
  buckets: z.number().int().min(2),
  divergence: z.strictObject({ generic: z.number(), selected: z.number() }),
  sha256: z.string(),
})

/** Writes the chosen windows of `corpus` to a folder: their numbers as u32, little-endian, and what is known of them. */
export async function writeSelection(into: string, corpus: Corpus, { windows, of, buckets, divergence }: NgramSelection, replace?: boolean): Promise<void> {
  await writeFolderAtomic(into, (folder) => {
    using numbers = new BinaryWriter(join(folder, WINDOWS_FILE), 'u32')
    numbers.write(windows)
    writeJson(join(folder, MANIFEST_FILE), { format: 'nichelm-selection', version: 1, corpus: corpus.hash, windows: windows.length, of, buckets, divergence, sha256: numbers.end() } satisfies z.infer<typeof schema>)
  }, replace)
}

/** Reads the numbers of the chosen windows. Throws INPUT if a file is missing or they are another corpus's windows; CORRUPT, naming the file, if one has been damaged. */
export function openSelection(folder: string, corpus: Corpus): Uint32Array {
  const place = { file: join(folder, MANIFEST_FILE) }, fix = 'Select the windows again.', parsed = schema.safeParse(readJson(place.file))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new NichelmError('CORRUPT', issue?.message ?? 'is no selection', { place: { ...place, field: issue?.path.join('.') || 'selection' }, fix })
  }
  const { windows, of, corpus: owner, sha256: digest } = parsed.data
  if (owner !== corpus.hash || of !== corpus.windows) throw new NichelmError('INPUT', `belongs to another corpus than ${corpus.folder}`, { place, fix })
  using file = new RangeFile(join(folder, WINDOWS_FILE))
  const bytes = new Uint8Array(file.bytes)
  file.read(bytes, 0)
  if (bytes.length !== 4 * windows || sha256(bytes) !== digest) throw new NichelmError('CORRUPT', 'has been damaged: its size or checksum is not the one beside it', { place: { file: file.file }, fix })
  return new Uint32Array(bytes.buffer)
}
