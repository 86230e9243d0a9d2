import { NichelmError } from '../base/errors.js'
import { countModel, type ModelConfig } from '../model/index.js'
import { advise, adviceText, configOfSize, findEvidence, paceOf, type Pace } from '../plan/index.js'
import { compact, duration } from '../report/format.js'
import { define, deviceOptions, interruption, jsonOption, openDevice, print, progress } from './frame.js'
import { configOf, modelOptions } from './modelOptions.js'

/** Sizes are given as 1M, 8e6 or 8000000. */
const SUFFIXES: Record<string, number> = { '': 1, k: 1e3, M: 1e6, B: 1e9, G: 1e9, T: 1e12, P: 1e15, E: 1e18, Z: 1e21 }

export const plan = define({
  command: 'plan',
  describe: 'Which method to use for a budget, how to split it, and what to expect',
  options: {
    ...modelOptions,
    model: { type: 'string', describe: `The model that you can serve: ${modelOptions.model.describe.charAt(0).toLowerCase()}${modelOptions.model.describe.slice(1)}` },
    parameters: { type: 'string', describe: 'Instead of --model: about so many parameters, such as 126M' },
    context: { type: 'number', minimum: 2, default: 1024, describe: 'Tokens of a window, with --parameters' },
    domains: { type: 'number', minimum: 1, default: 1, describe: 'Number of domains, each with a model of its own' },
    'domain-tokens': { type: 'string', demandOption: true, describe: 'Tokens of text that there are of each domain, such as 1M' },
    'generic-tokens': { type: 'string', describe: 'Distinct generic tokens that there are, such as 10B; default: as many as are wanted' },
    'device-hours': { type: 'number', fraction: true, describe: 'Budget for everything: hours of this device, or of one of --flops-per-second' },
    flops: { type: 'string', describe: 'Budget for everything, in FLOPs, such as 1e20' },
    'flops-per-second': { type: 'string', describe: 'Training speed of the device, such as 100T; default: measured here' },
    large: { type: 'string', describe: 'The large model: teacher of slm-d, and llm for comparison; a named model or a folder; default: llm where --model is slm' },
    results: { type: 'string', array: true, nargs: 1, default: [] as string[], describe: 'results.json of an experiment, or its folder; can be given again; default: what lies under results/ and runs/, or the paper' },
    device: deviceOptions.device, threads: deviceOptions.threads, precision: deviceOptions.precision,
    ...jsonOption,
  },
  examples: [
    ['plan --model slm --domains 7 --domain-tokens 1M --device-hours 400 --flops-per-second 100T', 'Seven domains, 400 hours of an A100'],
    ['plan --parameters 5M --vocab 8192 --context 256 --domain-tokens 200k --device-hours 2 --results runs/mini-paper', 'One domain, two hours of this machine'],
  ],
  run: async args => {
    const config = servedModel(args), { parameters, trainingFlopsPerToken } = countModel(config)
    const hours = args['device-hours'], given = size('flops', args.flops), speed = size('flops-per-second', args['flops-per-second'])
    if ((hours === undefined) === (given === undefined)) throw new NichelmError('USAGE', 'the budget is --device-hours or --flops: give one of them', { fix: 'For example --device-hours 10.' })
    if (hours !== undefined && !(hours > 0)) throw new NichelmError('USAGE', `--device-hours ${hours}: must be more than 0`, { fix: 'See --help.' })
    const pace = speed !== undefined ? { flopsPerSecond: speed, basis: 'as given', device: 'the device' } : hours === undefined ? null : await measured(config, args)
    const flops = given ?? hours! * 3600 * pace!.flopsPerSecond
    const name = args.large ?? (args.model === 'slm' && args.parameters === undefined ? 'llm' : undefined), teacher = name === undefined ? undefined : largeOf(name, config.vocabulary)
    const domainTokens = size('domain-tokens', args['domain-tokens'])!, genericTokens = size('generic-tokens', args['generic-tokens'])
    const { evidence, fallback, skipped } = findEvidence(parameters, args.results)
    for (const what of skipped) progress(`left aside: ${what}`)
    const advice = advise({ model: config, domains: args.domains, domainTokens, flops, evidence, fallback, ...teacher ? { teacher } : {}, ...genericTokens === undefined ? {} : { genericTokens } })
    const inHours = (value: number): number | null => pace ? value / pace.flopsPerSecond / 3600 : null
    const methods = advice.methods.map(method => ({ ...method, genericHours: inHours(method.generic), specializationHours: inHours(method.specialization), totalHours: inHours(method.total) }))
    const served = { model: args.model ?? null, parameters, trainingFlopsPerToken, config }
    print(args.json, { served, domains: args.domains, domainTokens, genericTokens: genericTokens ?? null, flops, deviceHours: inHours(flops), pace, ...advice, methods }, () => [
      `${args.model ?? `${compact(parameters)} parameters`}: ${parameters.toLocaleString('en')} parameters served, ${config.layers} layers, width ${config.width}, vocabulary ${config.vocabulary}`,
      `${args.domains} ${args.domains === 1 ? 'domain' : 'domains'} of ${compact(domainTokens)} tokens; budget ${compact(flops)} FLOPs${pace ? `, ${duration(flops / pace.flopsPerSecond / 3600)} at ${compact(pace.flopsPerSecond)}FLOP/s (${pace.basis})` : ''}`, '',
      adviceText(advice, pace?.flopsPerSecond ?? null),
    ].join('\n'))
  },
})

function largeOf(name: string, vocabulary: number): ModelConfig {
  try { return configOf({ model: name, vocab: vocabulary }) } catch (error) {
    throw error instanceof NichelmError && error.code === 'USAGE' ? new NichelmError('USAGE', error.message.replace(/^--model/, '--large'), error.fix === undefined ? {} : { fix: error.fix }) : error
  }
}

interface ServedArguments { model?: string | undefined; parameters?: string | undefined; vocab?: number | undefined; context: number; layers?: number | undefined; width?: number | undefined; heads?: number | undefined }

function servedModel({ model, parameters, context, ...rest }: ServedArguments): ModelConfig {
  if ((model === undefined) === (parameters === undefined)) throw new NichelmError('USAGE', 'the model that you can serve is --model or --parameters: give one of them', { fix: 'For example --model slm.' })
  if (model !== undefined) return configOf({ model, ...rest })
  for (const name of ['layers', 'width', 'heads'] as const) if (rest[name] !== undefined) throw new NichelmError('USAGE', `--${name}: changes a named model; --parameters finds all sizes`, { fix: 'Give --model, or leave it out.' })
  return configOfSize(size('parameters', parameters)!, rest.vocab ?? 32000, context)
}

/** A count with an SI suffix. Throws USAGE. */
function size(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const found = /^([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)([kMBGTPEZ]?)$/i.exec(text), suffix = found && Object.keys(SUFFIXES).find(name => name === found[2] || name.toLowerCase() === found[2]!.toLowerCase())
  const value = found && suffix !== null && suffix !== undefined ? Number(found[1]) * SUFFIXES[suffix]! : NaN
  if (!(value > 0) || !Number.isFinite(value)) throw new NichelmError('USAGE', `--${option} ${text}: must be a positive number, such as 100k, 8M or 1e20`, { fix: 'See --help.' })
  return value
}

async function measured(config: ModelConfig, { device: name, threads, precision }: { device: string; threads: number; precision: 'f32' | 'bf16' }): Promise<Pace> {
  progress('measuring how fast this machine trains the model')
  using device = openDevice({ device: name, threads })
  return await paceOf(config, { device, precision, signal: interruption.signal })
}
