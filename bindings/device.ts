import { call } from './native.js'

/** What a numeric array in the arena is read into or written from. */
export type NumericArray = Float32Array | Int32Array | Uint16Array | Uint8Array

export type FieldKind = 'in' | 'out' | 'inout' | 'accumulate' | 'in?' | 'out?' | 'accumulate?' | 'float' | 'int' | 'bool'
/** An op as the addon knows it: the kind of each operand and attribute, in order. */
export interface NativeOp { name: string; fields: Record<string, FieldKind> }

/** Every op of the addon. */
export const nativeOps = (): NativeOp[] => call('ops')

/** Cores this process may use (affinity and cgroup). */
export const availableThreads = (): number => call('availableThreads')

export type DeviceKind = 'cpu' | 'cuda'

/** A GPU. Versions are CUDA's, such as 13.0. */
export interface GpuFacts {
  name: string
  index: number
  /** Compute capability, such as 9.0. */
  capability: string
  multiprocessors: number
  /** GPUs that this process may use. */
  devices: number
  /** Bytes. */
  memory: number
  /** Bytes a second of its memory, by its maker; undefined for a GPU that is not in the table (native/cuda/peak.cpp). */
  bandwidth?: number
  /** The newest CUDA that the driver is for. */
  driver: string
  runtime: string
  products: ProductFacts
}

/** Who computes matrix products on a GPU (NICHELM_PRODUCTS, docs/cuda.md). */
export interface ProductFacts {
  mode: 'own' | 'cublaslt' | 'measured'
  /** cuBLASLt's file and version, and the file that measurements are kept in; undefined where they are not used. */
  library?: string
  version?: number
  file?: string
  /** Products that were computed so far, by whom, and what was measured of both (null: nothing). */
  choices: { product: string; by: 'own' | 'cublaslt'; ownSeconds: number | null; librarySeconds: number | null }[]
}

/** What results depend on of a device: its kind, and who computes matrix products on a GPU where that is not nichelm. */
export function resultKind(kind: DeviceKind): string {
  const products = process.env.NICHELM_PRODUCTS
  return kind === 'cuda' && products && products !== 'own' ? `cuda, products: ${products}` : kind
}

export interface DeviceFacts {
  kind: DeviceKind
  /** Instruction set of the CPU's kernels: portable, avx2, avx512, avx512bf16. */
  isa: string
  /** The CPU's; with a GPU they do what is done beside it. */
  threads: number
  /** Bytes the CPU's kernels keep for packing and partial results. */
  scratchBytes: number
  /** Bytes of the device's memory that could still be had; -1 where the system does not tell. */
  availableMemory: number
  /** Where kind is cuda. */
  gpu?: GpuFacts
}

export interface DeviceOptions {
  /** cpu if absent. */
  kind?: DeviceKind
  /** Which GPU, from 0. */
  index?: number
  /** Of the CPU; absent for all available. */
  threads?: number
  /** Instruction set of the CPU's kernels; absent for the best. */
  isa?: string
}

/** The newest CUDA that the NVIDIA driver is for (null: there is no driver), and where nichelm's CUDA library is looked for. */
export const cudaLibrary = (): { driver: string | null; path: string } => call('cudaLibrary')

class Handle implements Disposable {
  /** The addon's own object; other files of this folder pass it on. */
  readonly native: object
  constructor(native: object) { this.native = native }
  /** Frees the memory now. Use after this throws DISPOSED. */
  dispose(): void { call('dispose', this.native) }
  [Symbol.dispose](): void { this.dispose() }
}

/** One allocation that programs of one device work in. Offsets are in bytes. */
export class Arena extends Handle {
  readonly bytes: number
  /** Zeroed memory of the device, or of the CPU. Throws RESOURCE with how much was asked for and how much there is. */
  constructor(bytes: number, device?: Device) { super(call('arenaCreate', bytes, device?.native)); this.bytes = bytes }
  /** Copies the whole array to `offset`. Throws USAGE if it does not fit inside. */
  write(offset: number, data: NumericArray): void { call('arenaWrite', this.native, offset, data) }
  /** Fills the whole array from `offset`. */
  read(offset: number, into: NumericArray): void { call('arenaRead', this.native, offset, into) }
}

/** A compiled program; its addresses are in the arena it was compiled for. */
export class Program extends Handle {}

/** What to copy where: pairs of byte offset and array, one after the other. */
export type Copies = (number | NumericArray)[]
/** One program of a run; what is read after it is what stands there then, though the arrays are filled at the end of the run. */
export interface Command { program: Program; writes?: Copies; reads?: Copies }
export interface OpTiming { op: string; calls: number; seconds: number }

/** An open device. Calls to it run one after the other; the event loop stays free. */
export class Device extends Handle {
  /** Throws USAGE, or DEVICE with what is missing: CUDA's library, a driver that is new enough, a GPU, kernels for its architecture. Never falls back to another. */
  constructor({ kind = 'cpu', index = 0, threads, isa = '' }: DeviceOptions = {}) { super(call('deviceOpen', threads, isa, kind === 'cuda' ? index : -1)) }
  describe(): DeviceFacts { return call('deviceDescribe', this.native) }
  /**
   * FLOP/s that the device reaches at most: what utilisation is a share of. A CPU's is measured in about 50 ms, multiply-adds on registers alone; a GPU's is
   * its maker's figure for dense products, and undefined for one that is not in the table (native/cuda/peak.cpp).
   */
  peak(type: 'f32' | 'bf16'): Promise<number | undefined> { return call<Promise<number>>('devicePeak', this.native, type).then(flops => flops || undefined) }
  /** Reads a program (see native/runtime/program.h). Throws USAGE that names the line and what is wrong in it. */
  compile(arena: Arena, text: string): Program { return new Program(call('programCompile', this.native, arena.native, text)) }
  /** Runs the commands in order, each after its writes (copied when this is called), then fills the arrays of their `reads` and of these. */
  async run(arena: Arena, commands: Command[], reads: Copies = []): Promise<void> {
    await call<Promise<void>>('run', this.native, arena.native, commands.map((c) => ({ program: c.program.native, writes: c.writes ?? [], reads: c.reads ?? [] })), reads)
  }
  /** Runs the program once and says where the time went. */
  profile(program: Program): Promise<OpTiming[]> { return call('profile', this.native, program.native) }
}
