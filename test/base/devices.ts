import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot, type DeviceOptions } from '../../bindings/index.js'

/** The emulator as a library in the place of the GPU's: what loads and drives a GPU takes it for one. Built with the native tests, on x86-64. */
const emulated = join(packageRoot, 'build', 'emulated', 'nichelm_cuda_emulated.so')

/** NICHELM_CUDA_LIBRARY of a test's surroundings, on a machine with a GPU, goes before the emulator. */
export const cudaTested = process.env.NICHELM_CUDA_LIBRARY ? { library: process.env.NICHELM_CUDA_LIBRARY, emulated: false } : existsSync(emulated) ? { library: emulated, emulated: true } : undefined
if (cudaTested) process.env.NICHELM_CUDA_LIBRARY = cudaTested.library

export const cudaMissing = cudaTested ? false : 'there is no GPU, and the emulator was not built'

/** The kinds of device that a test runs on. */
export const DEVICES: readonly { name: string; options: DeviceOptions; skip: string | false }[] = [
  { name: 'cpu', options: { threads: 1 }, skip: false },
  { name: cudaTested?.emulated === false ? 'cuda' : 'cuda-emulated', options: { kind: 'cuda', threads: 1 }, skip: cudaMissing },
]
