import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../base/temporary.js'

const root = join(import.meta.dirname, '../../..')
const BASICS = ['bash', 'dirname', 'sed', 'head', 'sort', 'mktemp', 'rm', 'uname', 'mkdir', 'tail', 'cat']

/** A folder of programs to use as the whole PATH: the basic ones, links to real ones, and scripts. */
function programs(folder: string, links: string[], scripts: Record<string, string> = {}): string {
  mkdirSync(folder)
  for (const name of [...BASICS, ...links]) {
    const found = spawnSync('bash', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim()
    assert.ok(found, name)
    symlinkSync(found, join(folder, name))
  }
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/usr/bin/env bash\n${text}\n`)
    chmodSync(join(folder, name), 0o755)
  }
  return folder
}

const bash = (command: string, options: { PATH: string; cwd?: string; more?: Record<string, string> }): { status: number | null; said: string } => {
  const { status, stdout, stderr } = spawnSync(spawnSync('bash', ['-c', 'command -v bash'], { encoding: 'utf8' }).stdout.trim(), ['-c', command],
    { cwd: options.cwd ?? root, env: { PATH: options.PATH, ...options.more }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  return { status, said: stdout + stderr }
}

test('quickstart and test name every missing tool at once, and how to get it, before they begin', () => {
  using folder = temporaryFolder()
  const PATH = programs(folder.file('bin'), [])
  for (const script of ['scripts/quickstart', 'scripts/test']) {
    const { status, said } = bash(script, { PATH })
    assert.equal(status, 1)
    for (const part of ['Node.js 20', 'npm', 'CMake 3.22', 'ninja', 'C++20 compiler', 'sudo apt-get install cmake ninja-build g++']) assert.ok(said.includes(part), `${part}: ${said}`)
    assert.doesNotMatch(said, /Installing/)
  }
})

test('tools that are too old, and a compiler that cannot compile, are told with what was found', () => {
  using folder = temporaryFolder()
  const PATH = programs(folder.file('bin'), [], { node: 'echo 18.19.0', npm: 'true', cmake: 'echo cmake version 3.16.3', make: 'true', 'c++': 'exit 1' })
  const { status, said } = bash('source scripts/lib/setup.sh; require_tools', { PATH })
  assert.equal(status, 1)
  for (const part of ['found 18.19.0', 'found 3.16.3', `${PATH}/c++ cannot build`]) assert.ok(said.includes(part), `${part}: ${said}`)
  assert.doesNotMatch(said, /ninja \(or make\)|npm: /)
  const chosen = bash('source scripts/lib/setup.sh; require_tools', { PATH, more: { CXX: 'no-such-compiler -m64' } })
  assert.match(chosen.said, /no-such-compiler -m64 cannot build/)
})

test('what is there and new enough is not asked for', () => {
  using folder = temporaryFolder()
  const PATH = programs(folder.file('bin'), [], { node: 'echo 22.3.0', npm: 'true', cmake: 'echo cmake version 3.22.0', ninja: 'true', 'c++': 'true' })
  assert.deepEqual(bash('set -euo pipefail; source scripts/lib/setup.sh; require_tools; echo fine', { PATH }), { status: 0, said: 'fine\n' })
})

test('a step that fails shows the end of its output, says where all of it is, and ends the script', () => {
  using folder = temporaryFolder()
  const PATH = process.env['PATH']!
  const command = `source ${root}/scripts/lib/setup.sh; step 'Counting' count.log bash -c 'seq 100; exit 7'; echo went on`
  const { status, said } = bash(command, { PATH, cwd: folder.path })
  assert.equal(status, 1)
  assert.match(said, /Counting \.\.\. failed\n\n {4}61\n[^]* {4}100\n\nCounting failed \(exit code 7\)\. All of its output: build\/log\/count\.log/)
  assert.doesNotMatch(said, /went on/)
  assert.equal(readFileSync(folder.file('build/log/count.log'), 'utf8').trim().split('\n').length, 100)
  assert.match(bash(command.replace('exit 7', 'exit 0'), { PATH, cwd: folder.path }).said, /^Counting \.\.\. \d+ s\nwent on\n$/)
})

test("prebuildify's call is passed on to cmake-js", () => {
  using folder = temporaryFolder()
  mkdirSync(folder.file('scripts'))
  cpSync(join(root, 'scripts/cmake-js-backend'), folder.file('scripts/cmake-js-backend'))
  mkdirSync(folder.file('node_modules/.bin'), { recursive: true })
  writeFileSync(folder.file('node_modules/.bin/cmake-js'), '#!/usr/bin/env bash\necho "$@"\n')
  chmodSync(folder.file('node_modules/.bin/cmake-js'), 0o755)
  const PATH = process.env['PATH']!, run = (line: string) => bash(`${folder.file('scripts/cmake-js-backend')} ${line}`, { PATH })
  assert.deepEqual(run('rebuild --target=20.0.0 --devdir=/tmp/x --arch=arm64 --release'), { status: 0, said: 'compile --arch arm64\n' })
  assert.deepEqual(run('rebuild --target=20.0.0 --debug'), { status: 0, said: 'compile --debug\n' })
  const refused = run('rebuild --runtime=electron')
  assert.equal(refused.status, 2)
  assert.match(refused.said, /cannot pass --runtime=electron on/)
})

test('.ci/run calls scripts/test and then the check of the CUDA kernels; the lock file names no registry', () => {
  assert.match(readFileSync(join(root, '.ci/run'), 'utf8'), /^scripts\/test$[^]*^scripts\/check-cuda-kernels$/m)
  const hosts = [...readFileSync(join(root, 'package-lock.json'), 'utf8').matchAll(/"resolved": "https?:\/\/([^/"]+)/g)].map(([, host]) => host)
  assert.deepEqual(hosts.filter(host => host !== 'registry.npmjs.org'), [])
})

test('the check of the CUDA kernels says what it did not check, and fails where the table and the kernels differ', () => {
  using folder = temporaryFolder()
  for (const part of ['scripts/check-cuda-kernels', 'scripts/lib', 'native/cuda', 'native/ops', 'native/cluster', 'native/runtime']) cpSync(join(root, part), folder.file(part), { recursive: true })
  const tools = ['awk', 'find', 'xargs', 'stat', 'cut', 'grep', 'mv', 'wc', 'getconf', 'basename', 'c++filt']
  const nvcc = (release: string, says: string): Record<string, string> => ({ nvcc: `[ "$1" = --version ] && echo 'Cuda compilation tools, release ${release}, V${release}.88' || ${says}` })
  let count = 0
  const check = (scripts: Record<string, string>) => bash('scripts/check-cuda-kernels', { cwd: folder.path, PATH: programs(folder.file(`bin${count++}`), tools, scripts), more: { CUDA_HOME: '/nowhere' } })
  const without = check({})
  assert.equal(without.status, 0, without.said)
  assert.match(without.said, /There is no nvcc: registers and spills of the CUDA kernels were not checked\.[^]*There is no nichelm_test[^]*shared memory was not checked[^]*lines as in native\/cuda\/kernels\.txt/)
  const other = check(nvcc('99.1', 'true'))
  assert.equal(other.status, 0, other.said)
  assert.match(other.said, /Every CUDA kernel compiles for sm_80 and sm_90a by nvcc 99\.1[^]*were not compared: the table's are of nvcc \d+\.\d/)
  const refusing = check(nvcc('99.2', '{ echo "cuda.cu(3): error: no such thing" >&2; exit 1; }'))
  assert.equal(refusing.status, 1)
  assert.match(refusing.said, /cuda\.cu does not compile without a warning:\n.*no such thing/)
  const [, same] = /^# nvcc (.*)$/m.exec(readFileSync(folder.file('native/cuda/kernels.txt'), 'utf8'))!
  const none = check(nvcc(same!, 'true'))
  assert.equal(none.status, 1)
  assert.match(none.said, /only in native\/cuda\/kernels\.txt: sm_80 adamw/)
  const serial = check(nvcc('99.3', "echo 'ptxas info : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized'"))
  assert.equal(serial.status, 1)
  assert.match(serial.said, /ptxas serialised matrix instructions/)
})

// A copy of gpu-check with an op of two tests and one primitive, and a GPU of sm_90 with all its tools; the build makes the programs given.
function gpuCheck(folder: ReturnType<typeof temporaryFolder>, nichelmTest: string, nichelmBench: string, more: Record<string, string> = {}) {
  for (const part of ['scripts/gpu-check', 'scripts/lib']) cpSync(join(root, part), folder.file(part), { recursive: true })
  for (const [file, tests] of Object.entries({ 'native/cuda/primitives_test.cpp': ['primitive_products'], 'native/ops/rotary/test.cpp': ['rotary'], 'native/ops/matmul/test.cpp': ['matmul_shapes', 'matmul_deep'] })) {
    mkdirSync(dirname(folder.file(file)), { recursive: true })
    writeFileSync(folder.file(file), tests.map((name) => `TEST(${name}) { on_devices(); }\n`).join(''))
  }
  writeFileSync(folder.file('nichelm_test'), `#!/usr/bin/env bash\n${nichelmTest}\n`)
  writeFileSync(folder.file('nichelm_bench'), `#!/usr/bin/env bash\n${nichelmBench}\n`)
  const PATH = programs(folder.file('bin'), ['timeout', 'tr', 'grep', 'date', 'getconf', 'chmod', 'paste', 'basename', 'env', 'mv', 'cp', 'cut', 'sleep', 'seq', 'kill'], {
    'nvidia-smi': `case "$1" in *compute_cap*) echo 9.0 ;; *driver*) echo 580.1 ;; *) echo 'NVIDIA Test' ;; esac`, nvcc: "echo 'release 13.0, V13.0'",
    cmake: 'case "$1" in --build) cp nichelm_test nichelm_bench build/gpu; chmod +x build/gpu/nichelm_*; : >build/gpu/nichelm_cuda.so ;; esac',
    'compute-sanitizer': 'while [ "${1##*/}" != nichelm_test ]; do shift; done; "$@"; said=$?; echo "ERROR SUMMARY: 0 errors"; exit $said', node: 'exit 1', python3: 'exit 1', ...more,
  })
  return (seconds: number) => {
    const run = bash('scripts/gpu-check', { cwd: folder.path, PATH, more: { CUDA_HOME: '/nowhere', COMMIT: 'abc', NICHELM_GPU_CHECK_SECONDS: String(seconds) } })
    const file = readdirSync(folder.file('results/gpu')).filter((name) => name.endsWith('.json')).map((name) => join('results/gpu', name))[0] ?? assert.fail(run.said)
    const result = JSON.parse(readFileSync(folder.file(file), 'utf8')) as
      { device: string; commit: string; ended: string; checks: { name: string; exit: number | null; failed?: number; said: string; failures?: string[] }[]; benchmarks: { benchmark: string; kernels?: string; products?: string }[] }
    return { ...run, result, checks: new Map(result.checks.map((check) => [check.name, check])) }
  }
}

test('gpu-check writes what it found, and what it had no time for', () => {
  using folder = temporaryFolder()
  const check = gpuCheck(folder, 'echo "7 passed, 0 failed"', 'echo "{ \\"benchmark\\": \\"$1\\" }"; exit 3')
  const whole = check(0)
  assert.equal(whole.status, 1, 'benchmarks failed')
  assert.deepEqual([whole.result.device, whole.result.commit, whole.result.ended], ['NVIDIA Test', 'abc', 'finished'])
  for (const name of ['primitives-primitive_products', 'tests-rotary', 'tests-matmul_deep', 'tests-mma-matmul_deep', 'memcheck-rotary', 'racecheck-sample_by']) assert.equal(whole.checks.get(name)?.exit, 0, name)
  assert.equal(whole.checks.get('bench-matmul')?.exit, 3)
  assert.deepEqual(whole.result.benchmarks.filter(({ benchmark }) => benchmark === 'matmul'), [{ benchmark: 'matmul' }, { kernels: 'mma.sync', benchmark: 'matmul' }, { products: 'cublaslt', benchmark: 'matmul' }])
  const hurried = check(80)
  assert.deepEqual([hurried.checks.get('tests-rotary')?.exit, hurried.checks.get('tests-rotary')?.said], [null, 'left out, for lack of time'], 'the time that is spared for benchmarks')
  assert.equal(hurried.checks.get('bench-loss')?.exit, 3)
})

test('gpu-check goes on behind groups that fail, with many lines, hang or fault, and behind a build that does', () => {
  using folder = temporaryFolder()
  const check = gpuCheck(folder, 'case "$3" in matmul_deep) kill -SEGV $$ ;; matmul_shapes) seq -f "FAILED \\"line\\" %.0f" 100000; echo "0 passed, 100000 failed"; exit 1 ;; esac; echo "7 passed, 0 failed"', 'echo "{ \\"benchmark\\": \\"$1\\" }"')
  const { status, checks, result } = check(0)
  assert.deepEqual([status, result.ended], [1, 'finished'])
  assert.deepEqual([checks.get('tests-matmul_deep')?.exit, checks.get('tests-rotary')?.exit, checks.get('memcheck-rotary')?.exit], [139, 0, 0])
  const many = checks.get('tests-matmul_shapes')!
  assert.deepEqual([many.exit, many.failed, many.failures?.length, many.failures?.[19]], [1, 100000, 20, 'FAILED line 20'])
  using other = temporaryFolder()
  const broken = gpuCheck(other, '', '', { cmake: 'case "$1" in --build) echo "kernel.cu(3): error: no"; exit 1 ;; esac' })(0)
  assert.deepEqual([broken.status, broken.result.ended, broken.checks.get('build-library')?.failures], [1, 'finished', ['kernel.cu(3): error: no']])
  using hung = temporaryFolder()
  const late = gpuCheck(hung, 'echo "7 passed, 0 failed"', 'echo "{ \\"benchmark\\": \\"$1\\" }"; sleep 60')(17)
  assert.deepEqual(late.result.benchmarks, [{ benchmark: 'memory' }], 'what a benchmark had measured before it hung')
})

test('the npm package holds what the addon is built from, and no tests', () => {
  const { stdout, stderr, status } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const files = (JSON.parse(stdout) as [{ files: { path: string }[] }])[0].files.map(({ path }) => path)
  for (const needed of ['CMakeLists.txt', 'native/ops/matmul/cpu.cpp', 'native/ops/matmul/gemm.h', 'bindings/device.cpp', 'docs/recipe.md', 'data/quickstart/recipe.yaml']) assert.ok(files.includes(needed), needed)
  assert.deepEqual(files.filter((path) => /(^|[/_.])test\.|(^|\/)(test|golden|emulator)\/|(^|\/)reference\./.test(path)), [])
})
