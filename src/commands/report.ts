import { readResults, writeExperimentReport } from '../report/experiment/index.js'
import { define, jsonOption, print } from './frame.js'

export const report = define({
  command: 'report <results>',
  describe: 'The report of an experiment, finished or not, from its results.json',
  positionals: { results: { describe: 'results.json, or the folder that has it' } },
  options: { into: { type: 'string', demandOption: true, describe: 'The folder to write: report.html, and its numbers as CSV and JSON' }, ...jsonOption },
  examples: [['report runs/mini-paper --into runs/mini-paper/report', 'What has been found so far']],
  run: async ({ results, into, json }) => {
    const files = await writeExperimentReport(into, readResults(String(results)))
    print(json, files, () => `Report: ${files.html}`)
  },
})
