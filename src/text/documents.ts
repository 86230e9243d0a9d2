import { stat } from 'node:fs/promises'
import { fileError, NichelmError } from '../base/errors.js'
import { readBytes } from './bytes.js'
import { readLines, readWhole, type Line } from './lines.js'
import { readParquet } from './parquet.js'
import { findSources, type SourceFile } from './sources.js'

/** One document and where it came from. */
export interface Document {
  text: string
  file: string
  /** Counted from 1; in files that are read by lines. */
  line?: number
  /** Counted from 0; in Parquet files. */
  row?: number
}

export interface ReadOptions {
  /** The field of JSON lines, or the column of Parquet files, that holds the text; default `text`. */
  field?: string
  /** Whether each line of a .txt file is a document (blank ones are left out); by default a whole file is one. */
  documentPerLine?: boolean
}

/**
 * The documents of files, folders and glob patterns (see `findSources`), one after the other; a file is never in memory as a whole but for a .txt file
 * that is one document.
 *
 * Throws INPUT, naming file and line, row or byte, for whatever cannot be read, and for a file without any document.
 */
export async function* readDocuments(sources: string | readonly string[], options: ReadOptions = {}): AsyncGenerator<Document> {
  for (const source of await findSources(sources)) {
    const unusable = (what: string): NichelmError => new NichelmError('INPUT', what, { place: { file: source.file }, fix: 'Remove it, or put text into it.' })
    const { size } = await stat(source.file).catch((error: unknown) => { throw fileError(error, source.file) })
    if (size === 0) throw unusable('the file is empty')
    let documents = 0
    for await (const document of readFile(source, options)) {
      documents++
      yield document
    }
    if (documents === 0) throw unusable('there is no document in it')
  }
}

async function* readFile(source: SourceFile, { field = 'text', documentPerLine = false }: ReadOptions): AsyncGenerator<Document> {
  const { file, format } = source
  if (format === 'parquet') {
    for await (const { text, row } of readParquet(file, field)) yield { text, file, row }
  } else if (format === 'text' && !documentPerLine) {
    const text = await readWhole(readBytes(source), file)
    if (text !== '') yield { text, file }
  } else {
    for await (const line of readLines(readBytes(source), file))
      if (line.text.trim() !== '') yield { text: format === 'text' ? line.text : fieldOf(line, field, file), file, line: line.number }
  }
}

function fieldOf({ text, number, ended }: Line, field: string, file: string): string {
  const place = { file, line: number }
  let value: unknown
  try { value = JSON.parse(text) } catch (error) {
    const { message } = error as Error
    const at = Number(/position (\d+)/.exec(message)?.[1] ?? text.length)
    // The parser quotes the text around the place; the place is enough.
    const what = at >= text.length ? `the line ends in the middle of its JSON${ended ? '' : ': is the file cut short?'}` : `is not valid JSON (${message.replace(/, "[^]*$/, '')})`
    throw new NichelmError('INPUT', what, { place, fix: number === 1 && /^\s*\[/.test(text) ? 'This looks like a JSON array; write one JSON object a line instead.' : 'Each line must hold one JSON object.', cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new NichelmError('INPUT', 'holds no JSON object', { place, fix: 'Each line must hold one JSON object.' })
  const found: unknown = Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined
  if (typeof found === 'string') return found
  const names = Object.keys(value).map((name) => `'${name}'`).join(', ')
  throw new NichelmError('INPUT', found === undefined ? `has no field '${field}'; it has ${names || 'none'}` : `the field '${field}' holds ${found === null ? 'null' : Array.isArray(found) ? 'a list' : `a ${typeof found}`}, not a string`, {
    place, fix: 'Choose the field with the option `field`.',
  })
}
