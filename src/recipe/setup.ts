import type { CommonFile } from './schema.js'

export interface TextFiles { files: string[]; field: string }
export interface Domain { name: string; train: TextFiles; heldout: TextFiles; tokens: number | undefined }

/** What recipes and experiments have in common, ready to run: paths absolute, globs expanded, what was left open decided. */
export interface Setup extends Omit<CommonFile, 'data' | 'output' | 'tokenizer'> {
  /** The file that it was read from. */
  file: string
  /** Output folder. */
  output: string
  generic: TextFiles & { heldout: string[] }
  domains: Domain[]
  tokenizer: { file: string } | { vocabulary: number; documents: number }
  /** Tokens of a window and of a row. */
  context: number
}
