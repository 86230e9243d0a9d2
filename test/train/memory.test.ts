import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { availableThreads, Device } from '../../bindings/index.js'
import { scratchBytes } from '../../src/graph/scratch.js'
import { modelConfig, ModelSession, projectedConfig, type SessionOptions } from '../../src/model/index.js'
import { planPrograms } from '../../src/model/sessionPlan.js'
import { randomRows } from '../../src/train/measure.js'

const run = promisify(execFile)

for (const [precision, recompute, rows] of [['bf16', 'none', 16], ['f32', 'none', 8], ['bf16', 'blocks', 32]] as const)
  test(`training holds what is planned: ${precision}, ${rows} rows, recompute ${recompute}`, { skip: !existsSync('/proc/self/status') && 'the system does not tell what a process holds' }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'nichelm-memory-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const { stdout } = await run(process.execPath, [join(import.meta.dirname, 'memoryChild.js'), join(folder, 'run'), precision, recompute, String(rows)])
    const { planned, held } = JSON.parse(stdout) as { planned: number; held: number }
    assert.ok(held <= 1.1 * planned, `${held} bytes were held, ${planned} planned`)
    assert.ok(planned <= 1.2 * held, `${planned} bytes were planned, ${held} held`)
  })

test('what kernels take for themselves is planned', async () => {
  const training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 1 }
  const nano = modelConfig('nano', 4096, { layers: 1 }), wide = modelConfig('mini', 8192, { layers: 1 }), narrow = modelConfig('nano', 20000, { layers: 1, context: 64 })
  const cases: [Omit<SessionOptions, 'training'>, { threads?: number; isa?: string }][] = [
    [{ config: nano, precision: 'bf16', rows: 4 }, { threads: availableThreads() }],
    [{ config: nano, precision: 'f32', rows: 4 }, { threads: 1, isa: 'portable' }],
    [{ config: wide, precision: 'bf16', rows: 4 }, { threads: 1 }],
    [{ config: narrow, precision: 'bf16', rows: 2 }, { threads: 1 }],
    [{ config: nano, precision: 'bf16', rows: 4, network: { kind: 'lora', lora: { rank: 16, alpha: 16, matrices: ['attention.qkv'] } } }, { threads: 1 }],
    [{ config: nano, precision: 'bf16', rows: 4, network: { kind: 'projected', projected: projectedConfig(nano, { experts: 16 }), groups: 2 } }, { threads: 1 }],
  ]
  for (const [options, opened] of cases) {
    using device = new Device(opened)
    using session = new ModelSession(device, { ...options, training })
    await session.initialize(1)
    const { rows, config, network } = options, batch = { ...randomRows(rows, config.context, config.vocabulary), ...(network?.kind === 'projected' ? { experts: Int32Array.of(1, 2) } : {}) }
    await session.accumulate([batch])
    await session.update(1, 1e-3)
    await session.evaluate(batch)
    const planned = scratchBytes(Object.values(planPrograms({ ...options, training }).programs).flatMap((program) => program?.nodes ?? []), device.describe()), { scratchBytes: held } = device.describe()
    assert.ok(held <= 1.1 * planned && planned <= 1.1 * held, `${JSON.stringify(opened)}, ${options.precision}, ${network?.kind ?? 'plain'}, vocabulary ${config.vocabulary}: ${held} bytes held, ${planned} planned`)
  }
})
