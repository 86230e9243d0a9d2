import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { Arena, cudaLibrary, Device, packageRoot } from '../../bindings/index.js'
import { cudaMissing, cudaTested } from '../base/devices.js'

const FILL = 'nichelm-program 1\nfill y=0:f32:16 value=3\n', ADD = 'nichelm-program 1\nadd a=0:f32:1 b=64:f32:1 y=0:f32:1\n'
const skip = cudaMissing

test('programs run in memory of the device, recorded and replayed, with what is written before and read after', { skip }, async () => {
  using device = new Device({ kind: 'cuda', threads: 1 })
  using arena = new Arena(4096, device)
  using fill = device.compile(arena, FILL)
  using add = device.compile(arena, ADD)
  const values = new Float32Array(16), first = new Float32Array(1)
  arena.read(0, values)
  assert.deepEqual(values, new Float32Array(16), 'zeroed')
  await device.run(arena, [{ program: fill }], [0, values])
  assert.deepEqual(values, new Float32Array(16).fill(3))
  for (let i = 1; i <= 4; i++) {
    await device.run(arena, [{ program: add, writes: [64, Float32Array.of(i)] }, { program: add, writes: [64, Float32Array.of(10)] }], [0, first])
    assert.equal(first[0], 3 + i * (i + 1) / 2 + 10 * i)
  }
  const timings = await device.profile(fill)
  assert.deepEqual(timings.map(({ op, calls }) => [op, calls]), [['fill', 1]])
})

test('memory of the host and of the device are kept apart', { skip }, async () => {
  using device = new Device({ kind: 'cuda', threads: 1 })
  using cpu = new Device({ threads: 1 })
  using there = new Arena(4096, device)
  using here = new Arena(4096)
  using also = new Arena(4096, cpu)
  assert.throws(() => device.compile(here, FILL), { code: 'USAGE', message: /another device/ })
  assert.throws(() => cpu.compile(there, FILL), { code: 'USAGE', message: /another device/ })
  using program = cpu.compile(also, FILL)
  await assert.rejects(device.run(also, [{ program }]), { code: 'USAGE' })
  assert.throws(() => device.profile(program), { code: 'USAGE' })
  assert.throws(() => there.write(4096, new Uint8Array(1)), { code: 'USAGE', message: /inside the arena of 4096/ })
  assert.throws(() => there.read(-1, new Uint8Array(1)), { code: 'USAGE' })
  assert.throws(() => device.compile(there, 'nichelm-program 1\nfill y=0:f32:2000 value=1\n'), { code: 'USAGE', message: /outside the arena/ })
  for (const bytes of [0, -1]) assert.throws(() => new Arena(bytes, device), { code: 'USAGE' })
  assert.throws(() => new Arena(2 ** 50, device), { code: 'RESOURCE' })
  await assert.rejects(device.run(there, [], [4000, new Uint8Array(100)]), { code: 'USAGE' })
})

test('a device tells its name, its memory and its versions', { skip }, async () => {
  using device = new Device({ kind: 'cuda', threads: 1 })
  const { kind, gpu, availableMemory } = device.describe()
  assert.equal(kind, 'cuda')
  assert.ok(gpu && gpu.name && gpu.devices >= 1 && gpu.multiprocessors > 0 && gpu.memory >= availableMemory && availableMemory > 0)
  if (cudaTested!.emulated) assert.deepEqual([gpu.name, gpu.index, await device.peak('bf16'), gpu.bandwidth], ['emulated by the CPU', 0, undefined, undefined])
  assert.throws(() => new Device({ kind: 'cuda', index: gpu.devices }), { code: 'DEVICE', message: /there is no GPU/ })
})

// The loader opens a library once in a process, so each case has its own.
const opening = (library: string | undefined) => {
  const environment = { ...process.env }
  if (library === undefined) delete environment.NICHELM_CUDA_LIBRARY
  else environment.NICHELM_CUDA_LIBRARY = library
  const script = `import { Device } from ${JSON.stringify(new URL('../../bindings/index.js', import.meta.url).href)}
    try { new Device({ kind: 'cuda' }); console.log('opened') } catch ({ code, message }) { console.log(code, message) }`
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', env: environment }).stdout
}

test('a library that is missing, or is none of ours, is told with what to do; nothing falls back to the CPU', () => {
  assert.match(opening('/nowhere/nichelm_cuda.so'), /^DEVICE .*\/nowhere\/nichelm_cuda\.so.*npm run build:cuda.*the device cpu needs none/)
  assert.match(opening(join(packageRoot, 'package.json')), /^DEVICE .*could not be loaded/)
  assert.match(opening('libm.so.6'), /^DEVICE libm\.so\.6 is not nichelm's CUDA library/)
})

test('without a driver the GPU\'s own library says so', { skip: cudaLibrary().driver !== null ? 'there is a driver' : false }, () => {
  const said = opening(undefined)
  assert.match(said, /^DEVICE (the CUDA library could not be loaded|there is no NVIDIA driver on this machine)/)
})
