import { NichelmError } from '../base/errors.js'
import { permuted, streamKey } from '../base/random.js'
import type { Corpus } from './corpus.js'
import { RECORD_FIELDS } from './manifest.js'

export interface Split {
  /** Windows to train on, ascending. */
  training: Uint32Array
  /** Windows to validate on, ascending. */
  validation: Uint32Array
  /** Whether no document has windows on both sides. */
  byDocument: boolean
}

/**
 * Sets a share of a corpus's windows apart for validation: whole documents in a random order, so that no document is on both sides.
 * Where documents are too few or too large to come near the share (half to one and a half times), windows are drawn instead.
 *
 * Throws INPUT if there are fewer than two windows; CONFIG if the share is not between 0 and 1.
 */
export function splitCorpus(corpus: Corpus, share: number, seed: number): Split {
  if (!(share > 0 && share < 1)) throw new NichelmError('CONFIG', `the share for validation must be between 0 and 1; got ${share}`)
  const count = corpus.windows
  if (count < 2) throw new NichelmError('INPUT', 'has one window: too little text to set some apart for validation', { place: { file: corpus.folder }, fix: 'Give more text, or use a shorter context.' })
  const wanted = Math.min(count - 1, Math.max(1, Math.round(share * count)))
  const key = streamKey(seed, 'validation split')
  const documents = documentRanges(corpus)
  const chosen = new Uint8Array(count)
  let taken = 0
  for (let i = 0; i < documents.length && taken < wanted; i++) {
    const [first, windows] = documents[permuted(key, documents.length, i)]!
    if (taken + windows > Math.min(count - 1, 1.5 * wanted)) continue
    chosen.fill(1, first, first + windows)
    taken += windows
  }
  const byDocument = taken >= wanted / 2
  if (!byDocument) {
    chosen.fill(0)
    for (let i = 0; i < wanted; i++) chosen[permuted(key, count, i)] = 1
  }
  const where = (side: number) => Uint32Array.from(chosen, (_, i) => i).filter((i) => chosen[i] === side)
  return { training: where(0), validation: where(1), byDocument }
}

/** First window and count of windows of every document. */
function documentRanges(corpus: Corpus): [first: number, windows: number][] {
  const ranges: [number, number][] = []
  let last = -1
  for (let first = 0; first < corpus.windows; first += 1 << 16) {
    const records = corpus.records(first, Math.min(1 << 16, corpus.windows - first))
    for (let i = 0; i * RECORD_FIELDS < records.length; i++) {
      const document = records[i * RECORD_FIELDS + 3]!
      if (document !== last) ranges.push([first + i, 0])
      ranges.at(-1)![1]++
      last = document
    }
  }
  return ranges
}
