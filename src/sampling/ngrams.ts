import { NichelmError } from '../base/errors.js'
import { streamKey, uniform } from '../base/random.js'
import type { Corpus } from '../corpus/corpus.js'
import { throwIfInterrupted } from '../corpus/folder.js'

export interface NgramOptions {
  /** Windows that training will draw of those that are chosen. */
  draws: number
  /** How often a chosen window is gone through in these draws; default 2. Fewer windows that are nearer to the domain, or more that are less near. */
  repeats?: number | undefined
  /** Unigrams and bigrams of tokens are counted in so many buckets, by a hash; default 10,000. */
  buckets?: number | undefined
  seed?: number | undefined
  /** Called after every few thousand windows of the generic set. */
  onProgress?: ((windows: number) => void) | undefined
  /** When aborted, it ends with INTERRUPTED. */
  signal?: AbortSignal | undefined
}

/** Generic windows that are like a domain, and how like. */
export interface NgramSelection {
  /** Numbers of the generic windows that were chosen, ascending. */
  windows: Uint32Array
  /** How many there were to choose from. */
  of: number
  buckets: number
  /** Kullback-Leibler divergences, in nats, of the domain's n-gram frequencies from those of the generic set, and of what was chosen of it. */
  divergence: { generic: number; selected: number }
  /** Tokens read: of the domain once, of the generic set three times. */
  tokens: number
  /** For people: what should give pause. */
  warnings: string[]
}

const CHUNK_WINDOWS = 4096

/**
 * Chooses generic windows by importance resampling of hashed n-grams (DSIR; Xie et al., arXiv 2302.03169): with p and q the frequencies of buckets of
 * unigrams and bigrams in the domain and in the generic set, each with one occurrence added to every bucket, a window's log weight is the sum over its
 * n-grams of log p - log q; the draws / repeats windows with the greatest sum of log weight and Gumbel noise are a sample without replacement by weight.
 * N-grams here are of tokens, and do not reach across windows.
 *
 * Throws CONFIG for options that cannot be, INPUT if the corpora have different tokenizers.
 */
export function selectByNgrams(generic: Corpus, specialization: Corpus, options: NgramOptions): NgramSelection {
  const { draws, repeats = 2, buckets = 10000, seed = 0, onProgress, signal } = options
  const wrong = (field: string, rule: string, got: number) => new NichelmError('CONFIG', `must be ${rule}; got ${got}`, { place: { field } })
  if (!Number.isInteger(draws) || draws < 1) throw wrong('draws', 'a positive integer', draws)
  if (!(repeats > 0 && Number.isFinite(repeats))) throw wrong('repeats', 'greater than 0', repeats)
  if (!Number.isInteger(buckets) || buckets < 2 || buckets > 2 ** 24) throw wrong('buckets', `an integer from 2 to ${2 ** 24}`, buckets)
  specialization.expectTokenizer(generic.manifest.tokenizer.hash)

  const pass = (corpus: Corpus, visit: (ngrams: Uint32Array, count: number, window: number) => void, progress?: (windows: number) => void): void => {
    const ngrams = new Uint32Array(2 * corpus.context)
    for (let first = 0; first < corpus.windows; first += CHUNK_WINDOWS) {
      throwIfInterrupted(signal)
      const { tokens, lengths } = corpus.readWindows(first, Math.min(CHUNK_WINDOWS, corpus.windows - first))
      for (let i = 0, at = 0; i < lengths.length; at += lengths[i++]!) visit(ngrams, bucketsOf(tokens, at, lengths[i]!, buckets, ngrams), first + i)
      progress?.(first + lengths.length)
    }
  }
  const counted = (corpus: Corpus, chosen?: (window: number) => boolean): Float64Array => {
    const counts = new Float64Array(buckets)
    pass(corpus, (ngrams, count, window) => {
      if (!chosen || chosen(window)) for (let i = 0; i < count; i++) counts[ngrams[i]!]!++
    })
    return counts
  }
  const p = logFrequencies(counted(specialization)), q = logFrequencies(counted(generic))
  const logWeights = p.map((value, bucket) => value - q[bucket]!)
  const key = streamKey(seed, 'n-gram selection'), scores = new Float64Array(generic.windows)
  pass(generic, (ngrams, count, window) => {
    let score = 0
    for (let i = 0; i < count; i++) score += logWeights[ngrams[i]!]!
    scores[window] = score - Math.log(-Math.log(1 - uniform(key, window, 0)))
  }, onProgress)

  const wanted = Math.ceil(draws / repeats), windows = greatest(scores, Math.min(wanted, generic.windows))
  const chosen = new Uint8Array(generic.windows)
  for (const window of windows) chosen[window] = 1
  const warnings: string[] = []
  if (wanted >= generic.windows) warnings.push(`${wanted.toLocaleString('en')} windows are wanted, and the generic set has ${generic.windows.toLocaleString('en')}: nothing is left out. Give more generic text, train on fewer tokens, or let windows repeat more often`)
  const selected = logFrequencies(counted(generic, window => chosen[window] === 1))
  return {
    windows, of: generic.windows, buckets, warnings, divergence: { generic: divergence(p, q), selected: divergence(p, selected) },
    tokens: specialization.manifest.counts.tokens + 3 * generic.manifest.counts.tokens,
  }
}

/** The buckets of a window's unigrams and bigrams, into `into`; returns how many there are. */
function bucketsOf(tokens: Uint32Array, at: number, length: number, buckets: number, into: Uint32Array): number {
  let count = 0
  for (let i = 0; i < length; i++) {
    const token = tokens[at + i]!
    into[count++] = mixed(token) % buckets
    if (i > 0) into[count++] = mixed(Math.imul(tokens[at + i - 1]! + 1, 0x9e3779b1) ^ token) % buckets
  }
  return count
}

/** A hash of 32 bits in which every bit of the input moves every bit of the output (the finalizer of MurmurHash3). */
function mixed(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Logarithms of frequencies, one occurrence added to every bucket: nothing is impossible. */
function logFrequencies(counts: Float64Array): Float64Array {
  const all = Math.log(counts.reduce((sum, count) => sum + count, counts.length))
  return counts.map(count => Math.log(count + 1) - all)
}

const divergence = (p: Float64Array, q: Float64Array): number => p.reduce((sum, value, bucket) => sum + Math.exp(value) * (value - q[bucket]!), 0)

/** Places of the `count` greatest values, ascending; among equals the first. */
function greatest(values: Float64Array, count: number): Uint32Array {
  const least = values.slice().sort()[values.length - count]!
  let equal = count
  for (const value of values) if (value > least) equal--
  const places = new Uint32Array(count)
  for (let i = 0, at = 0; i < values.length; i++) if (values[i]! > least || values[i] === least && equal-- > 0) places[at++] = i
  return places
}
