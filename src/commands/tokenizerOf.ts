import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '../text/index.js'

/** The tokenizer in a model's folder, if there is one. */
export function tokenizerOf(model: string): Tokenizer | undefined {
  const file = join(model, 'tokenizer.json')
  return existsSync(file) ? Tokenizer.load(file) : undefined
}
