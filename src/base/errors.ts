import { existsSync } from 'node:fs'
import { dirname } from 'node:path'

/** What went wrong, by whose doing. The command line's exit codes follow from it. */
export type ErrorCode =
  | 'USAGE' // a wrong option or argument
  | 'CONFIG' // a recipe or configuration that cannot be
  | 'INPUT' // a file that is missing, or text or data in it that cannot be used
  | 'CORRUPT' // something nichelm wrote that has been damaged since
  | 'RESOURCE' // memory or disk is not enough
  | 'DEVICE' // the device asked for is not there
  | 'DISPOSED' // a handle that was disposed
  | 'DIVERGED' // a loss or gradient that is no longer finite
  | 'INTERRUPTED' // SIGINT or SIGTERM, after saving
  | 'INTERNAL' // a defect of nichelm

export const EXIT_CODES: Record<ErrorCode, number> = {
  INTERNAL: 1, USAGE: 2, CONFIG: 2, INPUT: 3, CORRUPT: 4, RESOURCE: 5, DEVICE: 6, DISPOSED: 1, DIVERGED: 7, INTERRUPTED: 130,
}

/** Where an error is: a file, and a line, field or tensor in it. */
export interface Place { file?: string; line?: number; field?: string }

/**
 * The one error class: what was wrong, where, and what to do about it.
 *
 * `message` is one sentence about what is wrong; `fix` one about what to do.
 */
export class NichelmError extends Error {
  override readonly name = 'NichelmError'
  readonly place: Place
  readonly fix: string | undefined
  constructor(readonly code: ErrorCode, what: string, options: { place?: Place; fix?: string; cause?: unknown } = {}) {
    super(placed(what, options.place), options.cause === undefined ? undefined : { cause: options.cause })
    this.place = options.place ?? {}
    this.fix = options.fix
  }
}

function placed(what: string, place?: Place): string {
  const at = [place?.file && (place.line === undefined ? place.file : `${place.file}:${place.line}`), place?.field].filter(Boolean).join(': ')
  return at ? `${at}: ${what}` : what
}

/** Narrow test of what a failed system call says. */
export const systemCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** The first part of a path that is there: of a path below a file, that file. */
function fileAbove(path: string): string {
  let at = path
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at)
  return at
}

/** Turns a failed file operation into a NichelmError that names the file. */
export function fileError(error: unknown, file: string, doing = 'read'): NichelmError {
  if (error instanceof NichelmError) return error
  const code = systemCode(error)
  const place = { file }
  switch (code) {
    case 'ENOENT': return new NichelmError('INPUT', 'no such file or folder', { place, fix: existsSync(dirname(file)) && dirname(file) !== '.' ? 'Its folder is there, but does not hold it: is it the right one?' : 'Check the path.', cause: error })
    case 'EISDIR': return new NichelmError('INPUT', 'is a folder, not a file', { place, fix: 'Name a file.', cause: error })
    case 'ENOTDIR': return new NichelmError('INPUT', 'is a file, not a folder', { place: { file: fileAbove(file) }, fix: 'Name a folder.', cause: error })
    case 'EACCES': case 'EPERM': case 'EROFS': return new NichelmError('INPUT', `no permission to ${doing} it`, { place, fix: `Change its permissions, or ${doing === 'read' ? 'take another file' : 'write elsewhere'}.`, cause: error })
    case 'ENOSPC': case 'EDQUOT': return new NichelmError('RESOURCE', 'the disk is full', { place, fix: 'Free some space, or write elsewhere; what was complete before is still there.', cause: error })
    case 'EMFILE': return new NichelmError('RESOURCE', 'too many open files', { place, fix: 'Raise the limit with `ulimit -n`.', cause: error })
    default: return new NichelmError('INPUT', `could not ${doing} it: ${error instanceof Error ? error.message : String(error)}`, { place, cause: error })
  }
}
