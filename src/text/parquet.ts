import { isUtf8 } from 'node:buffer'
import { asyncBufferFromFile, parquetMetadataAsync, parquetRead, parquetSchema, type FileMetaData } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { fileError, NichelmError, systemCode } from '../base/errors.js'
import { invalidUtf8 } from './bytes.js'

/** A value that is no UTF-8, from the byte on. */
class Invalid { constructor(readonly byte: number) {} }
const stringFromBytes = (bytes: Uint8Array | undefined): string | Invalid | undefined =>
  bytes && (isUtf8(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8') : new Invalid(invalidUtf8(bytes)!))

/**
 * The texts of one column of a Parquet file, a row group at a time. `row` counts from 0.
 *
 * Throws INPUT if it is no Parquet file, or damaged; if it has no such column, or one that is not text; for a row without a text.
 */
export async function* readParquet(file: string, field: string): AsyncGenerator<{ text: string; row: number }> {
  const fail = (what: string, fix?: string, cause?: unknown): never => { throw new NichelmError('INPUT', what, { place: { file }, ...(fix && { fix }), ...(cause !== undefined && { cause }) }) }
  const failed = (error: unknown, doing: string): never => {
    if (systemCode(error)?.startsWith('E')) throw fileError(error, file)
    return fail(`${doing} (${error instanceof Error ? error.message : String(error)})`, 'Fetch or write the file again.', error)
  }
  let buffer: Awaited<ReturnType<typeof asyncBufferFromFile>>, metadata: FileMetaData
  try {
    buffer = await asyncBufferFromFile(file)
    metadata = await parquetMetadataAsync(buffer)
  } catch (error) {
    return failed(error, 'is no Parquet file, or cut short')
  }
  const columns = parquetSchema(metadata).children.map(({ element, children }) => ({ name: element.name, type: children.length > 0 ? 'a group' : (element.type ?? 'unknown') }))
  const column = columns.find(({ name }) => name === field)
  if (!column) return fail(`has no column '${field}'; it has ${columns.map(({ name }) => `'${name}'`).join(', ') || 'none'}`, 'Choose the column with the option `field`.')
  if (column.type !== 'BYTE_ARRAY') return fail(`the column '${field}' does not hold text, but ${column.type}`, 'Choose another column with the option `field`.')

  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    let rows: unknown[][] = []
    try {
      // The parser gives an object for text that is not UTF-8, so that the row can be named.
      await parquetRead({ file: buffer, metadata, columns: [field], rowStart, rowEnd, compressors, parsers: { stringFromBytes }, onComplete: (all) => { rows = all } })
    } catch (error) { failed(error, `rows ${rowStart} to ${rowEnd - 1} cannot be read`) }
    for (const [i, [value]] of rows.entries()) {
      const row = rowStart + i
      if (value instanceof Invalid) fail(`row ${row}: invalid UTF-8 at byte ${value.byte}`)
      if (typeof value !== 'string') fail(`row ${row}: '${field}' holds ${value === null || value === undefined ? 'nothing' : typeof value}, not text`)
      yield { text: value as string, row }
    }
    if (rows.length !== rowEnd - rowStart) fail(`rows ${rowStart} to ${rowEnd - 1}: there are only ${rows.length}`, 'Fetch or write the file again.')
    rowStart = rowEnd
  }
}
