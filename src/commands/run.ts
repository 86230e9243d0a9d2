import { join } from 'node:path'
import { planRecipe, planText } from '../recipe/plan.js'
import { LocalSteps } from '../recipe/localSteps.js'
import { loadRecipe, runRecipe } from '../recipe/run.js'
import { define, interruption, jsonOption, print, progress } from './frame.js'
import { checkJobs, jobsOption } from './jobs.js'

export const run = define({
  command: 'run <recipe>',
  describe: 'From text to specialized models, as a recipe says; what was made before is not made again',
  positionals: { recipe: { describe: 'YAML file; see docs/recipe.md' } },
  options: {
    'dry-run': { type: 'boolean', default: false, describe: 'Print the stages, parameters, memory, FLOPs and time; make nothing' },
    ...jobsOption,
    output: { type: 'string', describe: 'Output folder instead of the recipe\'s' },
    set: { type: 'string', array: true, nargs: 1, default: [] as string[], describe: 'KEY=VALUE: change a setting of the recipe, such as pretrain.steps=100; can be given again' },
    ...jsonOption,
  },
  examples: [
    ['run recipe.yaml', 'Make everything that is missing, and the report'],
    ['run recipe.yaml --dry-run', 'What would be done, and how long it would take'],
    ['run recipes/yardstick.yaml --set data.root=/data/text', 'The same recipe on text that lies elsewhere'],
  ],
  run: async ({ recipe: file, 'dry-run': dryRun, output, set, jobs, json }) => {
    checkJobs(jobs)
    const recipe = await loadRecipe(String(file), { overrides: set, ...(output === undefined ? {} : { output }) })
    using steps = new LocalSteps(recipe.device, jobs)
    void steps.device
    if (dryRun) {
      const plan = await planRecipe(recipe, steps)
      print(json, plan, () => planText(recipe, plan))
      return
    }
    const { outcomes, report } = await runRecipe(recipe, steps, { signal: interruption.signal, log: progress, jobs })
    const html = join(recipe.output, 'report', 'report.html')
    print(json, { output: recipe.output, stages: outcomes, report: html, results: report.results }, () => `${report.table}\n\nReport: ${html}\nModels: ${join(recipe.output, 'finetune-METHOD-DOMAIN', 'model')}`)
  },
})
