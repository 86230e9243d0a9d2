import { NichelmError } from '../base/errors.js'
import { adamw as adamwOp, attention as attentionOp, basisAdamw, basisStep, cast, matmul as matmulOp, project as projectOp } from '../graph/ops/index.js'
import { persistent } from '../graph/tensor.js'
import { countMethod, RECOMPUTE, type NetworkOptions, type Recompute } from '../model/index.js'
import { measureStep } from '../train/index.js'
import { benchKmeans, benchTokenizer } from './benchData.js'
import { benchInference } from './benchInference.js'
import { about, productsText, profileText, rated, share, timed, traffic, utilisation } from './benchTimed.js'
import { define, deviceOptions, group, interruption, jsonOption, openDevice, print } from './frame.js'
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
    profile: { type: 'boolean', default: false, describe: 'Where a step\'s time goes, op by op' },
    ...deviceOptions, ...jsonOption,
  },
  examples: [['bench train --model nano --vocab 4096 --batch 32 --context 256 --precision bf16 --threads 2 --steps 10 --json', 'Tokens a second, and the share of the measured peak'],
    ['bench train --model pico --vocab 4096 --batch 64 --method slm-pn --experts 16', 'The same of a projected network; compare with --method slm']],
  run: async ({ batch, context, steps, recompute, profile: profiled, device: name, threads, precision, json, groups, experts, ...model }) => {
    const projects = model.method === 'slm-pn'
    if (experts !== undefined && !projects) throw new NichelmError('USAGE', `--experts: belongs to slm-pn, not to ${model.method}`, { fix: 'Give --method slm-pn, or leave --experts out.' })
    const sizes = { ...methodSizes({ ...model, context, ...(projects ? { experts: experts ?? 16 } : {}) }, batch), rowsPerGroup: batch / groups }
    const { model: config, projected } = sizes, length = context ?? config.context
    const network: NetworkOptions | undefined = projected && { kind: 'projected', projected, groups }
    using device = openDevice({ device: name, threads })
    const peak = await device.peak(precision)
    const { secondsPerStep, tokensPerStep, memoryBytes, plannedResidentBytes, peakResidentBytes, profile } = await measureStep({ device, config, precision, network, rows: batch, length, steps, recompute, profile: profiled, signal: interruption.signal })
    const { pretrainingParameters: parameters, pretrainingFlopsPerToken } = countMethod({ ...sizes, length }), flopsPerToken = pretrainingFlopsPerToken!, tokensPerSecond = tokensPerStep / secondsPerStep
    const result = { ...about(device.describe()), model: model.model, method: model.method, ...(projected ? { experts: projected.experts, groups } : {}), precision, recompute, batch, context: length, steps, tokensPerSecond, secondsPerStep, parameters, flopsPerToken, ...rated(device, tokensPerSecond * flopsPerToken, peak), memoryBytes, plannedResidentBytes, peakResidentBytes, ...profile ? { profile } : {} }
    print(json, result, () => `${model.model}${projected ? `, ${projected.experts} experts in ${groups} groups` : ''}, ${precision}, ${batch} rows of ${length}: ${Math.round(tokensPerSecond).toLocaleString('en')} tokens/s, ${(1000 * secondsPerStep).toFixed(device.describe().gpu ? 2 : 0)} ms a step, ${share(result)}; memory ${plannedResidentBytes === null ? mebibytes(memoryBytes) : `${mebibytes(plannedResidentBytes)} planned`}${peakResidentBytes === null ? '' : `, ${mebibytes(peakResidentBytes)} held at the most`}${utilisation(tokensPerSecond, flopsPerToken, peak)}${profile ? `\n\n${profileText(profile)}` : ''}`)
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
  run: async ({ m, n, k, steps, device, threads, precision, json }) => {
    const result = { m, n, k, ...await timed({ device, threads, precision, steps }, dtype => void matmulOp(persistent('a', dtype, [m, k]), persistent('b', dtype, [k, n]), { into: persistent('c', dtype, [m, n]) })) }
    print(json, result, () => `${m} x ${n} x ${k}, ${precision}: ${(1000 * result.seconds).toFixed(2)} ms, ${share(result)}${productsText(result.products)}`)
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
  run: async ({ rows, context, heads, 'head-width': headWidth, steps, device, threads, precision, json }) => {
    const measured = await timed({ device, threads, precision, steps }, dtype => {
      const y = attentionOp(persistent('qkv', dtype, [rows, context, 3 * heads * headWidth]), persistent('starts', 'i32', [rows, context]), heads)
      // Something must read the result, or it is not computed; this copy is little beside it.
      const other = dtype === 'f32' ? 'bf16' : 'f32'
      cast(y, other, persistent('result', other, y.shape))
    }), result = { rows, context, heads, headWidth, ...measured }
    print(json, result, () => `${rows} rows of ${context}, ${heads} heads of ${headWidth}, ${precision}: ${(1000 * result.seconds).toFixed(2)} ms, ${share(result)}`)
  },
})

// Bytes that a program must read and write are counted by formula; a share of memory's bandwidth is told where its maker states that.
const project = define({
  command: 'project',
  describe: 'Speed of a projected network\'s own passes over the basis: projecting a step\'s groups, the basis\' optimizer, and both at once',
  options: {
    rows: { type: 'number', minimum: 1, default: 1024, describe: 'Rows of the matrix' },
    columns: { type: 'number', minimum: 1, default: 4096, describe: 'Columns of the matrix' },
    experts: { type: 'number', minimum: 2, default: 32, describe: 'Experts, as many basis matrices, and vectors as long' },
    groups: { type: 'number', minimum: 1, default: 8, describe: 'Groups of rows a step, each of one expert' },
    steps: { type: 'number', minimum: 1, default: 10, describe: 'Passes to time; the median counts' },
    ...deviceOptions, ...jsonOption,
  },
  examples: [['bench project --rows 1024 --columns 4096 --experts 32 --groups 8', 'Bytes a second of the passes']],
  run: async ({ rows, columns, experts: count, groups, steps, device, threads, precision, json }) => {
    const options = { device, threads, precision, steps }, size = rows * columns, f32 = (name: string, ...shape: number[]) => persistent(name, 'f32', shape)
    const basis = f32('basis', count, rows, columns), coefficients = f32('coefficients', groups, count)
    const projection = { experts: f32('experts', count, count), mix: f32('mix', count, count), basis, ids: persistent('ids', 'i32', [groups]) }, bytes = precision === 'bf16' ? 2 : 4
    const weights = (dtype: 'bf16' | 'f32') => persistent('weights', dtype, [groups, rows, columns])
    const one = { ...await timed(options, dtype => projectOp(projection, 1 / count, { coefficients, weights: weights(dtype) }), size * (4 * count + bytes * groups)) }
    const run = { dweights: f32('dweights', groups, rows, columns), basis, m: f32('m', count, rows, columns), v: f32('v', count, rows, columns) }
    const other = { ...await timed(options, () => basisAdamw({ ...run, coefficients }, f32('clip', 1), f32('schedule', 3), ADAMW), size * (24 * count + 4 * groups)) }
    const both = { ...await timed(options, dtype => basisStep({ ...run, ...projection }, 1 / count, { coefficients, weights: weights(dtype) }, f32('clip', 1), f32('schedule', 3), ADAMW), size * (24 * count + (4 + bytes) * groups)) }
    print(json, { rows, columns, experts: count, groups, project: one, optimizer: other, both }, () => `basis of ${count} matrices of ${rows} x ${columns}, ${groups} groups, ${precision}\nproject    ${traffic(one)}\noptimizer  ${traffic(other)}\nboth       ${traffic(both)}, in one pass, as a step does`)
  },
})

const adamw = define({
  command: 'adamw',
  describe: 'Speed of the optimizer\'s update',
  options: {
    parameters: { type: 'number', minimum: 1, default: 10_000_000, describe: 'Parameters' },
    steps: { type: 'number', minimum: 1, default: 20, describe: 'Updates to time; the median counts' },
    ...deviceOptions, ...jsonOption,
  },
  examples: [['bench adamw --parameters 126000000', 'Bytes a second: gradient, parameters and moments read, all but the gradient and a bf16 copy written']],
  run: async ({ parameters, steps, device, threads, precision, json }) => {
    const run = (name: string) => persistent(name, 'f32', [parameters]), copy = precision === 'bf16' ? { copy: persistent('copy', 'bf16', [parameters]) } : {}
    const measured = await timed({ device, threads, precision, steps }, () => adamwOp({ gradient: run('gradient'), p: run('p'), m: run('m'), v: run('v'), ...copy }, persistent('clip', 'f32', [1]), persistent('schedule', 'f32', [3]), ADAMW),
      parameters * (precision === 'bf16' ? 30 : 28)), result = { parameters, ...measured }
    print(json, result, () => `${parameters.toLocaleString('en')} parameters, ${precision}: ${traffic(result)}`)
  },
})

const ADAMW = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01 }

export const bench = group('bench', 'Speed of this machine, side by side with what it could reach', [train, benchInference, matmul, attention, project, adamw, benchTokenizer, benchKmeans])
