import type { Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { philox, streamKey } from '../base/random.js'
import type { SampleSettings } from '../graph/ops/index.js'
import { openHuggingFace, type Precision, type StoredModel } from '../model/index.js'
import { MOST_SLOTS } from './plan.js'
import { InferenceSession } from './session.js'

export interface GenerateOptions {
  device: Device
  precision: Precision
  /** A Hugging Face folder, or what is in it. */
  model: StoredModel | string
  /** The token ids of each prompt. */
  prompts: readonly ArrayLike<number>[]
  /** New tokens of each prompt at most; the model's context may end a text before. */
  maxTokens: number
  sampling: SampleSettings
  seed: number
  /** Ids that end a text; they are not part of it. */
  stop?: readonly number[]
  /** Texts that are continued at once; default: as many as there are, at most 64. */
  batch?: number
  signal?: AbortSignal
}

/** Why a text ended: a stop token was drawn, maxTokens were made, or the model's context is full. */
export type End = 'stop' | 'length' | 'context'

/** What a step adds to one prompt's text; the last one says why the text ends, where it was a stop token without an id. */
export interface NewToken { prompt: number; id?: number; end?: End }

export interface GenerateStatistics {
  /** Tokens of the prompts, and new ones. */
  promptTokens: number
  newTokens: number
  /** Seconds that prompts and steps took. */
  prefillSeconds: number
  decodeSeconds: number
  memoryBytes: number
}

/** Throws USAGE or CONFIG that names the setting if texts cannot be generated so. */
export function checkGeneration({ maxTokens, sampling: { temperature, topK, topP }, batch }: Pick<GenerateOptions, 'maxTokens' | 'sampling' | 'batch'>): void {
  const wrong = (field: string, what: string): never => { throw new NichelmError('USAGE', what, { place: { field } }) }
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) wrong('maxTokens', `must be a whole number of at least 1; got ${maxTokens}`)
  if (!(temperature >= 0 && temperature < 1e6)) wrong('temperature', `must be at least 0; got ${temperature}`)
  if (!Number.isSafeInteger(topK) || topK < 0) wrong('topK', `must be a whole number of at least 0; got ${topK}`)
  if (!(topP > 0 && topP <= 1)) wrong('topP', `must be above 0 and at most 1; got ${topP}`)
  if (batch !== undefined && !(Number.isSafeInteger(batch) && batch >= 1 && batch <= MOST_SLOTS)) wrong('batch', `must be from 1 to ${MOST_SLOTS}; got ${batch}`)
}

/** Throws INPUT that names the prompt if a model cannot continue it. */
export function checkPrompts(prompts: readonly ArrayLike<number>[], { vocabulary, context }: { vocabulary: number; context: number }): void {
  for (const [at, prompt] of prompts.entries()) {
    const wrong = (what: string, fix: string): never => { throw new NichelmError('INPUT', `prompt ${at + 1}: ${what}`, { fix }) }
    if (prompt.length === 0) wrong('is empty', 'Give it at least one token.')
    if (prompt.length > context) wrong(`has ${prompt.length} tokens, more than the model's context of ${context}`, 'Shorten it, or take a model with a longer context.')
    for (let i = 0; i < prompt.length; i++) if (!(prompt[i]! >= 0 && prompt[i]! < vocabulary)) wrong(`token ${prompt[i]} is outside the vocabulary of ${vocabulary}`, 'Use the tokenizer that the model was trained with.')
  }
}

/** Steps that are made in one call: at most so many, and for about so long. What comes out does not depend on it. */
export const MOST_STEPS = 8
const STEPS_SECONDS = 0.02

interface Text { prompt: number; slot: number; token: number; cached: number; made: number }

/**
 * Continues prompts, token by token, many at once; a text that ends makes room for the next prompt. Gives what each step added. The tokens of a prompt depend
 * on it, its number, the seed and the sampling, not on the other prompts, the batch or the number of threads.
 *
 * Throws USAGE for settings that cannot be and INPUT for prompts that cannot be continued before anything is loaded; DIVERGED if the model's logits are not finite.
 */
export async function* generate(options: GenerateOptions): AsyncGenerator<NewToken[], GenerateStatistics> {
  const { device, precision, prompts, maxTokens, sampling, seed, stop = [], signal } = options
  checkGeneration(options)
  const model = typeof options.model === 'string' ? openHuggingFace(options.model) : options.model, { config } = model
  checkPrompts(prompts, config)
  const statistics: GenerateStatistics = { promptTokens: 0, newTokens: 0, prefillSeconds: 0, decodeSeconds: 0, memoryBytes: 0 }
  if (prompts.length === 0) return statistics
  const slots = Math.min(options.batch ?? MOST_SLOTS, prompts.length, MOST_SLOTS), longest = prompts.reduce((most, prompt) => Math.max(most, prompt.length), 0)
  // The last new token is not read any more.
  const capacity = Math.min(config.context, longest + maxTokens - 1)
  using session = new InferenceSession(device, { config, precision, slots, capacity, sampling })
  session.load(model)
  statistics.memoryBytes = session.memory.total
  const key = streamKey(seed, 'generate'), ends = new Set(stop), free = Array.from({ length: slots }, (_, slot) => slots - 1 - slot)
  let texts: Text[] = [], next = 0, secondsPerStep = Infinity
  while (texts.length || next < prompts.length) {
    const began = performance.now()
    for (; next < prompts.length && free.length; next++) {
      signal?.throwIfAborted()
      const prompt = prompts[next]!, slot = free.pop()!, before = prompt.length - 1
      await session.prefill(slot, Array.from(prompt).slice(0, before))
      texts.push({ prompt: next, slot, token: prompt[before]!, cached: before, made: 0 })
      statistics.promptTokens += prompt.length
    }
    const read = performance.now()
    signal?.throwIfAborted()
    // Some steps in one call, so that what a call costs is shared; as many as take a moment, so that tokens come as they are made and a text that ends makes room soon.
    const steps = Math.max(1, Math.min(MOST_STEPS, Math.floor(STEPS_SECONDS / secondsPerStep), ...texts.map(({ cached, made }) => Math.min(maxTokens - made, capacity - cached))))
    const drawn = await session.decodeSteps(texts.map(({ slot, token, cached }) => ({ slot, token, cached, uniform: 0 })), steps, (row, step) => (philox(key, texts[row]!.prompt, texts[row]!.made + step)[0] >>> 8) / 2 ** 24)
    const done = performance.now()
    statistics.prefillSeconds += (read - began) / 1000
    statistics.decodeSeconds += (done - read) / 1000
    secondsPerStep = (done - read) / 1000 / steps
    const ended = new Set<Text>()
    for (const ids of drawn) {
      const added: NewToken[] = []
      for (const [at, text] of texts.entries()) {
        if (ended.has(text)) continue
        const id = ids[at]!, { prompt } = text
        if (id < 0) throw new NichelmError('DIVERGED', `the model's logits after token ${text.cached + 1} of prompt ${prompt + 1} are not finite`, { fix: 'The model is damaged, or its training diverged.' })
        Object.assign(text, { token: id, cached: text.cached + 1, made: text.made + 1 })
        const end: End | undefined = ends.has(id) ? 'stop' : text.made === maxTokens ? 'length' : text.cached === config.context ? 'context' : undefined
        if (end !== 'stop') statistics.newTokens++
        added.push({ prompt, ...(end === 'stop' ? {} : { id }), ...(end ? { end } : {}) })
        if (!end) continue
        ended.add(text)
        free.push(text.slot)
      }
      if (added.length) yield added
    }
    texts = texts.filter((text) => !ended.has(text))
  }
  return statistics
}

/** A prompt's continuation. */
export interface Continuation { ids: number[]; end: End }

/** `generate` to its end: the continuation of each prompt. */
export async function generateAll(options: GenerateOptions): Promise<{ texts: Continuation[]; statistics: GenerateStatistics }> {
  const texts: Continuation[] = options.prompts.map(() => ({ ids: [], end: 'length' })), steps = generate(options)
  for (;;) {
    const { value, done } = await steps.next()
    if (done) return { texts, statistics: value }
    for (const { prompt, id, end } of value) {
      if (id !== undefined) texts[prompt]!.ids.push(id)
      if (end) texts[prompt]!.end = end
    }
  }
}
