import { closest, distance } from 'fastest-levenshtein'
import { resolve } from 'node:path'
import { isNode, LineCounter, parseDocument, type Document } from 'yaml'
import type { z } from 'zod'
import { NichelmError, type Place } from '../base/errors.js'
import { readText } from '../base/files.js'
import { RecipeSchema, type RecipeFile } from './schema.js'
import { keysAt, placesOf } from './schemaFacts.js'

/** Settings whose values are paths: given on the command line they start at the current folder, not at the recipe. */
const PATHS = new Set(['output', 'data.root', 'tokenizer.file', 'distill.teacher'])

/** Tells where in the recipe a setting stands. */
export type Locate = (path: readonly PropertyKey[]) => Place

export interface ReadSettings<Settings> { settings: Settings; place: Locate }
export type ReadRecipe = ReadSettings<RecipeFile>

/**
 * Reads a recipe and checks each setting by itself.
 *
 * `overrides` are `KEY=VALUE` as of `--set`: KEY with dots between its parts, VALUE as YAML.
 * Throws CONFIG with file, line and field: broken YAML, unknown keys (with the nearest known one), values of a wrong type or out of range.
 */
export function readRecipe(file: string, overrides: readonly string[] = []): ReadRecipe {
  return parseRecipe(readText(file), file, overrides)
}

/** As readRecipe, from text; `file` is named in errors. */
export const parseRecipe = (text: string, file: string, overrides: readonly string[] = []): ReadRecipe => parseSettings(RecipeSchema, text, file, overrides)

/** As parseRecipe, for any schema. */
export function parseSettings<Schema extends z.ZodType>(schema: Schema, text: string, file: string, overrides: readonly string[] = []): ReadSettings<z.output<Schema>> {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true })
  const broken = document.errors[0]
  if (broken) throw new NichelmError('CONFIG', `is not valid YAML: ${lower(broken.message)}`, { place: { file, line: lines.linePos(broken.pos[0]).line } })
  const set = new Set<string>()
  for (const override of overrides) set.add(apply(document, override))

  const place: Locate = path => {
    const field = path.map(String).join('.')
    if ([...set].some(key => field === key || field.startsWith(`${key}.`))) return { field: `--set ${field}` }
    for (let length = path.length; length > 0; length--) {
      const line = lineOf(document, path.slice(0, length), lines)
      if (line !== undefined) return { file, line, field }
    }
    return field ? { file, field } : { file }
  }
  let raw: unknown
  try { raw = document.toJS() ?? {} } catch (error) { throw new NichelmError('CONFIG', `is not valid YAML: ${lower((error as Error).message)}`, { place: { file }, cause: error }) }
  const result = schema.safeParse(raw, { reportInput: true })
  if (!result.success) throw configError(schema, result.error.issues, raw, place)
  return { settings: result.data, place }
}

/** Sets one value in the document and returns its key. */
function apply(document: Document, override: string): string {
  const at = override.indexOf('=')
  const key = override.slice(0, at).trim(), path = key.split('.')
  if (at < 1 || path.some(part => part === '')) {
    throw new NichelmError('USAGE', `--set ${override}: is not KEY=VALUE`, { fix: 'For example --set pretrain.steps=100' })
  }
  const value = parseDocument(override.slice(at + 1))
  if (value.errors[0]) throw new NichelmError('USAGE', `--set ${key}: ${lower(value.errors[0].message)}`)
  let plain: unknown
  try { plain = value.toJS() } catch (error) { throw new NichelmError('USAGE', `--set ${key}: ${lower((error as Error).message)}`, { cause: error }) }
  if (document.contents === null) document.contents = document.createNode({})
  // `model: nano` is short for `model: {preset: nano}`: a key below it needs the long form.
  const [top] = path
  if (path.length > 1 && typeof document.get(top) === 'string' && (top === 'model' || top === 'llm')) document.set(top, document.createNode({ preset: document.get(top) }))
  try {
    document.setIn(path, document.createNode(PATHS.has(key) && typeof plain === 'string' ? resolve(plain) : plain))
  } catch {
    throw new NichelmError('CONFIG', `--set ${key}: ${path.slice(0, -1).join('.')} holds a single value, no settings of its own`)
  }
  return key
}

/** Line of the key that a path ends with, or of the value where there is no key (an element of a list). */
function lineOf(document: Document, path: readonly PropertyKey[], lines: LineCounter): number | undefined {
  const parent = document.getIn(path.slice(0, -1), true)
  const last = path.at(-1)
  if (parent && typeof parent === 'object' && 'items' in parent) {
    const pair = (parent.items as { key?: unknown; value?: unknown }[]).find(item => isNode(item.key) && String(item.key) === String(last))
    if (pair && isNode(pair.key) && pair.key.range) return lines.linePos(pair.key.range[0]).line
  }
  const node = document.getIn(path, true)
  return isNode(node) && node.range ? lines.linePos(node.range[0]).line : undefined
}

function configError(schema: z.ZodType, issues: z.core.$ZodIssue[], raw: unknown, place: Locate): NichelmError {
  const problems = issues.flatMap(issue => issue.code === 'unrecognized_keys'
    ? issue.keys.map(key => ({ path: [...issue.path, key], ...unknownKey(schema, issue.path, key) }))
    : [{ path: issue.path, ...wrongValue(issue, valueAt(raw, issue.path)) }])
    .map(problem => ({ ...problem, place: place(problem.path) }))
    // A key that is missing is often one that is misspelt: that is told first.
    .sort((a, b) => Number(a.missing ?? false) - Number(b.missing ?? false) || (a.place.line ?? Infinity) - (b.place.line ?? Infinity))
  const [first, ...others] = problems
  const more = others.map(({ place: at, what }) => `${at.line === undefined ? '' : `line ${at.line}, `}${at.field ?? 'the file'} ${what}`)
  const fix = [first!.fix, more.length > 0 ? `Also: ${more.join('; ')}.` : undefined].filter(Boolean).join(' ')
  return new NichelmError('CONFIG', first!.what, { place: first!.place, ...(fix ? { fix } : {}) })
}

interface Problem { what: string; fix?: string; missing?: boolean }

function unknownKey(schema: z.ZodType, path: readonly PropertyKey[], key: string): Problem {
  const known = keysAt(schema, path) ?? []
  const near = known.length > 0 ? closest(key, known) : undefined
  const apart = near ? distance(key.toLowerCase(), near.toLowerCase()) : Infinity
  const elsewhere = placesOf(schema, key)
  if (near && apart <= (elsewhere.length > 0 ? 1 : Math.max(2, key.length * 0.4))) return { what: 'is an unknown key', fix: `Did you mean ${near}?` }
  if (elsewhere.length > 0) return { what: 'is an unknown key', fix: `${key} belongs ${elsewhere.map(place => place === '' ? 'at the top' : `under ${place}`).join(' or ')}.` }
  return { what: 'is an unknown key', fix: `Known here: ${known.join(', ')}; the nearest is ${near ?? 'none'}.` }
}

/** Says what was given and what is allowed. */
function wrongValue(issue: z.core.$ZodIssue, given: unknown): Problem {
  if (given === undefined && issue.code !== 'custom') return { what: 'is missing', missing: true, fix: `It must be ${allowed(issue)}.` }
  return { what: `is ${shown(given)}, but must be ${allowed(issue)}` }
}

function allowed(issue: z.core.$ZodIssue): string {
  const KINDS: Record<string, string> = { int: 'a whole number', number: 'a number', string: 'text', boolean: 'true or false', object: 'a group of settings', record: 'a group of settings', array: 'a list', tuple: 'a list of two numbers' }
  switch (issue.code) {
    case 'invalid_type': return KINDS[issue.expected] ?? issue.expected
    case 'too_small':
      if (issue.origin === 'array') return `a list of at least ${issue.minimum}`
      if (issue.origin === 'string') return 'text that is not empty'
      return issue.inclusive === false ? `greater than ${issue.minimum}` : `at least ${issue.minimum}`
    case 'too_big': return issue.origin === 'array' ? `a list of at most ${issue.maximum}` : issue.inclusive === false ? `less than ${issue.maximum}` : `at most ${issue.maximum}`
    case 'invalid_value': return `${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`
    case 'invalid_key': return 'a name of letters, digits, ".", "_" and "-"'
    default: return issue.message
  }
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (value !== null && typeof value === 'object') return 'a group of settings'
  return value === null ? 'empty' : JSON.stringify(value)
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => at !== null && typeof at === 'object' ? (at as Record<PropertyKey, unknown>)[key] : undefined, value)
}

const lower = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)
