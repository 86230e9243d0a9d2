import assert from 'node:assert/strict'

/** Like assert.doesNotMatch, without a page of output. */
export const lacks = (text: string, pattern: RegExp): void => assert.equal(pattern.exec(text)?.[0], undefined)

/** Throws unless every element of the page is closed in order. */
export function wellFormed(html: string): void {
  const open: string[] = []
  const text = html.replace(/<style>.*?<\/style>/gs, '').replace(/<!DOCTYPE html>/, '')
  for (const [, close, name, rest] of text.matchAll(/<(\/?)([a-zA-Z][\w-]*)((?:"[^"]*"|[^">])*)>/g)) {
    if (close) assert.equal(open.pop(), name)
    else if (!rest!.endsWith('/') && name !== 'meta') open.push(name!)
  }
  assert.deepEqual(open, [])
}

/** Throws unless the page needs nothing else: no script, no network, and every reference within it has one target. */
export function selfContained(html: string): void {
  lacks(html, /<script|<link|<img|<iframe|@import|url\((?!#)|\ssrc=/i)
  lacks(html.replaceAll('http://www.w3.org/', ''), /https?:/)
  const ids = [...html.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id)
  assert.equal(new Set(ids).size, ids.length)
  for (const [, id] of html.matchAll(/url\(#([^)]*)\)/g)) assert.ok(ids.includes(id), id)
}
