import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EXIT_CODES, NichelmError, type ErrorCode } from '../src/base/errors.js'

/** The folder that holds package.json: above the sources and above dist alike. */
export const packageRoot: string = (() => {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder)
  return folder
})()

/** The addon's functions as they are exported; the files beside this one give them types and names. */
export type Addon = Record<string, (...values: never[]) => unknown>

let loaded: Addon | undefined

/** Loads the addon once: built here (build/Release) or shipped (prebuilds). Throws DEVICE with how to build it. */
export function addon(): Addon {
  if (loaded) return loaded
  try {
    const require = createRequire(import.meta.url)
    const load = require('node-gyp-build') as (folder: string) => Addon
    loaded = load(packageRoot)
  } catch (error) {
    throw new NichelmError('DEVICE', `the native addon could not be loaded: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`, {
      place: { file: packageRoot },
      fix: 'Build it with `npm run build:native` (needs a C++20 compiler and CMake), or run scripts/quickstart.',
      cause: error,
    })
  }
  return loaded
}

function translated(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof NichelmError) return error
  const code = 'code' in error && typeof error.code === 'string' && error.code in EXIT_CODES ? (error.code as ErrorCode) : undefined
  return code ? new NichelmError(code, error.message, { cause: error }) : error
}

/** Calls an exported function; what it throws, or what its promise is rejected with, is a NichelmError. */
export function call<Result>(name: string, ...values: unknown[]): Result {
  const exported = addon()[name] as ((...values: unknown[]) => unknown) | undefined
  if (!exported) throw new NichelmError('INTERNAL', `the addon does not export '${name}'`, { fix: 'The addon is older than the program: run `npm run build`.' })
  try {
    const result = exported(...values)
    return (result instanceof Promise ? result.catch((error: unknown) => { throw translated(error) }) : result) as Result
  } catch (error) {
    throw translated(error)
  }
}
