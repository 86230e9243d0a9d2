import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { packageRoot } from '../../bindings/index.js'
import { ExperimentSchema } from '../../src/experiment/schema.js'
import { parseRecipe, parseSettings, readRecipe } from '../../src/recipe/read.js'
import { RecipeSchema } from '../../src/recipe/schema.js'
import { settingFacts, type SettingFacts } from '../../src/recipe/schemaFacts.js'

const page = readFileSync(join(packageRoot, 'docs', 'recipe.md'), 'utf8')

function row({ path, description, default: fallback }: SettingFacts): string {
  const shown = fallback === undefined ? '' : ` \`${typeof fallback === 'string' ? fallback : JSON.stringify(fallback)}\``
  return `| \`${path}\` |${shown} | ${description} |`
}

const tableOf = (text: string): string[] => text.slice(text.indexOf('## Settings')).split('\n').filter(line => line.startsWith('| `'))

test('docs/recipe.md lists every setting as the schema has it', () => {
  assert.deepEqual(tableOf(page), settingFacts(RecipeSchema).map(row))
  assert(settingFacts(RecipeSchema).every(facts => facts.description !== ''))
})

test('docs/experiment.md lists the settings that recipes do not have', () => {
  const own = settingFacts(ExperimentSchema).filter(({ path }) => /^(name|description|seed|matrix)\b/.test(path))
  assert.deepEqual(tableOf(readFileSync(join(packageRoot, 'docs', 'experiment.md'), 'utf8')), own.map(row))
  const missing = settingFacts(RecipeSchema).map(({ path }) => path).filter(path => !settingFacts(ExperimentSchema).some(facts => facts.path === path))
  assert.deepEqual(missing, ['pretrain.tokens', 'pretrain.steps', 'methods', 'domains', 'report.title'])
})

test('the recipes in the documentation and in the repository can be read', () => {
  for (const file of ['docs/recipe.md', 'README.md']) {
    const text = readFileSync(join(packageRoot, file), 'utf8')
    const examples = [...text.matchAll(/```yaml\n([^]*?)```/g)].map(match => match[1]!)
    assert(examples.length > 0, file)
    for (const example of examples) parseRecipe(example, file)
  }
  readRecipe(join(packageRoot, 'data', 'quickstart', 'recipe.yaml'))
  for (const name of readdirSync(join(packageRoot, 'recipes'))) readRecipe(join(packageRoot, 'recipes', name))
  const experiment = (text: string, file: string) => parseSettings(ExperimentSchema, text, file)
  for (const match of readFileSync(join(packageRoot, 'docs', 'experiment.md'), 'utf8').matchAll(/```yaml\n([^]*?)```/g)) experiment(match[1]!, 'docs/experiment.md')
  for (const name of readdirSync(join(packageRoot, 'experiments'))) experiment(readFileSync(join(packageRoot, 'experiments', name), 'utf8'), name)
})
