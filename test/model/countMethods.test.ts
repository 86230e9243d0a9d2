import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countMethod, countModel, LORA, loraParameters, METHOD_NAMES, modelConfig, parameterSpecs, planMethod, projectedConfig, projectedParameters, type MethodSizes } from '../../src/model/index.js'

const slm = modelConfig('slm', 32000), llm = modelConfig('llm', 32000)

/** Millions, pretraining and served: arXiv 2402.01093, table of parameters. */
const PAPER: [string, MethodSizes, number | null, number][] = [
  ['slm', { method: 'slm', model: slm }, 126, 126],
  ['slm-is', { method: 'slm-is', model: slm }, 126, 126],
  ['slm-d', { method: 'slm-d', model: slm, teacher: llm }, 126, 126],
  ['slm-nopt', { method: 'slm-nopt', model: slm }, null, 126],
  ['llm', { method: 'llm', model: llm }, 771, 771],
  ['llm-lora', { method: 'llm-lora', model: llm }, 771, 771],
  ...([[4, 504], [16, 2016], [64, 8064], [256, 32256]] as const).map(([experts, total]): [string, MethodSizes, number, number] => [`slm-mix ${experts}`, { method: 'slm-mix', model: slm, experts }, total, 126]),
  ...([[16, 756], [32, 1422], [64, 2770]] as const).map(([experts, total]): [string, MethodSizes, number, number] => [`slm-pn ${experts}`, { method: 'slm-pn', model: slm, projected: projectedConfig(slm, { experts }) }, total, 126]),
]
for (const [name, sizes, pretraining, served] of PAPER) {
  test(`${name}: parameters within 4% of the paper's`, () => {
    const counts = countMethod(sizes), near = (count: number, millions: number) => assert(Math.abs(count / (1e6 * millions) - 1) < 0.04, `${count} is not ${millions}M`)
    near(counts.servedParameters, served)
    if (pretraining === null) assert.equal(counts.pretrainingParameters, null)
    else near(counts.pretrainingParameters!, pretraining)
  })
}

test('every method of the paper is counted above', () => assert.deepEqual([...new Set(PAPER.map(([, { method }]) => method))].sort(), [...METHOD_NAMES].sort()))

test('rank 64 on the large model trains 5 million parameters, and takes fewer FLOPs and less memory than all of it', () => {
  assert(Math.abs(loraParameters(llm, LORA) / 5e6 - 1) < 0.04)
  const all = countMethod({ method: 'llm', model: llm }), lora = countMethod({ method: 'llm-lora', model: llm })
  assert.equal(lora.finetunedParameters, 7 * 64 * 4 * llm.width)
  assert(lora.finetuningFlopsPerToken < 0.7 * all.finetuningFlopsPerToken)
  const options = { model: llm, precision: 'bf16', rows: 1, length: 128 } as const
  assert(planMethod({ method: 'llm-lora', ...options }).finetuning < 0.5 * planMethod({ method: 'llm', ...options }).finetuning)
  assert.throws(() => loraParameters(llm, { rank: 4, alpha: 4, matrices: [] }), /no matrix/)
})

test('a projected network is counted matrix by matrix', () => {
  // One layer by hand: both MLP matrices have h basis matrices and an m x h mix each, and the k vectors are shared by all matrices.
  const model = modelConfig('nano', 100, { layers: 3, width: 8, heads: 2, mlp: 20 }), [experts, multiplier, expertSize] = [5, 3, 2]
  const rest = parameterSpecs(model).filter(({ name }) => !/^h\.[12]\.mlp\..*weight/.test(name)).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b), 0)
  const projected = projectedConfig(model, { layers: [1, 2], experts, multiplier, expertSize })
  assert.equal(projectedParameters(model, projected), rest + 2 * 2 * (multiplier * 8 * 20 + expertSize * multiplier) + experts * expertSize)
  // The hard mixture is the case of as many basis matrices as experts.
  const flops = countMethod({ method: 'slm-pn', model, projected, rowsPerGroup: 4, length: 16 }), { trainingFlopsPerToken } = countModel(model, 16)
  assert.equal(flops.pretrainingFlopsPerToken, trainingFlopsPerToken + 6 * multiplier * 2 * 2 * 8 * 20 / (4 * 16))
  assert.equal(flops.finetuningFlopsPerToken, trainingFlopsPerToken)
  assert.throws(() => countMethod({ method: 'slm-pn', model, projected: { ...projected, layers: [0, 3] } }), /no layer 3/)
})

test('the memory of a projected network grows by its basis and two moments only', () => {
  const memory = (experts: number) => planMethod({ method: 'slm-pn', model: slm, precision: 'bf16', rows: 1, length: 128, projected: projectedConfig(slm, { experts }) }).pretraining!
  const basis = 16 * 5 * 2 * 1024 * 4096
  assert(Math.abs((memory(32) - memory(16)) / (12 * basis) - 1) < 1e-3)
})

test('a teacher costs its forward pass and its memory', () => {
  const alone = { method: 'slm', model: slm, precision: 'bf16', rows: 1, length: 128 } as const, taught = { ...alone, method: 'slm-d', teacher: llm } as const
  assert.equal(countMethod(taught).finetuningFlopsPerToken - countMethod(alone).finetuningFlopsPerToken, countModel(llm, 128).inferenceFlopsPerToken)
  assert(planMethod(taught).finetuning - planMethod(alone).finetuning > 4 * countModel(llm).parameters)
})
