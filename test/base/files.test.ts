import assert from 'node:assert/strict'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import test from 'node:test'
import { makeFolder, writeFileAtomic } from '../../src/base/files.js'
import { writeFolderAtomic } from '../../src/corpus/folder.js'
import { temporaryFolder } from './temporary.js'

test('a folder is made with those above it, and again without effect', () => {
  using folder = temporaryFolder()
  makeFolder(folder.file('a/b/c'))
  makeFolder(folder.file('a/b/c'))
  assert(existsSync(folder.file('a/b/c')))
})

test('a folder that cannot be made is told, with the place that is in the way', { timeout: 20_000 }, async () => {
  using folder = temporaryFolder()
  writeFileSync(folder.file('file'), '')
  mkdirSync(folder.file('empty'))
  symlinkSync(folder.file('nowhere'), folder.file('link'))
  assert.throws(() => makeFolder(folder.file('file')), { code: 'INPUT', place: { file: folder.file('file') } })
  assert.throws(() => makeFolder(folder.file('file/below')), { code: 'INPUT', place: { file: folder.file('file') } })
  assert.throws(() => makeFolder(folder.file('link')), { code: 'INPUT', place: { file: folder.file('link') } })
  assert.throws(() => writeFileAtomic(folder.file('file/below/x.json'), '{}'), { code: 'INPUT' })
  // The system says that there is no such folder, though there is one above: Node's recursive mkdir would try for ever.
  if (!existsSync('/proc/self')) return
  assert.throws(() => makeFolder('/proc/nichelm/runs'), { code: 'INPUT', place: { file: '/proc/nichelm' } })
  assert.throws(() => writeFileAtomic('/proc/nichelm/file', ''), { code: 'INPUT' })
  await assert.rejects(writeFolderAtomic('/proc/nichelm', () => {}), { code: 'INPUT', place: { file: '/proc/nichelm' } })
})
