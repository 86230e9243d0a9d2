import { z } from 'zod'

/** The keys that a file of this schema may have at a path (names of domains stand for any), or undefined where there are none. */
export function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] | undefined {
  let at: z.ZodType | undefined = schema
  for (const key of [...path, undefined]) {
    at = unwrap(at)
    if (key === undefined) break
    if (at instanceof z.ZodObject) at = at.shape[String(key)] as z.ZodType | undefined
    else if (at instanceof z.ZodRecord) at = at.valueType as z.ZodType
    else if (at instanceof z.ZodArray) at = at.element as z.ZodType
    else return undefined
    if (!at) return undefined
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : undefined
}

/** One setting, for the documentation. */
export interface SettingFacts { path: string; description: string; default: unknown }

/** Every setting of a schema with its description and default, in the order of the schema; NAME stands for a domain's name, [] for an item of a list. */
export function settingFacts(type: z.ZodType, path: string[] = []): SettingFacts[] {
  let at: z.ZodType | undefined = type, description = '', fallback: unknown, items: SettingFacts[] = []
  for (; at; at = inner(at)) {
    description ||= at.description ?? ''
    if (at instanceof z.ZodDefault) fallback ??= at.def.defaultValue
    if (at instanceof z.ZodArray && at.element instanceof z.ZodObject) items = settingFacts(at.element, [...path.slice(0, -1), `${path.at(-1)}[]`])
    if (at instanceof z.ZodRecord) return settingFacts(at.valueType as z.ZodType, [...path, 'NAME'])
    if (at instanceof z.ZodObject) return Object.entries(at.shape as Record<string, z.ZodType>).flatMap(([key, child]) => settingFacts(child, [...path, key]))
  }
  return [{ path: path.join('.'), description, default: fallback }, ...items]
}

/** The paths in the schema that end with a key, to tell where a misplaced key belongs. */
export function placesOf(schema: z.ZodType, key: string, path: string[] = []): string[] {
  return (keysAt(schema, path) ?? []).flatMap(child => [
    ...(child === key ? [path.join('.')] : []),
    ...placesOf(schema, key, [...path, child]),
  ])
}

function unwrap(type: z.ZodType | undefined): z.ZodType | undefined {
  for (let at = type; at; at = inner(at)) type = at
  return type
}

/** What a type is wrapped around, if it is. */
function inner(type: z.ZodType): z.ZodType | undefined {
  if (type instanceof z.ZodDefault || type instanceof z.ZodPrefault || type instanceof z.ZodOptional) return type.unwrap() as z.ZodType
  return type instanceof z.ZodPipe ? type.out as z.ZodType : undefined
}
