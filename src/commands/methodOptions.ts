import { NichelmError } from '../base/errors.js'
import { LORA, METHOD_NAMES, PROJECTED_PRESETS, projectedConfig, usualLayers, type MethodName, type MethodSizes } from '../model/index.js'
import type { OptionTable } from './frame.js'
import { configOf, modelOptions } from './modelOptions.js'

/** A method and its sizes. What is absent is as in arXiv 2402.01093. */
export const methodOptions = {
  method: { type: 'string', choices: METHOD_NAMES, default: 'slm' as MethodName, describe: 'Method; pn-16, pn-32 and pn-64 as --model are slm-pn over slm' },
  experts: { type: 'number', minimum: 1, describe: 'Experts of slm-pn (default 32) and slm-mix (default 16)' },
  multiplier: { type: 'number', minimum: 1, describe: 'slm-pn: basis matrices for each projected matrix; default: as many as experts' },
  'expert-size': { type: 'number', minimum: 1, describe: 'slm-pn: length of an expert\'s vector; default: as many as experts' },
  'projected-layers': { type: 'number', minimum: 1, describe: 'slm-pn: so many layers in the middle have projected MLPs; default: five in seven' },
  'lora-rank': { type: 'number', minimum: 1, describe: `llm-lora: rank of the updates; default ${LORA.rank}` },
  large: { type: 'string', describe: `llm, llm-lora and the teacher of slm-d: ${modelOptions.model.describe.charAt(0).toLowerCase()}${modelOptions.model.describe.slice(1)}; default: llm where --model is slm, else --model` },
} as const satisfies OptionTable

export interface MethodArguments {
  method: MethodName
  experts?: number | undefined
  multiplier?: number | undefined
  'expert-size'?: number | undefined
  'projected-layers'?: number | undefined
  'lora-rank'?: number | undefined
  large?: string | undefined
}

const OWN: Partial<Record<keyof MethodArguments, readonly MethodName[]>> = {
  'experts': ['slm-pn', 'slm-mix'], 'multiplier': ['slm-pn'], 'expert-size': ['slm-pn'], 'projected-layers': ['slm-pn'], 'lora-rank': ['llm-lora'], 'large': ['llm', 'llm-lora', 'slm-d'],
}

export interface NamedSizes extends MethodSizes { name: string }

/** The sizes that the options give. `rows`: computed at once, each a group of its own for slm-pn. Throws USAGE for an option of another method. */
export function methodSizes(given: MethodArguments & Parameters<typeof configOf>[0], rows: number): NamedSizes {
  const args = fromPreset(given), { method } = args
  for (const [option, methods] of Object.entries(OWN) as [keyof MethodArguments, readonly MethodName[]][])
    if (args[option] !== undefined && !methods.includes(method)) throw new NichelmError('USAGE', `--${option}: belongs to ${methods.join(', ')}, not to ${method}`, { fix: `Give --method ${methods[0]}, or leave --${option} out.` })
  const small = configOf(args)
  if (method === 'llm' || method === 'llm-lora' || method === 'slm-d') {
    const name = args.large ?? (args.model === 'slm' ? 'llm' : undefined)
    const large = name === undefined ? undefined : configOf({ model: name, vocab: small.vocabulary })
    if (method === 'slm-d') {
      if (!large) throw new NichelmError('USAGE', '--large: slm-d needs a teacher', { fix: 'Name the teacher, for example --large llm.' })
      return { name: args.model, method, model: small, teacher: large }
    }
    return { name: name ?? args.model, method, model: large ?? small, lora: { ...LORA, rank: args['lora-rank'] ?? LORA.rank } }
  }
  if (method === 'slm-mix') return { name: args.model, method, model: small, experts: args.experts ?? 16 }
  if (method === 'slm-pn') {
    const experts = args.experts ?? 32, layers = args['projected-layers'], first = layers === undefined ? 0 : Math.floor((small.layers - layers) / 2)
    if (first < 0) throw new NichelmError('USAGE', `--projected-layers: ${layers} projected layers: the model has ${small.layers}`)
    return {
      name: given.model, method, model: small, experts, rowsPerGroup: Math.max(1, Math.floor(rows / experts)),
      projected: projectedConfig(small, {
        experts, multiplier: args.multiplier, expertSize: args['expert-size'], layers: layers === undefined ? usualLayers(small.layers) : Array.from({ length: layers }, (_, index) => first + index),
      }),
    }
  }
  return { name: args.model, method, model: small }
}

/** pn-16, pn-32 and pn-64 stand for slm-pn over slm with so many experts. */
function fromPreset<Arguments extends MethodArguments & { model: string }>(args: Arguments): Arguments {
  if (!Object.hasOwn(PROJECTED_PRESETS, args.model)) return args
  if (args.method !== 'slm' && args.method !== 'slm-pn') throw new NichelmError('USAGE', `--model ${args.model}: is a projected network, not ${args.method}`, { fix: 'Leave --method out, or name another model.' })
  return { ...args, model: 'slm', method: 'slm-pn', experts: args.experts ?? PROJECTED_PRESETS[args.model as keyof typeof PROJECTED_PRESETS].experts }
}
