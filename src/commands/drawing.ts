import { NichelmError } from '../base/errors.js'
import { readJson } from '../base/files.js'
import { openAssignments } from '../cluster/index.js'
import type { Corpus } from '../corpus/index.js'
import { openSelection } from '../sampling/index.js'
import { projectedConfig, type ModelConfig } from '../model/index.js'
import { readExperts } from '../recipe/experts.js'
import { groupsFor } from '../recipe/localSteps.js'
import type { Drawing } from '../train/index.js'
import type { OptionTable } from './frame.js'

/** Which windows a model is pretrained on, by its method. */
export const drawingOptions = {
  method: { type: 'string', choices: ['slm', 'slm-is', 'slm-mix', 'slm-pn'] as const, describe: 'Method; default: slm, with --weights or --selection slm-is. The large model is one of --model' },
  assignments: { type: 'string', describe: 'slm-is, slm-mix, slm-pn: the generic corpus\'s clusters, as `nichelm cluster assign` wrote them' },
  weights: { type: 'string', implies: 'assignments', describe: 'slm-is: the file that `nichelm weights` wrote' },
  selection: { type: 'string', describe: 'slm-is: the folder that `nichelm select` wrote; without --weights, all rows are drawn from it' },
  ngrams: { type: 'number', fraction: true, implies: ['selection', 'weights'], describe: 'slm-is: with --weights, the share of the rows that are drawn from --selection; default 0.5' },
  experts: { type: 'string', describe: 'slm-mix: the experts to train, such as 3,5-7, each in a folder of its own; default: all' },
  'validation-assignments': { type: 'string', describe: 'slm-pn: clusters of --validation' },
  groups: { type: 'number', minimum: 1, describe: 'slm-pn: clusters in a step; default: 8, or what divides its rows' },
  'projected-layers': { type: 'string', describe: 'slm-pn: layers whose MLPs are projected, such as 1-5, counted from 0; default: all' },
  multiplier: { type: 'number', minimum: 1, describe: 'slm-pn: basis matrices of each projected matrix; default: as many as experts' },
  'expert-size': { type: 'number', minimum: 1, describe: 'slm-pn: length of an expert\'s vector; default: as many as experts' },
} as const satisfies OptionTable

export interface DrawingArguments {
  method?: 'slm' | 'slm-is' | 'slm-mix' | 'slm-pn' | undefined
  assignments?: string | undefined
  weights?: string | undefined
  selection?: string | undefined
  ngrams?: number | undefined
  experts?: string | undefined
  'validation-assignments'?: string | undefined
  groups?: number | undefined
  'projected-layers'?: string | undefined
  multiplier?: number | undefined
  'expert-size'?: number | undefined
}

const OWN: Partial<Record<keyof DrawingArguments, 'slm-is' | 'slm-mix' | 'slm-pn'>> = {
  weights: 'slm-is', selection: 'slm-is', ngrams: 'slm-is', experts: 'slm-mix', 'validation-assignments': 'slm-pn', groups: 'slm-pn', 'projected-layers': 'slm-pn', multiplier: 'slm-pn', 'expert-size': 'slm-pn',
}

/** The trainings that the options ask for: one, or for slm-mix one an expert. Throws USAGE for options that do not go together, INPUT for files that do not. */
export function drawingsOf(args: DrawingArguments, { corpus, validation, config, rows }: { corpus: Corpus; validation: Corpus | undefined; config: ModelConfig; rows: number }): { name: string | null; drawing: Drawing }[] {
  const method = args.method ?? (args.weights === undefined && args.selection === undefined ? 'slm' : 'slm-is')
  for (const [option, owner] of Object.entries(OWN) as [keyof DrawingArguments, string][])
    if (args[option] !== undefined && owner !== method) throw new NichelmError('USAGE', `--${option}: belongs to ${owner}, not to ${method}`, { fix: `Give --method ${owner}, or leave --${option} out.` })
  if (method === 'slm') {
    if (args.assignments !== undefined) throw new NichelmError('USAGE', '--assignments: slm draws all windows alike', { fix: 'Give --weights or --selection for slm-is, or --method slm-mix or slm-pn.' })
    return [{ name: null, drawing: { kind: 'uniform' } }]
  }
  if (method === 'slm-is' && args.selection !== undefined && args.weights === undefined) return [{ name: null, drawing: { kind: 'selected', windows: openSelection(args.selection, corpus) } }]
  if (args.assignments === undefined) throw new NichelmError('USAGE', `--assignments: ${method} needs the clusters of the corpus`)
  const { labels: assignments, clusters } = openAssignments(args.assignments, corpus)
  if (method === 'slm-is') {
    if (args.weights === undefined) throw new NichelmError('USAGE', '--weights: slm-is needs the distribution to draw from', { fix: 'Make it by `nichelm weights`, or give --selection.' })
    const share = args.ngrams ?? 0.5, target = targetOf(args.weights, clusters)
    if (!(share > 0 && share < 1)) throw new NichelmError('USAGE', `--ngrams ${share}: must lie between 0 and 1`, { fix: 'Leave out --selection for 0, or --weights for 1.' })
    return [{ name: null, drawing: { kind: 'importance', assignments, target, ...(args.selection === undefined ? {} : { selected: { windows: openSelection(args.selection, corpus), share } }) } }]
  }
  if (method === 'slm-mix') {
    return listed(args.experts, 'experts', clusters, 'expert').map(cluster => ({ name: `expert-${cluster}`, drawing: { kind: 'cluster', assignments, cluster } }))
  }
  if (validation && args['validation-assignments'] === undefined) throw new NichelmError('USAGE', '--validation-assignments: slm-pn scores each window by the expert of its cluster', { fix: 'Give the clusters of --validation, or leave that out.' })
  const projected = projectedConfig(config, { experts: clusters, multiplier: args.multiplier, expertSize: args['expert-size'], ...(args['projected-layers'] === undefined ? {} : { layers: listed(args['projected-layers'], 'projected-layers', config.layers, 'layer') }) })
  return [{
    name: null,
    drawing: { kind: 'experts', assignments, projected, groups: args.groups ?? groupsFor(rows), ...(validation ? { validation: openAssignments(args['validation-assignments']!, validation).labels } : {}) },
  }]
}

function targetOf(weights: string, clusters: number): number[] {
  const { target } = readJson(weights) as { target?: number[] }
  if (!Array.isArray(target) || target.length !== clusters) {
    throw new NichelmError('INPUT', `has no target distribution over ${clusters} clusters`, { place: { file: weights, field: 'target' }, fix: 'Use the file that `nichelm weights` wrote for these assignments.' })
  }
  return target
}

function listed(text: string | undefined, option: string, count: number, what: string): number[] {
  if (text === undefined) return Array.from({ length: count }, (_, index) => index)
  const list = readExperts(text)
  if (!Array.isArray(list)) throw new NichelmError('USAGE', `--${option} ${text}: is not a list such as 3,5-7`)
  const outside = (list as number[]).find(index => index >= count)
  if (outside !== undefined) throw new NichelmError('USAGE', `--${option} ${text}: there is no ${what} ${outside}: they are 0 to ${count - 1}`)
  return list as number[]
}
