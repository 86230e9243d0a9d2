import type { AddedToken } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { BYTE_CHARACTERS } from './byteAlphabet.js'

/** What a tokenizer.json of byte-level BPE says. */
export interface Vocabulary {
  /** Tokens as they are written, by id; undefined where an id is not used. */
  tokens: (string | undefined)[]
  /** Left, right and merged id of each rule, by rank. */
  merges: Uint32Array
  /** Tokens that are looked for in the text itself. */
  added: AddedToken[]
  /** How the Hugging Face library frames a text with special tokens; kept for it, not used here. */
  postProcessor: unknown
}

type Json = Record<string, unknown>
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const typeOf = (part: unknown): string => (isObject(part) && typeof part.type === 'string' ? part.type : JSON.stringify(part))
const LARGEST_ID = 2 ** 30

/**
 * Reads the content of a Hugging Face tokenizer.json.
 *
 * Throws INPUT if it is not one, or is of a kind that is not byte-level BPE with GPT-2's pattern; the message says what is not supported.
 */
export function parseTokenizer(json: unknown, file: string): Vocabulary {
  const fail = (what: string, field: string, fix?: string): never => { throw new NichelmError('INPUT', what, { place: { file, field }, fix: fix ?? 'Give a tokenizer.json, such as `nichelm tokenizer train` writes.' }) }
  const unsupported = (what: string, field: string): never => fail(`${what} is not supported`, field, 'Use a byte-level BPE tokenizer like GPT-2\'s, or train one with `nichelm tokenizer train`.')
  const object = (value: unknown, field: string): Json => (isObject(value) ? value : fail('must be an object', field))

  const top = isObject(json) ? json : fail('is not a tokenizer.json: it must hold a JSON object', '')
  const model = object(top.model, 'model')
  if (model.type !== undefined && model.type !== 'BPE') unsupported(`a model of type ${typeOf(model)}`, 'model')
  if (!isObject(model.vocab) || !Array.isArray(model.merges)) fail('must hold `vocab` and `merges`', 'model')
  if (model.dropout) unsupported('dropout', 'model.dropout')
  if (model.continuing_subword_prefix) unsupported('a subword prefix', 'model.continuing_subword_prefix')
  if (model.end_of_word_suffix) unsupported('a word suffix', 'model.end_of_word_suffix')
  if (model.ignore_merges) unsupported('ignore_merges', 'model.ignore_merges')
  if (top.normalizer) unsupported(`a normalizer (${typeOf(top.normalizer)})`, 'normalizer')
  const pre = isObject(top.pre_tokenizer) ? top.pre_tokenizer : unsupported('a tokenizer without the pre-tokenizer ByteLevel', 'pre_tokenizer')
  if (pre.type !== 'ByteLevel') unsupported(`a pre-tokenizer of type ${pre.type === 'Sequence' && Array.isArray(pre.pretokenizers) ? `Sequence (${pre.pretokenizers.map(typeOf).join(', ')})` : typeOf(pre)}`, 'pre_tokenizer')
  if (pre.add_prefix_space) unsupported('add_prefix_space', 'pre_tokenizer.add_prefix_space')
  if (pre.use_regex === false) unsupported('ByteLevel without its pattern', 'pre_tokenizer.use_regex')
  if (top.decoder && typeOf(top.decoder) !== 'ByteLevel') unsupported(`a decoder of type ${typeOf(top.decoder)}`, 'decoder')
  checkPostProcessor(top.post_processor)

  function checkPostProcessor(part: unknown): void {
    if (!part || ['ByteLevel', 'TemplateProcessing'].includes(typeOf(part))) return
    if (isObject(part) && part.type === 'Sequence' && Array.isArray(part.processors)) return part.processors.forEach(checkPostProcessor)
    unsupported(`a post-processor of type ${typeOf(part)}`, 'post_processor')
  }

  const ids = new Map<string, number>()
  const tokens: (string | undefined)[] = []
  const place = (token: string, id: unknown, field: string): number => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > LARGEST_ID) return fail(`the id of ${JSON.stringify(token)} must be a whole number, not ${JSON.stringify(id)}`, field)
    if (tokens[id] !== undefined && tokens[id] !== token) fail(`${JSON.stringify(tokens[id])} and ${JSON.stringify(token)} have the same id ${id}`, field)
    tokens[id] = token
    ids.set(token, id)
    return id
  }
  const vocabulary = Object.entries(model.vocab as Json)
  for (const [token, id] of vocabulary) place(token, id, 'model.vocab')
  for (const character of BYTE_CHARACTERS)
    if (!ids.has(character)) fail(`the vocabulary has no token for the byte ${BYTE_CHARACTERS.indexOf(character)} (${JSON.stringify(character)}): it is not a byte-level one`, 'model.vocab')

  const list = model.merges as unknown[]
  const merges = new Uint32Array(3 * list.length)
  for (const [rank, merge] of list.entries()) {
    const field = `model.merges[${rank}]`
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge
    if (!Array.isArray(pair) || pair.length !== 2) return fail(`must be two tokens, "a b" or ["a", "b"], not ${JSON.stringify(merge)}`, field)
    const id = (token: unknown): number => ids.get(token as string) ?? fail(`${JSON.stringify(token)} is not in the vocabulary`, field)
    merges.set([id(pair[0]), id(pair[1]), id(`${pair[0]}${pair[1]}`)], 3 * rank)
  }

  const added: AddedToken[] = []
  const entries: unknown = top.added_tokens ?? []
  if (!Array.isArray(entries)) return fail('must be a list', 'added_tokens')
  for (const [i, entry] of entries.entries()) {
    const field = `added_tokens[${i}]`
    const token = object(entry, field)
    if (typeof token.content !== 'string' || token.content === '') return fail('must have a `content`', field)
    for (const option of ['single_word', 'lstrip', 'rstrip']) if (token[option]) unsupported(`${option} (of ${JSON.stringify(token.content)})`, `${field}.${option}`)
    const known = ids.get(token.content)
    if (known !== undefined && known !== token.id) fail(`${JSON.stringify(token.content)} has the id ${known} in the vocabulary, but ${JSON.stringify(token.id)} here`, field)
    const id = place(token.content, token.id, field)
    added.push({ content: token.content, id, special: token.special === true, normalized: token.normalized === true })
  }
  // A sparse array would be slow, and a stray huge id would make a huge embedding.
  if (tokens.length > 2 * ids.size + 1024) fail(`${ids.size} tokens have ids up to ${tokens.length - 1}: the ids leave too many out`, 'model.vocab')
  return { tokens: Array.from(tokens), merges, added, postProcessor: top.post_processor ?? null }
}

/** The content of a tokenizer.json. All tokens are in the model's vocabulary, in the order of their ids. */
export function formatTokenizer(v: Vocabulary): string {
  const frame = JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: v.added.map(({ id, content, special, normalized }) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized, special })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: v.postProcessor,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  }, null, 2)
  const model = JSON.stringify({ type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false }, null, 2)
  // By hand from here: a JavaScript object would put tokens that look like numbers first.
  const vocabulary = v.tokens.flatMap((token, id) => (token === undefined ? [] : `      ${JSON.stringify(token)}: ${id}`))
  const merges: string[] = []
  for (let i = 0; i < v.merges.length; i += 3) merges.push(`      ${JSON.stringify(`${v.tokens[v.merges[i]!]} ${v.tokens[v.merges[i + 1]!]}`)}`)
  const open = (object: string): string => object.slice(0, -2) // without its last line, "}"
  return `${open(frame)},
  "model": ${open(model).replaceAll('\n', '\n  ')},
    "vocab": {
${vocabulary.join(',\n')}
    },
    "merges": [
${merges.join(',\n')}
    ]
  }
}
`
}
