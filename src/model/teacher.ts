import type { Copies } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import type { Layout } from '../graph/lower.js'
import type { TeacherTensors } from '../graph/ops/index.js'
import { persistent } from '../graph/tensor.js'

/** A model that learns from a teacher: its loss is (1 - alpha) nll + alpha temperature² KL(teacher || model), both softened by the temperature (arXiv 1503.02531). */
export interface DistillationOptions {
  /** The teacher's share of the loss, in [0, 1]. */
  alpha: number
  temperature: number
  /** How rows bring the teacher's distributions: as logits, or as the k most probable tokens with their probabilities at the temperature. */
  teacher: 'logits' | { k: number }
}

/** The teacher's distributions of a batch's rows · length tokens: logits [tokens, vocabulary]; or ids and probabilities [tokens, k], those of one token distinct. */
export type TeacherRows = { logits: Float32Array } | { ids: Int32Array; probabilities: Float32Array }

/** Throws CONFIG that names the field if a model of this vocabulary cannot learn so. */
export function checkDistillation({ alpha, temperature, teacher }: DistillationOptions, vocabulary: number): void {
  const wrong = (field: string, what: string): never => { throw new NichelmError('CONFIG', what, { place: { field: `distill.${field}` } }) }
  if (!(alpha >= 0 && alpha <= 1)) wrong('alpha', `must be from 0 to 1; got ${alpha}`)
  if (!(temperature > 0 && temperature < 1e6)) wrong('temperature', `must be positive; got ${temperature}`)
  if (teacher !== 'logits' && !(Number.isSafeInteger(teacher.k) && teacher.k >= 1 && teacher.k <= vocabulary)) wrong('k', `must be a whole number from 1 to the ${vocabulary} tokens of the vocabulary; got ${teacher.k}`)
}

/** Where the teacher's distributions of a micro-batch lie. */
export function teacherTensors({ teacher }: DistillationOptions, tokens: number, vocabulary: number): TeacherTensors {
  if (teacher === 'logits') return { logits: persistent("teacher's logits", 'f32', [tokens, vocabulary]) }
  return { ids: persistent("teacher's tokens", 'i32', [tokens, teacher.k]), probabilities: persistent("teacher's probabilities", 'f32', [tokens, teacher.k]) }
}

/** What to copy there for a batch. Throws USAGE if the batch does not bring it; INPUT for an id outside the vocabulary. */
export function teacherCopies(tensors: TeacherTensors, layout: Layout, weights: Float32Array, rows: TeacherRows | undefined, vocabulary: number): Copies {
  if ('logits' in tensors) {
    if (!rows || !('logits' in rows) || rows.logits.length !== tensors.logits.size) throw new NichelmError('USAGE', `the batch brings no logits of a teacher, [${tensors.logits.shape.join(', ')}]`)
    return [layout.offset(tensors.logits), rows.logits]
  }
  if (!rows || 'logits' in rows || rows.ids.length !== tensors.ids.size || rows.probabilities.length !== tensors.ids.size)
    throw new NichelmError('USAGE', `the batch brings no ids and probabilities of a teacher, [${tensors.ids.shape.join(', ')}]`)
  const k = tensors.ids.width
  for (let i = 0; i < rows.ids.length; i++) {
    const id = rows.ids[i]!
    if ((id < 0 || id >= vocabulary) && weights[Math.floor(i / k)]) throw new NichelmError('INPUT', `the teacher names token ${id}, outside the vocabulary of ${vocabulary}`)
  }
  return [layout.offset(tensors.ids), rows.ids, layout.offset(tensors.probabilities), rows.probabilities]
}
