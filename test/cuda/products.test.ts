import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { packageRoot } from '../../bindings/index.js'
import { cudaTested } from '../base/devices.js'
import { documents, nichelm, temporary, type Outcome } from '../commands/commandLine.js'

/** Has cuBLASLt's functions, and computes by a plain loop. */
const standIn = join(packageRoot, 'build', 'emulated', 'nichelm_fake_cublaslt.so')
const skip = cudaTested?.emulated && existsSync(standIn) ? false : 'for the emulator'

function ok<Result>({ code, err, out }: Outcome): Result {
  assert.equal(code, 0, err)
  return JSON.parse(out) as Result
}

async function having<Result>(variables: Record<string, string>, act: () => Promise<Result>): Promise<Result> {
  const before = Object.keys(variables).map(name => [name, process.env[name]] as const)
  Object.assign(process.env, variables)
  try {
    return await act()
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

interface Measured { products: { mode: string; library: string; choices: { product: string; by: string; own_seconds: number | null; library_seconds: number | null }[] } }

test('products are measured where that is asked for, and the choices told and kept', { skip }, async t => {
  const file = join(temporary(t), 'products.txt')
  const run = async () => ok<Measured>(await nichelm(['bench', 'matmul', '--device', 'cuda', '-m', '16', '-n', '24', '-k', '8', '--steps', '1', '--json'])).products
  await having({ NICHELM_PRODUCTS: 'measured', NICHELM_PRODUCTS_FILE: file, NICHELM_CUBLASLT: standIn }, async () => {
    const { mode, library, choices } = await run(), kept = readFileSync(file, 'utf8')
    assert.deepEqual([mode, library, choices.length, choices[0]!.product], ['measured', standIn, 1, 'bf16 16 x 24 x 8, a b, to bf16, aligned to 128'])
    assert.ok(['own', 'cublaslt'].includes(choices[0]!.by) && choices[0]!.own_seconds! > 0 && choices[0]!.library_seconds! > 0)
    assert.deepEqual((await run()).choices.map(({ by }) => by), choices.map(({ by }) => by))
    assert.equal(readFileSync(file, 'utf8'), kept, 'nothing is measured again')
  })
  await having({ NICHELM_PRODUCTS: 'cublaslt', NICHELM_CUBLASLT: '/nowhere/libcublasLt.so.13' }, async () => {
    const { code, err } = await nichelm(['bench', 'matmul', '--device', 'cuda', '-m', '16', '-n', '24', '-k', '8', '--steps', '1'])
    assert.equal(code, 6, err)
    assert.match(err, /cuBLASLt/)
  })
})

test("a run does not go on with another's products", { skip }, async t => {
  const folder = temporary(t), at = (name: string) => join(folder, name)
  writeFileSync(at('text.jsonl'), documents('court appeal judge section tribunal evidence order applicant', 20, 40))
  ok(await nichelm(['tokenizer', 'train', '--text', at('text.jsonl'), '--vocabulary', '300', '--into', at('tokenizer.json'), '--json']))
  ok(await nichelm(['corpus', 'build', '--text', at('text.jsonl'), '--tokenizer', at('tokenizer.json'), '--context', '16', '--minimum-length', '8', '--into', at('corpus'), '--json']))
  const train = () => nichelm(['train', '--corpus', at('corpus'), '--tokenizer', at('tokenizer.json'), '--model', 'nano', '--layers', '1', '--width', '16', '--heads', '1', '--steps', '1', '--warmup', '1', '--batch', '2', '--device', 'cuda', '--into', at('run'), '--json'])
  ok(await train())
  const other = await having({ NICHELM_PRODUCTS: 'cublaslt', NICHELM_CUBLASLT: standIn }, train)
  assert.equal(other.code, 2, other.err)
  assert.match(other.err, /other settings/)
  ok(await train())
})
