import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { loadExperiment, planExperiment, runExperiment } from '../experiment/index.js'
import { LocalSteps, planText } from '../recipe/index.js'
import { writeExperimentReport } from '../report/experiment/index.js'
import { deviceName } from '../train/index.js'
import { define, interruption, jsonOption, print, progress } from './frame.js'
import { checkJobs, jobsOption } from './jobs.js'
import { version } from './version.js'

export const experiment = define({
  command: 'experiment <experiment>',
  describe: 'Methods x domains x data sizes x budgets, as a file says; what was found before is not found again',
  positionals: { experiment: { describe: 'YAML file; see docs/experiment.md' } },
  options: {
    'dry-run': { type: 'boolean', default: false, describe: 'Print the stages, FLOPs and time; make nothing' },
    ...jobsOption,
    only: { type: 'string', array: true, nargs: 1, default: [] as string[], describe: 'A method or a domain: only its cells; can be given again' },
    output: { type: 'string', describe: 'Output folder instead of the experiment\'s' },
    set: { type: 'string', array: true, nargs: 1, default: [] as string[], describe: 'KEY=VALUE: change a setting of the experiment, such as data.root=/data/text; can be given again' },
    ...jsonOption,
  },
  examples: [
    ['experiment experiments/mini-paper.yaml --set data.root=/data/text', 'The paper in small'],
    ['experiment experiments/mini-paper.yaml --dry-run', 'What would be done, and how long it would take'],
    ['experiment experiments/mini-paper.yaml --only slm-is --only law', 'The cells of a method on a domain'],
  ],
  run: async ({ experiment: file, 'dry-run': dryRun, jobs, only, output, set, json }) => {
    checkJobs(jobs)
    const loaded = await loadExperiment(String(file), { overrides: set, ...(output === undefined ? {} : { output }) }), { setup } = loaded
    using steps = new LocalSteps(setup.device, jobs, true)
    void steps.device
    if (dryRun) {
      const plan = await planExperiment(loaded, steps, only)
      print(json, plan, () => `${planText({ name: loaded.name, output: setup.output }, plan)}\ncells       ${plan.cells.length}`)
      return
    }
    const machine = { device: deviceName(steps.device.describe()), jobs, node: process.versions.node, system: `${process.platform} ${process.arch}`, version: version() }
    const { results, failed } = await runExperiment(loaded, steps, { signal: interruption.signal, log: progress, jobs, only, machine })
    // What failed does not keep the rest from being shown.
    const report = results.cells.length ? (await writeExperimentReport(join(setup.output, 'report'), results)).html : undefined
    if (failed[0]) throw new NichelmError(failed[0].error.code, `${failed.length} of ${results.cells.length + failed.length} cells failed, the first: ${failed[0].error.message}`, { cause: failed[0].error, ...(failed[0].error.fix ? { fix: failed[0].error.fix } : {}) })
    const at = join(setup.output, 'results.json')
    print(json, { results: at, report: report ?? null, cells: results.cells.map(({ id, before, after }) => ({ id, before: before?.perplexity ?? null, after: after?.perplexity ?? null })) }, () => `${results.cells.length} cells in ${at}, and as a table in results.csv beside it${report === undefined ? '' : `\nReport: ${report}`}`)
  },
})
