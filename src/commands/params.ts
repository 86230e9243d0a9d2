import { countMethod, countModel, METHOD_WORDS, planMethod, RECOMPUTE, type Recompute } from '../model/index.js'
import { define, jsonOption, print } from './frame.js'
import { methodOptions, methodSizes } from './methodOptions.js'
import { modelOptions } from './modelOptions.js'

export const params = define({
  command: 'params',
  describe: 'Count a model\'s parameters, FLOPs and memory, by method',
  options: {
    ...modelOptions,
    ...methodOptions,
    batch: { type: 'number', minimum: 1, default: 8, describe: 'Rows computed at once, for the memory of training' },
    precision: { type: 'string', choices: ['f32', 'bf16'] as const, default: 'bf16' as 'f32' | 'bf16', describe: 'Precision, for the memory of training' },
    recompute: { type: 'string', choices: RECOMPUTE, default: 'none' as Recompute, describe: 'Activations made again instead of kept, for the memory of training' },
    ...jsonOption,
  },
  examples: [
    ['params --model slm --vocab 32000', 'The small model of the paper'],
    ['params --method slm-pn --model slm --experts 32 --vocab 32000', 'Its projected network: what is pretrained, what is served'],
  ],
  run: args => {
    const { name, ...sizes } = methodSizes(args, args.batch), { model: config, projected, experts, teacher, lora } = sizes
    const counts = countMethod(sizes), served = countModel(config), memory = planMethod({ ...sizes, precision: args.precision, rows: args.batch, recompute: args.recompute })
    const result = {
      method: sizes.method, model: name, ...counts, ...served, trainingMemoryBytes: memory.pretraining ?? memory.finetuning, finetuningMemoryBytes: memory.finetuning,
      ...experts === undefined ? {} : { experts }, ...projected && { projected }, ...sizes.method === 'llm-lora' ? { lora } : {}, config, ...teacher && { teacher },
    }
    const full = (count: number | null): string => count === null ? 'none' : count.toLocaleString('en'), flops = (count: number | null): string => count === null ? 'none' : count.toExponential(3)
    const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
    print(args.json, result, () => [
      `${sizes.method}: ${METHOD_WORDS[sizes.method]}`,
      `${name}, vocabulary ${config.vocabulary}: ${config.layers} layers, width ${config.width}, ${config.heads} heads, MLP ${config.mlp}, context ${config.context}`,
      ...experts === undefined ? [] : [`experts             ${experts}`],
      `parameters          ${full(counts.pretrainingParameters)} pretrained, ${full(counts.finetunedParameters)} fine-tuned, ${full(counts.servedParameters)} served`,
      `  in products       ${full(served.matrixParameters)} of those served`,
      `FLOPs a token       ${flops(counts.pretrainingFlopsPerToken)} pretraining, ${flops(counts.finetuningFlopsPerToken)} fine-tuning, ${flops(counts.servedFlopsPerToken)} serving`,
      `memory of training  ${memory.pretraining === null ? 'none' : mebibytes(memory.pretraining)} pretraining, ${mebibytes(memory.finetuning)} fine-tuning; ${args.batch} rows of ${config.context} at once in ${args.precision}${args.recompute === 'none' ? '' : `, recompute ${args.recompute}`}; what the program itself holds comes on top`,
    ].join('\n'))
  },
})
