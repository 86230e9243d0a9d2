import { stat } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { glob, isDynamicPattern } from 'tinyglobby'
import { fileError, NichelmError, systemCode } from '../base/errors.js'

export type Format = 'text' | 'jsonLines' | 'parquet'
export type Compression = 'none' | 'gz' | 'zst'
/** One file with text in it. */
export interface SourceFile { file: string; format: Format; compression: Compression }

const FORMATS: Record<string, Format> = { '.txt': 'text', '.jsonl': 'jsonLines', '.ndjson': 'jsonLines', '.json': 'jsonLines', '.parquet': 'parquet' }
const ENDINGS = '.txt, .jsonl, .ndjson, .json (all three: one JSON object a line), each also with .gz or .zst, and .parquet'

/** What the name's ending says; undefined if it says nothing. */
export function sourceOf(file: string): SourceFile | undefined {
  const [, plain = '', packed = ''] = /^(.*?)(\.gz|\.zst)?$/is.exec(file) ?? []
  const format = FORMATS[/\.[a-z]+$/i.exec(plain)?.[0].toLowerCase() ?? '']
  const compression = packed ? (packed.slice(1).toLowerCase() as Compression) : 'none'
  return format && !(format === 'parquet' && packed) ? { file, format, compression } : undefined
}

/**
 * The files that paths, folders (recursive) and glob patterns stand for: in the order given, those of a folder or pattern sorted by name, each file once.
 *
 * In folders and patterns, files with other endings and those whose names begin with a dot are left out. Throws INPUT for what does not exist, a file
 * with another ending, a folder or pattern without any such file.
 */
export async function findSources(sources: string | readonly string[]): Promise<SourceFile[]> {
  const found = new Map<string, SourceFile>()
  for (const source of typeof sources === 'string' ? [sources] : sources)
    for (const file of await filesOf(source)) if (!found.has(file.file)) found.set(file.file, file)
  if (found.size === 0) throw new NichelmError('INPUT', 'no text files were given', { fix: `Name files, folders or glob patterns: ${ENDINGS}.` })
  return [...found.values()]
}

async function filesOf(source: string): Promise<SourceFile[]> {
  const place = { file: source }
  let isFolder: boolean
  try {
    isFolder = (await stat(source)).isDirectory()
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' || !isDynamicPattern(source)) throw fileError(error, source)
    const matches = await glob(source, { expandDirectories: false, absolute: isAbsolute(source) })
    if (matches.length === 0) throw new NichelmError('INPUT', 'no file matches this pattern', { place, fix: 'Check the pattern, and that the shell did not change it: put it in quotes.' })
    return known(matches, () => new NichelmError('INPUT', `of ${matches.length} files that match this pattern none has a known ending`, { place, fix: `Known are ${ENDINGS}.` }))
  }
  if (!isFolder) return known([source], () => new NichelmError('INPUT', 'its ending does not say what it holds', { place, fix: `Known are ${ENDINGS}.` }))
  const names = await glob('**/*', { cwd: source })
  return known(names.map((name) => join(source, name)), () => new NichelmError('INPUT', 'there is no text file in this folder', { place, fix: `Known endings are ${ENDINGS}.` }))
}

function known(files: string[], none: () => NichelmError): SourceFile[] {
  const list = files.flatMap((file) => sourceOf(file) ?? []).sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0))
  if (list.length === 0) throw none()
  return list
}
