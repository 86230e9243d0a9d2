export type CsvColumn<Row> = readonly [name: string, value: (row: Row) => string | number | null | undefined]

/** Rows as CSV (RFC 4180), numbers in full; an empty field where there is none. */
export function csv<Row>(columns: readonly CsvColumn<Row>[], rows: readonly Row[]): string {
  const field = (value: string | number | null | undefined): string => {
    const text = value === undefined || value === null ? '' : String(value)
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  return [columns.map(([name]) => name), ...rows.map(row => columns.map(([, value]) => field(value(row))))].map(row => `${row.join(',')}\r\n`).join('')
}
