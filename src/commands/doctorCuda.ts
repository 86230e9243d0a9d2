import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { cudaLibrary, Device, type GpuFacts, type ProductFacts } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { cast, matmul } from '../graph/ops/index.js'
import { persistent } from '../graph/tensor.js'
import { timed } from './benchTimed.js'

/** What `doctor` found about one thing. */
export interface Finding { what: string; ok: boolean; found: string; fix?: string }

/** Driver, nichelm's CUDA library, GPUs with what they were measured to do, NVIDIA's libraries. A machine without a GPU is no fault; a GPU that cannot be used is. */
export async function cuda(): Promise<Finding[]> {
  const { driver, path } = cudaLibrary(), built = existsSync(path)
  const findings: Finding[] = [{ what: 'NVIDIA driver', ok: true, found: driver === null ? 'no NVIDIA driver (libcuda.so.1 was not found): the device is cpu' : `for CUDA ${driver} and older` }]
  findings.push({ what: 'CUDA kernels', ok: built || driver === null, found: built ? path : `not built (${path})`, fix: 'Build them with `npm run build:cuda`; it needs nvcc (docs/cuda.md).' })
  if (built && (driver !== null || process.env.NICHELM_CUDA_LIBRARY)) findings.push(...await gpus())
  return [...findings, library('cuBLASLt', ['libcublasLt.so.13', 'libcublasLt.so.12'], 'used where NICHELM_PRODUCTS is cublaslt or measured', process.env.NICHELM_CUBLASLT), library('NCCL', ['libnccl.so.2'], 'not used yet')]
}

async function gpus(): Promise<Finding[]> {
  const findings: Finding[] = []
  for (let index = 0, count = 1; index < count; index++) {
    try {
      using device = new Device({ kind: 'cuda', index })
      const { gpu, availableMemory } = device.describe()
      if (index === 0) findings.push({ what: 'CUDA runtime', ok: true, found: gpu!.runtime })
      count = gpu!.devices
      findings.push({ what: `GPU ${index}`, ok: true, found: `${gpu!.name}, compute capability ${gpu!.capability}, ${gpu!.multiprocessors} multiprocessors, ${gigabytes(availableMemory)} of ${gigabytes(gpu!.memory)} GB free${await measured(gpu!)}${productsOf(gpu!.products)}` })
    } catch (error) {
      const { message, fix } = error instanceof NichelmError ? error : { message: String(error), fix: undefined }
      findings.push({ what: `GPU ${index}`, ok: false, found: message, ...(fix ? { fix } : {}) })
    }
  }
  return findings
}

const productsOf = ({ mode, version, file }: ProductFacts): string => mode === 'own' ? '' : `; products by ${mode === 'measured' ? `whichever was measured faster (${file})` : 'cuBLASLt'}, cuBLASLt ${version}`

/** Rounding 1 GiB of f32 to bf16, and the product of two matrices of 4096 x 4096 in bf16. An emulated GPU has no driver, and no speed worth telling. */
async function measured({ index, driver, memory }: GpuFacts): Promise<string> {
  if (driver === '0.0' || memory < 4 * 2 ** 30) return ''
  const options = { device: `cuda:${index}`, threads: 1, precision: 'bf16' as const, steps: 5 }, size = 2 ** 28, side = 4096
  const copy = await timed(options, () => void cast(persistent('x', 'f32', [size]), 'bf16', persistent('y', 'bf16', [size])), 6 * size)
  const product = await timed(options, () => void matmul(persistent('a', 'bf16', [side, side]), persistent('b', 'bf16', [side, side]), { into: persistent('c', 'bf16', [side, side]) }))
  return `; moves ${(copy.bytesPerSecond / 1e9).toFixed(0)} GB/s (read and written), multiplies ${(product.flopsPerSecond / 1e12).toFixed(1)} TFLOP/s in bf16`
}

/** A library of NVIDIA's, where the loader, the toolkit or Python's wheels have it. */
function library(what: string, names: readonly string[], use: string, named?: string): Finding {
  if (named) return existsSync(named) ? { what, ok: true, found: `${named} (${use})` } : { what, ok: false, found: `${named}, which NICHELM_CUBLASLT names, is not there`, fix: 'Name another file, or leave the variable out.' }
  const folders = [...(process.env.LD_LIBRARY_PATH ?? '').split(delimiter), ...['CUDA_HOME', 'CUDA_PATH'].flatMap(name => process.env[name] ? [join(process.env[name], 'lib64')] : []), '/usr/local/cuda/lib64', ...wheels()].filter(Boolean)
  const listed = spawnSync('ldconfig', ['-p'], { encoding: 'utf8' }).stdout ?? ''
  for (const name of names) {
    const found = new RegExp(`${name.replaceAll('.', '\\.')} .*=> (.+)`).exec(listed)?.[1] ?? folders.map(folder => join(folder, name)).find(file => existsSync(file))
    if (found) return { what, ok: true, found: `${found} (${use})` }
  }
  return { what, ok: true, found: `not found (not needed); looked for ${names.join(', ')} by ldconfig and in ${[...new Set(folders)].join(', ')}` }
}

function wheels(): string[] {
  const roots = [...(process.env.VIRTUAL_ENV ? [join(process.env.VIRTUAL_ENV, 'lib')] : []), join(homedir(), '.local', 'lib'), '/usr/local/lib'], list = (folder: string) => existsSync(folder) ? readdirSync(folder) : []
  return roots.flatMap(root => list(root).filter(name => name.startsWith('python3')).flatMap(python => ['site-packages', 'dist-packages'].flatMap(packages => {
    const nvidia = join(root, python, packages, 'nvidia')
    return list(nvidia).map(name => join(nvidia, name, 'lib')).filter(folder => existsSync(folder))
  })))
}

const gigabytes = (bytes: number): string => (bytes / 2 ** 30).toFixed(1)
