import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import type { Corpus } from '../corpus/index.js'
import { openHuggingFace, type ModelConfig, type StoredModel } from '../model/index.js'
import { Tokenizer } from '../text/index.js'

/** A model to learn from. */
export interface Teacher extends StoredModel {
  folder: string
  /** Identifies it, see `modelHash`. */
  hash: string
}

/**
 * Opens a teacher, any Hugging Face folder of a model that loads, and sees before any work that a student can learn from it on this corpus: the same vocabulary, the
 * corpus's tokenizer where the folder holds a tokenizer.json, a context as long as the corpus's windows. Throws INPUT or CONFIG that says what differs.
 */
export function openTeacher(folder: string, student: Pick<ModelConfig, 'vocabulary'>, corpus: Corpus): Teacher {
  const model = openHuggingFace(folder), { vocabulary, context } = model.config
  const place = { file: folder }, fix = 'A teacher must have been trained with the tokenizer of the model that learns from it.'
  if (vocabulary !== student.vocabulary) throw new NichelmError('INPUT', `the teacher has a vocabulary of ${vocabulary} tokens, the model that is to learn from it one of ${student.vocabulary}`, { place, fix })
  if (existsSync(join(folder, 'tokenizer.json'))) {
    using tokenizer = Tokenizer.load(folder)
    const { hash } = corpus.manifest.tokenizer
    if (tokenizer.hash !== hash) throw new NichelmError('INPUT', `the teacher has another tokenizer (${tokenizer.hash.slice(0, 12)}) than ${corpus.folder} (${hash.slice(0, 12)})`, { place, fix })
  }
  if (context < corpus.context)
    throw new NichelmError('CONFIG', `the teacher has a context of ${context} tokens, but the corpus has windows of up to ${corpus.context}`, { place, fix: `Build the corpus with a context of at most ${context}, or take another teacher.` })
  return { ...model, folder, hash: modelHash(model) }
}

/** Identifies a model by its configuration and its parameters. */
export function modelHash({ config, parameters }: StoredModel): string {
  const hash = createHash('sha256').update(JSON.stringify(config))
  for (const { name, values } of parameters()) hash.update(name).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  return hash.digest('hex')
}
