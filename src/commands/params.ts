import { countModel, planSession } from '../model/index.js'
import { define, jsonOption, print } from './frame.js'
import { configOf, modelOptions } from './modelOptions.js'

export const params = define({
  command: 'params',
  describe: 'Count a model\'s parameters, FLOPs and memory',
  options: {
    ...modelOptions,
    batch: { type: 'number', minimum: 1, default: 8, describe: 'Rows computed at once, for the memory of training' },
    precision: { type: 'string', choices: ['f32', 'bf16'] as const, default: 'bf16' as 'f32' | 'bf16', describe: 'Precision, for the memory of training' },
    ...jsonOption,
  },
  examples: [['params --model slm --vocab 32000', 'The small model of the paper']],
  run: args => {
    const config = configOf(args)
    const counts = countModel(config)
    const training = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clip: 1 }
    const { memory } = planSession({ config, precision: args.precision, rows: args.batch, training })
    print(args.json, { model: args.model, ...counts, trainingMemoryBytes: memory.total, config }, () => [
      `${args.model}, vocabulary ${config.vocabulary}: ${config.layers} layers, width ${config.width}, ${config.heads} heads, MLP ${config.mlp}, context ${config.context}`,
      `parameters          ${counts.parameters.toLocaleString('en')}`,
      `  in products       ${counts.matrixParameters.toLocaleString('en')}`,
      `FLOPs a token       ${counts.trainingFlopsPerToken.toExponential(3)} training, ${counts.inferenceFlopsPerToken.toExponential(3)} inference`,
      `memory of training  ${(memory.total / 2 ** 20).toFixed(0)} MiB, ${args.batch} rows of ${config.context} at once in ${args.precision}`,
    ].join('\n'))
  },
})
