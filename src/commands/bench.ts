import { Arena, Device, type DeviceFacts } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { Layout, lower } from '../graph/lower.js'
import { trace } from '../graph/op.js'
import { attention as attentionOp, cast, matmul as matmulOp } from '../graph/ops/index.js'
import { persistent, type DType } from '../graph/tensor.js'
import { countMethod, RECOMPUTE, type NetworkOptions, type Recompute } from '../model/index.js'
import { measureStep } from '../train/index.js'
import { benchKmeans, benchTokenizer } from './benchData.js'
import { benchInference } from './benchInference.js'
import { define, deviceOptions, group, interruption, jsonOption, print } from './frame.js'
import { methodOptions, methodSizes } from './methodOptions.js'
import { modelOptions } from './modelOptions.js'

const train = define({
  command: 'train',
  describe: 'Speed of whole training steps: forward, backward, clipping, AdamW',
  options: {
    ...modelOptions, vocab: { ...modelOptions.vocab, default: 4096, describe: 'Vocabulary of a named model' },
    method: { ...methodOptions.method, choices: ['slm', 'slm-pn'] as const, default: 'slm' as 'slm' | 'slm-pn', describe: 'slm, or the projected network of slm-pn' },
    experts: { type: 'number', minimum: 1, describe: 'slm-pn: experts, as many basis matrices, and vectors as long; default 16' },
    groups: { type: 'number', minimum: 1, default: 8, describe: 'slm-pn: groups of rows a step, each of one expert' },
    batch: { type: 'number', minimum: 1, default: 32, describe: 'Rows a step' },
    context: { type: 'number', minimum: 2, describe: 'Tokens of a row; default: the model\'s context' },
    recompute: { type: 'string', choices: RECOMPUTE, default: 'none' as Recompute, describe: 'Activations made again instead of kept: less memory, more time' },
    steps: { type: 'number', minimum: 1, default: 10, describe: 'Steps to time; the median counts' },
    ...deviceOptions, ...jsonOption,
  },
  examples: [['bench train --model nano --vocab 4096 --batch 32 --context 256 --precision bf16 --threads 2 --steps 10 --json', 'Tokens a second, and the share of the measured peak'],
    ['bench train --model pico --vocab 4096 --batch 64 --method slm-pn --experts 16', 'The same of a projected network; compare with --method slm']],
  run: async ({ batch, context, steps, recompute, threads, precision, json, groups, experts, ...model }) => {
    const projects = model.method === 'slm-pn'
    if (experts !== undefined && !projects) throw new NichelmError('USAGE', `--experts: belongs to slm-pn, not to ${model.method}`, { fix: 'Give --method slm-pn, or leave --experts out.' })
    const sizes = { ...methodSizes({ ...model, context, ...(projects ? { experts: experts ?? 16 } : {}) }, batch), rowsPerGroup: batch / groups }
    const { model: config, projected } = sizes, length = context ?? config.context
    const network: NetworkOptions | undefined = projected && { kind: 'projected', projected, groups }
    using device = new Device({ threads })
    const peak = await device.peak(precision)
    const { secondsPerStep, tokensPerStep, memoryBytes, plannedResidentBytes, peakResidentBytes } = await measureStep({ device, config, precision, network, rows: batch, length, steps, recompute, signal: interruption.signal })
    const { pretrainingParameters: parameters, pretrainingFlopsPerToken } = countMethod({ ...sizes, length }), flopsPerToken = pretrainingFlopsPerToken!, tokensPerSecond = tokensPerStep / secondsPerStep
    const result = { ...about(device.describe()), model: model.model, method: model.method, ...(projected ? { experts: projected.experts, groups } : {}), precision, recompute, batch, context: length, steps, tokensPerSecond, secondsPerStep, parameters, flopsPerToken, flopsPerSecond: tokensPerSecond * flopsPerToken, peakFlopsPerSecond: peak, peakFraction: tokensPerSecond * flopsPerToken / peak, memoryBytes, plannedResidentBytes, peakResidentBytes }
    print(json, result, () => `${model.model}${projected ? `, ${projected.experts} experts in ${groups} groups` : ''}, ${precision}, ${batch} rows of ${length}: ${Math.round(tokensPerSecond).toLocaleString('en')} tokens/s, ${(1000 * secondsPerStep).toFixed(0)} ms a step, ${share(result)}; memory ${mebibytes(plannedResidentBytes)} planned${peakResidentBytes === null ? '' : `, ${mebibytes(peakResidentBytes)} held at the most`}`)
  },
})

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`

const matmul = define({
  command: 'matmul',
  describe: 'Speed of the matrix product [m, k] x [k, n]',
  options: {
    m: { type: 'number', minimum: 1, default: 1024, describe: 'Rows of the left matrix' },
    n: { type: 'number', minimum: 1, default: 1024, describe: 'Columns of the right matrix' },
    k: { type: 'number', minimum: 1, default: 1024, describe: 'Inner size' },
    steps: { type: 'number', minimum: 1, default: 20, describe: 'Products to time; the median counts' },
    ...deviceOptions, ...jsonOption,
  },
  examples: [['bench matmul -m 1024 -n 1024 -k 1024 --precision f32', 'FLOP/s, and the share of the measured peak']],
  run: async ({ m, n, k, steps, threads, precision, json }) => {
    const result = { m, n, k, ...await timed({ threads, precision, steps }, dtype => void matmulOp(persistent('a', dtype, [m, k]), persistent('b', dtype, [k, n]), { into: persistent('c', dtype, [m, n]) })) }
    print(json, result, () => `${m} x ${n} x ${k}, ${precision}: ${(1000 * result.seconds).toFixed(2)} ms, ${share(result)}`)
  },
})

const attention = define({
  command: 'attention',
  describe: 'Speed of causal attention, forward',
  options: {
    rows: { type: 'number', minimum: 1, default: 8, describe: 'Rows, each one document' },
    context: { type: 'number', minimum: 1, default: 1024, describe: 'Tokens of a row' },
    heads: { type: 'number', minimum: 1, default: 8, describe: 'Heads' },
    'head-width': { type: 'number', minimum: 1, default: 64, describe: 'Width of a head' },
    steps: { type: 'number', minimum: 1, default: 10, describe: 'Passes to time; the median counts' },
    ...deviceOptions, ...jsonOption,
  },
  examples: [['bench attention --rows 8 --context 1024 --heads 8 --head-width 64', 'FLOP/s over the visible half, and the share of the measured peak']],
  run: async ({ rows, context, heads, 'head-width': headWidth, steps, threads, precision, json }) => {
    const measured = await timed({ threads, precision, steps }, dtype => {
      const y = attentionOp(persistent('qkv', dtype, [rows, context, 3 * heads * headWidth]), persistent('starts', 'i32', [rows, context]), heads)
      // Something must read the result, or it is not computed; this copy is little beside it.
      const other = dtype === 'f32' ? 'bf16' : 'f32'
      cast(y, other, persistent('result', other, y.shape))
    }), result = { rows, context, heads, headWidth, ...measured }
    print(json, result, () => `${rows} rows of ${context}, ${heads} heads of ${headWidth}, ${precision}: ${(1000 * result.seconds).toFixed(2)} ms, ${share(result)}`)
  },
})

const about = ({ kind, isa, threads }: DeviceFacts) => ({ device: kind, isa, threads })

const share = ({ flopsPerSecond, peakFraction }: { flopsPerSecond: number; peakFraction: number }): string => `${(flopsPerSecond / 1e9).toFixed(1)} GFLOP/s, ${(100 * peakFraction).toFixed(1)}% of the measured peak`

/** Median time of a traced program on zeros; the first run is not counted. */
async function timed({ threads, precision, steps }: { threads: number; precision: DType & ('f32' | 'bf16'); steps: number }, body: (dtype: 'f32' | 'bf16') => void) {
  using device = new Device({ threads })
  const peak = await device.peak(precision), layout = new Layout()
  const lowered = lower(trace(() => body(precision)), layout)
  using arena = new Arena(Math.max(1, layout.bytes + lowered.temporaryBytes))
  using program = device.compile(arena, lowered.text(layout))
  const all: number[] = []
  for (let step = 0; step <= steps; step++) {
    interruption.signal.throwIfAborted()
    const began = performance.now()
    await device.run(arena, [{ program }])
    if (step > 0) all.push((performance.now() - began) / 1000)
  }
  const seconds = all.sort((a, b) => a - b)[Math.floor(all.length / 2)]!
  return { ...about(device.describe()), precision, steps, seconds, flopsPerSecond: lowered.flops / seconds, peakFlopsPerSecond: peak, peakFraction: lowered.flops / seconds / peak }
}

export const bench = group('bench', 'Speed of this machine, side by side with what it could reach', [train, benchInference, matmul, attention, benchTokenizer, benchKmeans])
