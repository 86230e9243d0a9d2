import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { packageRoot } from '../../bindings/index.js'
import { parseRecipe, readRecipe } from '../../src/recipe/read.js'
import { settingFacts, type SettingFacts } from '../../src/recipe/schema.js'

const page = readFileSync(join(packageRoot, 'docs', 'recipe.md'), 'utf8')

function row({ path, description, default: fallback }: SettingFacts): string {
  const shown = fallback === undefined ? '' : ` \`${typeof fallback === 'string' ? fallback : JSON.stringify(fallback)}\``
  return `| \`${path}\` |${shown} | ${description} |`
}

test('docs/recipe.md lists every setting as the schema has it', () => {
  const table = page.slice(page.indexOf('## Settings')).split('\n').filter(line => line.startsWith('| `'))
  assert.deepEqual(table, settingFacts().map(row))
  assert(settingFacts().every(facts => facts.description !== ''))
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
})
