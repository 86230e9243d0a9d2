import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { packageRoot } from '../../bindings/index.js'
import type { NichelmError } from '../../src/base/errors.js'
import { SafetensorsFile, writeSafetensors } from '../../src/base/safetensors.js'
import { countModel, modelConfig, openHuggingFace, parameterSpecs, writeHuggingFace, type ModelConfig } from '../../src/model/index.js'
import { initialValues } from '../../src/model/initialize.js'

const golden = (family: string): string => join(packageRoot, 'test', 'golden', family)

function temporary(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'nichelm-hf-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const gpt2 = modelConfig('nano', 97, { layers: 2, width: 24, heads: 3, context: 16 })
const llama: ModelConfig = { ...gpt2, heads: 4, keyValueHeads: 2, width: 32, mlp: 40, norm: 'rms', positions: 'rotary', activation: 'swiglu', biases: false, tied: false, theta: 5000, normEpsilon: 1e-6 }

for (const [name, config] of Object.entries({ gpt2, llama, 'llama, tied': { ...llama, tied: true }, 'gpt2, untied': { ...gpt2, tied: false } }))
  test(`${name}: what is written is what is read`, (t) => {
    const folder = temporary(t)
    const values = new Map(parameterSpecs(config).map((spec) => [spec.name, initialValues({ ...spec, start: { normal: 1 } }, 3)]))
    writeHuggingFace(folder, config, (parameter) => values.get(parameter)!, 7)
    const stored = openHuggingFace(folder)
    assert.deepEqual(stored.config, config.positions === 'rotary' ? config : { ...config, theta: 10000 })
    const read = new Map([...stored.parameters()].map((parameter) => [parameter.name, parameter.values]))
    assert.deepEqual(read, values)
  })

for (const family of ['gpt2-tiny', 'llama-tiny'])
  test(`${family}: the tensors of Hugging Face come back under their own names, bit for bit`, (t) => {
    const folder = temporary(t), stored = openHuggingFace(golden(family))
    const values = new Map([...stored.parameters()].map((parameter) => [parameter.name, parameter.values]))
    writeHuggingFace(folder, stored.config, (name) => values.get(name)!)
    using theirs = new SafetensorsFile(join(golden(family), 'model.safetensors'))
    using ours = new SafetensorsFile(join(folder, 'model.safetensors'))
    assert.deepEqual([...ours.names].sort(), [...theirs.names].sort())
    for (const name of theirs.names) {
      assert.deepEqual(ours.entry(name).shape, theirs.entry(name).shape, name)
      assert.deepEqual(ours.read(name), theirs.read(name), name)
    }
  })

test('names without the prefix are read as well', (t) => {
  const folder = temporary(t)
  cpSync(golden('gpt2-tiny'), folder, { recursive: true })
  using source = new SafetensorsFile(join(golden('gpt2-tiny'), 'model.safetensors'))
  writeSafetensors(join(folder, 'model.safetensors'), source.names.map((name) => ({ name: name.replace('transformer.', ''), dtype: 'F32', shape: source.entry(name).shape, data: source.readF32(name) })))
  assert.deepEqual([...openHuggingFace(folder).parameters()], [...openHuggingFace(golden('gpt2-tiny')).parameters()])
})

test('what cannot be used is told by file and field', (t) => {
  const folder = temporary(t), file = join(folder, 'config.json')
  cpSync(golden('llama-tiny'), folder, { recursive: true })
  const json = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  const refused = (changes: Record<string, unknown>, field: string, code = 'INPUT'): void => {
    writeFileSync(file, JSON.stringify({ ...json, ...changes }))
    assert.throws(() => openHuggingFace(folder), (error: NichelmError) => error.code === code && error.place.field === field && error.message.includes(folder), field)
  }
  refused({ model_type: 'mamba' }, 'model_type')
  refused({ hidden_act: 'gelu' }, 'hidden_act')
  refused({ attention_bias: true }, 'attention_bias')
  refused({ rope_parameters: { rope_type: 'llama3' } }, 'rope_type')
  refused({ head_dim: 32 }, 'head_dim')
  refused({ hidden_size: 'wide' }, 'hidden_size')
  refused({ num_hidden_layers: 3 }, 'model.layers.2.input_layernorm.weight')
  refused({ intermediate_size: 128 }, 'model.layers.0.mlp.gate_proj.weight')
  refused({ num_attention_heads: 3, head_dim: null }, 'heads', 'CONFIG')
})

test('a mixture of choices has no Hugging Face form, and nothing is written', (t) => {
  const folder = join(temporary(t), 'model')
  assert.throws(() => writeHuggingFace(folder, { ...gpt2, positions: 'rotary' }, () => assert.fail('read')), { code: 'CONFIG' })
})

test('parameters as the tables of arXiv 2402.01093 and GPT-2 have them', () => {
  const millions = (preset: 'slm' | 'llm'): number => countModel(modelConfig(preset, 32000)).parameters / 1e6
  assert.ok(Math.abs(millions('slm') / 126 - 1) < 0.04)
  assert.ok(Math.abs(millions('llm') / 771 - 1) < 0.04)
  assert.equal(countModel(modelConfig('gpt2', 50257)).parameters, 124_439_808)
})
