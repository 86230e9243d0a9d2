import Table from 'cli-table3'
import { compact, duration, percent } from '../report/format.js'
import { tokens } from '../report/experiment/words.js'
import { FAR, type Advice } from './advise.js'
import type { MethodPlan } from './methods.js'

/** Costs as a reader wants them: in hours where the speed is known, else in FLOPs. */
export const costText = (flops: number, flopsPerSecond: number | null): string => flopsPerSecond === null ? compact(flops) : duration(flops / flopsPerSecond / 3600)

/** Advice as lines for a terminal. */
export function adviceText({ methods, method, reason, split, clusters, byDomains, warnings, sources }: Advice, flopsPerSecond: number | null): string {
  const table = new Table({
    head: ['method', 'pretraining\ntokens', 'tokens a\nparameter', `generic\n${flopsPerSecond === null ? 'FLOPs' : 'time'}`, 'each\ndomain', 'in all', 'perplexity\nbeside slm', 'by'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'left'], style: { head: [], border: [], compact: true },
  })
  const cost = (flops: number): string => costText(flops, flopsPerSecond)
  for (const plan of methods) table.push([
    plan.method === method ? `${plan.method} *` : plan.servable ? plan.method : `${plan.method}, not servable`, plan.pretrainingTokens === null ? 'none' : tokens(Math.round(plan.pretrainingTokens)), plan.tokensPerParameter === null ? '–' : plan.tokensPerParameter.toPrecision(3),
    cost(plan.generic), cost(plan.specialization), cost(plan.total), plan.affordable ? relativeText(plan) : 'too dear', plan.source ?? '–',
  ])
  const end = byDomains.at(-1)?.to, ranges = byDomains.map(({ from, to, method: name }) => `${from === to ? from : to === null ? `${from} and more` : `${from} to ${to}`}: ${name}`)
  return [
    table.toString(), '',
    method ? `Use ${method}. ${reason}` : reason,
    ...methods.some(({ servable }) => !servable) ? ['llm is larger than what you can serve: it stands in the table for comparison, with its cost, and is never the choice.'] : [],
    ...split ? [`Split: ${percent(split.generic)} of the cost is generic, paid once; ${percent(split.specialization)} is for the domains.`] : [],
    ...clusters ? [`Clusters: ${clusters.clusters}; ${clusters.why}.`] : [],
    ...ranges.length > 1 || end !== null && end !== undefined ? [`By number of domains, all else equal: ${ranges.join('; ')}${end === null || end === undefined ? '' : `; more than ${end} cannot be paid`}.`] : [],
    ...warnings.map(({ message }) => `Warning: ${message}`),
    ...sources.length ? [`Expectations from ${sources.join('; and for what that lacks from ')}.`] : [],
  ].join('\n')
}

/** ≤: a bound; ~: far from what was measured. */
function relativeText({ relative, bound, outside }: MethodPlan): string {
  if (relative === null) return 'not known'
  const off = 100 * (relative - 1)
  const mark = `${outside > FAR ? '~ ' : ''}${bound ? '≤ ' : ''}`
  return relative === 1 ? '–' : relative > 3 ? `${mark}${relative.toFixed(1)} times` : `${mark}${off > 0 ? '+' : '−'}${Math.abs(off).toFixed(1)}%`
}
