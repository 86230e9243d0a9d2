import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openModelTensors } from '../../src/base/modelTensors.js'
import { SafetensorsFile, writeSafetensors } from '../../src/base/safetensors.js'
import { temporaryFolder } from './temporary.js'

const golden = join(import.meta.dirname, '../../../test/golden/llama-tiny')

test('a folder with one file and the same folder in shards hold the same tensors', () => {
  using folder = temporaryFolder()
  using whole = openModelTensors(golden)
  const map: Record<string, string> = {}
  for (const [shard, keep] of [['model-00001-of-00002.safetensors', 0], ['model-00002-of-00002.safetensors', 1]] as const) {
    const names = whole.names.filter((_, i) => i % 2 === keep)
    for (const name of names) map[name] = shard
    writeSafetensors(folder.file(shard), names.map(name => ({ ...whole.entry(name), data: whole.read(name) })), { checksums: true })
  }
  const index = folder.file('model.safetensors.index.json')
  writeFileSync(index, JSON.stringify({ metadata: {}, weight_map: map }))
  {
    using shards = openModelTensors(folder.path)
    assert.deepEqual(new Set(shards.names), new Set(whole.names))
    for (const name of whole.names) assert.deepEqual(shards.readF32(name), whole.readF32(name))
    assert.equal(shards.verify(), whole.names.length)
    assert.throws(() => shards.entry('none'), /none/)
  }
  const [first] = whole.names
  for (const [broken, says] of [
    [{ ...map, extra: 'model-00001-of-00002.safetensors' }, /extra: is not in model-00001/],
    [{ ...map, [first!]: '../model.safetensors' }, /is no file name/],
    [{ ...map, [first!]: 'model-3.safetensors' }, /model-3.safetensors: no such file/],
    [undefined, /weight_map/],
  ] as const) {
    writeFileSync(index, JSON.stringify({ weight_map: broken }))
    assert.throws(() => openModelTensors(folder.path), says)
  }
  writeFileSync(index, '{')
  assert.throws(() => openModelTensors(folder.path), /not valid JSON/)
})

test('a folder without weights is refused', () => {
  using folder = temporaryFolder()
  assert.throws(() => openModelTensors(folder.path), /holds neither model.safetensors/)
  assert.throws(() => new SafetensorsFile(folder.path), /is a folder/)
})
