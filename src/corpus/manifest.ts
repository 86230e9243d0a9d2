import { join } from 'node:path'
import { z } from 'zod'
import { NichelmError } from '../base/errors.js'
import { readJson, sha256 } from '../base/files.js'

export const MANIFEST_FILE = 'corpus.json'
export const WINDOWS_FILE = 'windows.bin'

/** A window's record in windows.bin: five u32, little-endian. */
export const RECORD_FIELDS = 5
export const RECORD_BYTES = 4 * RECORD_FIELDS

const count = z.number().int().nonnegative()
const digest = z.string().regex(/^[0-9a-f]{64}$/)

const schema = z.strictObject({
  format: z.literal('nichelm-corpus'),
  version: z.literal(1),
  /** Most tokens in a window. */
  context: count.min(2),
  /** A document's last window is dropped if it is shorter, unless it is the document's only one. */
  minimumLength: count.min(2),
  tokenType: z.enum(['u16', 'u32']),
  /** The token that ends every document; null if there is none. */
  endOfText: count.nullable(),
  counts: z.strictObject({
    /** Documents read, with those that gave no window. */
    documents: count,
    /** Documents too short for a window. */
    skippedDocuments: count,
    windows: count.min(1),
    tokens: count,
    /** Tokens of remainders that were too short for a window. */
    droppedTokens: count,
    /** UTF-8 bytes of text that the windows' tokens stand for. */
    textBytes: count,
  }),
  shards: z.array(z.strictObject({ file: z.string().regex(/^tokens-\d+\.bin$/), tokens: count, sha256: digest })).min(1),
  windows: z.strictObject({ file: z.literal(WINDOWS_FILE), sha256: digest }),
  tokenizer: z.strictObject({ hash: z.string(), vocabularySize: count.min(1) }),
  /** Where the text came from, in the builder's words. */
  source: z.string(),
})

/** What corpus.json says. */
export type Manifest = z.infer<typeof schema>

export const tokenBytes = (type: Manifest['tokenType']): 2 | 4 => (type === 'u16' ? 2 : 4)

/** Reads a corpus folder's manifest. Throws INPUT if there is none, CORRUPT (naming the field) if it is not one. */
export function readManifest(folder: string): Manifest {
  const file = join(folder, MANIFEST_FILE)
  const parsed = schema.safeParse(readJson(file))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new NichelmError('CORRUPT', issue?.message ?? 'is not a corpus manifest', {
      place: { file, field: issue?.path.join('.') || 'manifest' }, fix: 'Build the corpus again.',
    })
  }
  return parsed.data
}

/** Identifies a corpus by its windows and its tokenizer: the same for two builds from the same text. */
export const corpusHash = (m: Manifest): string =>
  sha256(JSON.stringify([m.version, m.context, m.tokenType, m.endOfText, m.tokenizer.hash, m.windows.sha256, m.shards.map((shard) => shard.sha256)]))
