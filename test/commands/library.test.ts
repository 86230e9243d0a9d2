import assert from 'node:assert/strict'
import test from 'node:test'
import * as nichelm from '../../src/index.js'

test('the entry point covers what the commands do', () => {
  const { Device, Tokenizer, buildCorpus, openCorpus, fitClustering, assignCorpus, importanceWeights, pretrain, finetune, evaluateCorpus, evaluateTokens, countModel, loadRecipe, runRecipe, planRecipe, LocalSteps, measureStep, NichelmError, EXIT_CODES, writeReport, openHuggingFace, writeHuggingFace } = nichelm
  for (const item of [Device, Tokenizer, buildCorpus, openCorpus, fitClustering, assignCorpus, importanceWeights, pretrain, finetune, evaluateCorpus, evaluateTokens, countModel, loadRecipe, runRecipe, planRecipe, LocalSteps, measureStep, NichelmError, writeReport, openHuggingFace, writeHuggingFace]) assert.equal(typeof item, 'function')
  assert.equal(EXIT_CODES.INTERRUPTED, 130)
})

test('a model that has no such name is told by the names that there are', () => {
  for (const name of ['nanoo', 'toString']) assert.throws(() => nichelm.modelConfig(name as nichelm.Preset, 300), { code: 'CONFIG', message: `there is no model named ${name}`, fix: /nano, mini/ })
})
