import { readDocuments, Tokenizer } from '../text/index.js'
import { define, group, jsonOption, print, threadsOption } from './frame.js'
import { textOptions } from './textOptions.js'

const train = define({
  command: 'train',
  describe: 'Train a byte-level BPE tokenizer',
  options: {
    ...textOptions,
    vocabulary: { type: 'number', minimum: 257, default: 32000, describe: 'Entries, the 256 bytes and the special tokens among them' },
    special: { type: 'string', array: true, nargs: 1, default: ['<|endoftext|>'], describe: 'Special tokens; the first ends a text' },
    documents: { type: 'number', minimum: 1, describe: 'Use so many documents only' },
    threads: { ...threadsOption.threads, describe: 'Threads: a number, or all for as many as there are cores. The result does not depend on it' },
    into: { type: 'string', demandOption: true, describe: 'The file to write, such as tokenizer.json' },
    ...jsonOption,
  },
  examples: [['tokenizer train --text "text/*.jsonl.gz" --vocabulary 4096 --into tokenizer.json', 'A Hugging Face tokenizer.json']],
  run: async ({ text, field, vocabulary, special, documents, threads, into, json }) => {
    using tokenizer = await Tokenizer.train(limited(readDocuments(text, { field }), documents ?? Infinity), { vocabularySize: vocabulary, specialTokens: special, threads })
    tokenizer.save(into)
    print(json, { file: into, vocabulary: tokenizer.vocabularySize, hash: tokenizer.hash }, () => `${into}: ${tokenizer.vocabularySize} tokens${tokenizer.vocabularySize < vocabulary ? ', all that this text gives' : ''}`)
  },
})

async function* limited<Item>(items: AsyncIterable<Item>, count: number): AsyncGenerator<Item> {
  let left = count
  for await (const item of items) {
    yield item
    if (--left <= 0) return
  }
}

export const tokenizer = group('tokenizer', 'Tokenizers', [train])
