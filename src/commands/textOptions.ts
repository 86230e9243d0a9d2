import type { OptionTable } from './frame.js'

/** Where text comes from. */
export const textOptions = {
  text: { type: 'string', array: true, demandOption: true, describe: 'Text files (.txt, .jsonl, .parquet, each also .gz or .zst), folders or globs' },
  field: { type: 'string', default: 'text', describe: 'Field of a JSON line, or column of a parquet file, that holds the text' },
} as const satisfies OptionTable
