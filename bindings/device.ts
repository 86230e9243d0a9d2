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

export interface DeviceFacts {
  kind: 'cpu'
  /** Instruction set of the kernels: portable, avx2, avx512, avx512bf16. */
  isa: string
  threads: number
  /** Bytes the kernels keep for packing and partial results. */
  scratchBytes: number
  /** Bytes of memory that could still be had; -1 where the system does not tell. */
  availableMemory: number
}

class Handle implements Disposable {
  /** The addon's own object; other files of this folder pass it on. */
  readonly native: object
  constructor(native: object) { this.native = native }
  /** Frees the memory now. Use after this throws DISPOSED. */
  dispose(): void { call('dispose', this.native) }
  [Symbol.dispose](): void { this.dispose() }
}

/** One allocation that programs work in. Offsets are in bytes. */
export class Arena extends Handle {
  readonly bytes: number
  /** Zeroed. Throws RESOURCE with how much was asked for and how much there is. */
  constructor(bytes: number) { super(call('arenaCreate', bytes)); this.bytes = bytes }
  /** Copies the whole array to `offset`. Throws USAGE if it does not fit inside. */
  write(offset: number, data: NumericArray): void { call('arenaWrite', this.native, offset, data) }
  /** Fills the whole array from `offset`. */
  read(offset: number, into: NumericArray): void { call('arenaRead', this.native, offset, into) }
}

/** A compiled program; its addresses are in the arena it was compiled for. */
export class Program extends Handle {}

/** What to copy where: pairs of byte offset and array, one after the other. */
export type Copies = (number | NumericArray)[]
export interface Command { program: Program; writes?: Copies }
export interface OpTiming { op: string; calls: number; seconds: number }

/** An open device. Calls to it run one after the other; the event loop stays free. */
export class Device extends Handle {
  /** `threads`: 0 or absent for all available; `isa`: absent for the best. Throws USAGE or DEVICE. */
  constructor(options: { threads?: number; isa?: string } = {}) { super(call('deviceOpen', options.threads ?? 0, options.isa ?? '')) }
  describe(): DeviceFacts { return call('deviceDescribe', this.native) }
  /** FLOP/s that the device reaches with multiply-adds on registers alone, measured in about 50 ms: what utilisation is a share of. */
  peak(type: 'f32' | 'bf16'): Promise<number> { return call('devicePeak', this.native, type) }
  /** Reads a program (see native/runtime/program.h). Throws USAGE that names the line and what is wrong in it. */
  compile(arena: Arena, text: string): Program { return new Program(call('programCompile', this.native, arena.native, text)) }
  /** Runs the commands in order, each after its writes (copied when this is called), then fills the arrays of `reads`. */
  async run(arena: Arena, commands: Command[], reads: Copies = []): Promise<void> {
    await call<Promise<void>>('run', this.native, arena.native, commands.map((c) => ({ program: c.program.native, writes: c.writes ?? [] })), reads)
  }
  /** Runs the program once and says where the time went. */
  profile(program: Program): Promise<OpTiming[]> { return call('profile', this.native, program.native) }
}
