import { NichelmError } from '../base/errors.js'
import { writeJson } from '../base/files.js'
import { openAssignments } from '../cluster/index.js'
import { importanceWeights } from '../sampling/index.js'
import { define, jsonOption, print } from './frame.js'

export const weights = define({
  command: 'weights',
  describe: 'Importance weights of the generic clusters for a domain, and how far they can be trusted',
  options: {
    generic: { type: 'string', demandOption: true, describe: 'Assignments of the generic corpus (`cluster assign`)' },
    specialization: { type: 'string', demandOption: true, describe: 'Assignments of the specialization set, by the same clusters' },
    draws: { type: 'number', default: 0, describe: 'Windows that training will draw, to tell how often one is repeated' },
    smoothing: { type: 'number', fraction: true, default: 0, describe: 'Windows of the generic histogram that are added, in thought, to the specialization set' },
    into: { type: 'string', describe: 'The file to write, for `train --weights`' },
    ...jsonOption,
  },
  examples: [['weights --generic generic-clusters --specialization law-clusters --draws 12000 --into weights.json', 'Weights for `nichelm train --weights`']],
  run: ({ generic, specialization, draws, smoothing, into, json }) => {
    const all = openAssignments(generic), own = openAssignments(specialization)
    if (all.clustering !== own.clustering) throw new NichelmError('INPUT', `was assigned by other clusters than ${generic}`, { place: { file: specialization }, fix: 'Assign both with the same clusters.' })
    const report = importanceWeights(all.histogram.counts, own.histogram.counts, { draws, smoothing })
    if (into !== undefined) writeJson(into, report)
    print(json, report, () => [
      `entropy ${report.specializationEntropy.toFixed(3)} nats (generic ${report.genericEntropy.toFixed(3)}), divergence ${report.divergence.toFixed(3)} nats`,
      `most frequent cluster ${report.topCluster} with ${(100 * report.topFraction).toFixed(1)}%`,
      `effective sample size ${Math.round(report.effectiveSampleSize).toLocaleString('en')} of ${all.histogram.windows.toLocaleString('en')} windows`,
      ...(draws ? [`a window of cluster ${report.mostRepeatedCluster} will be drawn ${report.mostRepeated.toFixed(1)} times`] : []),
      ...report.warnings.map(warning => `warning: ${warning}`),
      ...(into === undefined ? [] : [`written to ${into}`]),
    ].join('\n'))
  },
})
