import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Device, type TokenText } from '../../bindings/index.js'
import { openCorpus, type Corpus } from '../../src/corpus/corpus.js'
import { build, temporaryFolder } from '../corpus/support.js'

/** What the byte tokenizer's tokens stand for; 256 ends a document. */
export const byteText: TokenText = { bytes: Uint8Array.from({ length: 256 }, (_, i) => i), offsets: Uint32Array.from({ length: 258 }, (_, i) => Math.min(i, 256)) }

const TOPICS = [
  'whale ocean harpoon captain ship sailor wave storm deck anchor',
  'court judge appeal statute plaintiff verdict counsel motion evidence trial',
  'enzyme protein tumour patient dose receptor clinical plasma cell therapy',
  'theorem lemma proof manifold operator compact spectrum bounded metric kernel',
].map((words) => words.split(' '))

/** Texts that keep to one of four topics, in turns; `only` keeps to some of them. */
export function topicalTexts(count: number, only: number[] = [0, 1, 2, 3], seed = 1): { texts: string[]; topics: number[] } {
  let state = seed
  const random = (below: number) => Math.floor((state = (state * 48271) % 2147483647) / 2147483647 * below)
  const topics = Array.from({ length: count }, (_, i) => only[i % only.length]!)
  const texts = topics.map((topic) => Array.from({ length: 25 }, (_, i) => (i % 3 ? TOPICS[topic]![random(10)]! : ['the', 'of', 'and', 'good'][random(4)]!)).join(' '))
  return { texts, topics }
}

export async function topicalCorpus(t: TestContext, count: number, only?: number[]): Promise<{ corpus: Corpus; topics: number[]; folder: string }> {
  const folder = temporaryFolder(t), { texts, topics } = topicalTexts(count, only)
  await build(join(folder, 'corpus'), texts, { context: 256, minimumLength: 32 })
  const corpus = openCorpus(join(folder, 'corpus'))
  t.after(() => corpus[Symbol.dispose]())
  return { corpus, topics, folder }
}

export function openDevice(t: TestContext, threads?: number): Device {
  const device = new Device(threads === undefined ? {} : { threads })
  t.after(() => device.dispose())
  return device
}
