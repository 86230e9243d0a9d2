import { spawnSync } from 'node:child_process'
import { cpus, freemem, totalmem } from 'node:os'
import { cores, Device, nativeOps, packageRoot, type Cores } from '../../bindings/index.js'
import { EXIT_CODES, NichelmError } from '../base/errors.js'
import { cuda, type Finding } from './doctorCuda.js'
import { define, jsonOption, print } from './frame.js'

export const doctor = define({
  command: 'doctor',
  describe: 'Tell whether nichelm can work here, and what it found',
  options: { ...jsonOption },
  examples: [['doctor', 'Check Node, the native addon, the device and the build tools; what there is of CUDA']],
  run: async ({ json }) => {
    const device = native()
    const usable = device.every(finding => finding.ok), findings = [node(), ...device, ...usable ? await cuda() : []]
    // Who has the addon does not need to build it.
    if (!usable) findings.push(tool('cmake', 'Debian, Ubuntu: apt install cmake'), tool('c++', 'Debian, Ubuntu: apt install g++'))
    print(json, { ok: findings.every(finding => finding.ok), findings }, () => findings.map(({ what, ok, found, fix }) => `${ok ? 'ok  ' : 'BAD '} ${what}: ${found}${fix && !ok ? `\n     ${fix}` : ''}`).join('\n'))
    if (!findings.every(finding => finding.ok)) process.exitCode = EXIT_CODES.DEVICE
  },
})

function node(): Finding {
  const major = Number(process.versions.node.split('.')[0])
  return { what: 'Node', ok: major >= 20, found: process.versions.node, fix: 'nichelm needs Node 20 or newer.' }
}

function native(): Finding[] {
  try {
    const ops = nativeOps()
    using device = new Device()
    const { kind, isa, threads, availableMemory } = device.describe()
    const memory = availableMemory < 0 ? freemem() : availableMemory
    return [
      { what: 'native addon', ok: true, found: `${ops.length} ops, in ${packageRoot}` },
      { what: 'device', ok: true, found: `${kind}, ${threads} threads, ${cpus()[0]?.model.trim() ?? 'unknown processor'}` },
      { what: 'cores', ok: true, found: given(cores()) },
      { what: 'instruction set', ok: true, found: `${isa}${process.env['NICHELM_ISA'] ? ', forced by NICHELM_ISA' : ''}; this CPU has ${cores().instructionSets.join(', ')}` },
      { what: 'memory', ok: true, found: `${gigabytes(memory)} of ${gigabytes(totalmem())} GB free` },
    ]
  } catch (error) {
    const { message, fix } = error instanceof NichelmError ? error : { message: String(error), fix: undefined }
    return [{ what: 'native addon', ok: false, found: message, ...(fix ? { fix } : {}) }]
  }
}

/** Whose cores they are, and what keeps some of them from us. */
function given({ machine, affinity, quota, available }: Cores): string {
  return `${available} of ${machine}, ${affinity < machine ? `affinity ${affinity}` : 'no affinity set'}, ${quota > 0 ? `cgroup quota ${+quota.toFixed(2)}` : 'no cgroup quota'}`
}

function tool(name: string, fix: string): Finding {
  const { stdout, status } = spawnSync(name, ['--version'], { encoding: 'utf8' })
  return { what: `${name} (to build)`, ok: status === 0, found: status === 0 ? stdout.split('\n')[0]! : 'not found', fix }
}

const gigabytes = (bytes: number): string => (bytes / 2 ** 30).toFixed(1)
