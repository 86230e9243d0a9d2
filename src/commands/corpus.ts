import { NichelmError } from '../base/errors.js'
import { buildCorpus, openCorpus } from '../corpus/index.js'
import { readDocuments, Tokenizer } from '../text/index.js'
import { define, group, jsonOption, print, progress } from './frame.js'
import { textOptions } from './textOptions.js'

const build = define({
  command: 'build',
  describe: 'Tokenize text into a corpus: token shards, windows, manifest',
  options: {
    ...textOptions,
    tokenizer: { type: 'string', demandOption: true, describe: 'A tokenizer.json, or a folder that has one' },
    context: { type: 'number', minimum: 2, default: 1024, describe: 'Tokens of a window at most' },
    'minimum-length': { type: 'number', minimum: 2, describe: 'A document\'s last window is dropped if it is shorter; default: 32, or the context if that is less' },
    tokens: { type: 'number', minimum: 2, describe: 'Stop after so many tokens' },
    into: { type: 'string', demandOption: true, describe: 'The folder to make' },
    replace: { type: 'boolean', default: false, describe: 'Replace the folder if it is there, once the new one is whole' },
    ...jsonOption,
  },
  examples: [['corpus build --text "text/*.jsonl.gz" --tokenizer tokenizer.json --context 256 --into corpus', 'A corpus of windows of 256 tokens']],
  run: async ({ text, field, tokenizer: from, context, 'minimum-length': minimumLength, tokens, into, replace, json }) => {
    if (minimumLength !== undefined && minimumLength > context) throw new NichelmError('USAGE', `--minimum-length ${minimumLength}: must be at most the context, ${context}`, { fix: 'Lower it, or raise --context.' })
    if (tokens !== undefined && tokens < context) throw new NichelmError('USAGE', `--tokens ${tokens}: must be at least one window of ${context}`, { fix: 'Raise it, or lower --context.' })
    using tokenizer = Tokenizer.load(from)
    let said = performance.now()
    const { counts } = await buildCorpus({
      documents: readDocuments(text, { field }), tokenizer, context, minimumLength, into, replace, source: text.join(', '), ...(tokens === undefined ? {} : { maximumTokens: tokens }),
      onProgress: ({ documents, tokens: done }) => {
        if (performance.now() - said < 10_000) return
        said = performance.now()
        progress(`${documents.toLocaleString('en')} documents, ${done.toLocaleString('en')} tokens`)
      },
    })
    print(json, { folder: into, ...counts }, () => describe(into, counts))
  },
})

const info = define({
  command: 'info <folder>',
  describe: 'What a corpus holds',
  positionals: { folder: { describe: 'Corpus folder' } },
  options: { verify: { type: 'boolean', default: false, describe: 'Compare all checksums, also of a large corpus' }, ...jsonOption },
  examples: [['corpus info corpus', 'Documents, windows, tokens, tokenizer']],
  run: ({ folder, verify, json }) => {
    using corpus = openCorpus(String(folder), verify ? { verify } : {})
    const { context, minimumLength, counts, tokenizer, source, shards } = corpus.manifest
    print(json, { folder, context, minimumLength, ...counts, shards: shards.length, bytes: corpus.bytes, hash: corpus.hash, tokenizer, source }, () => [
      describe(String(folder), counts),
      `windows of at most ${context} tokens; ${shards.length} shard${shards.length === 1 ? '' : 's'}, ${(corpus.bytes / 1e6).toFixed(1)} MB`,
      `tokenizer ${tokenizer.hash.slice(0, 12)}, vocabulary ${tokenizer.vocabularySize}`,
      `from ${source}`,
    ].join('\n'))
  },
})

const describe = (folder: string, counts: { documents: number; windows: number; tokens: number; droppedTokens: number; skippedDocuments: number }): string =>
  `${folder}: ${counts.documents.toLocaleString('en')} documents, ${counts.windows.toLocaleString('en')} windows, ${counts.tokens.toLocaleString('en')} tokens (left out: ${counts.droppedTokens.toLocaleString('en')} tokens of remainders, ${counts.skippedDocuments.toLocaleString('en')} documents)`

export const corpus = group('corpus', 'Corpora', [build, info])
