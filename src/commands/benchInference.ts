import { measureForward, measureGeneration, type GenerationMeasurement } from '../generate/index.js'
import { measureStep } from '../train/index.js'
import { define, deviceOptions, interruption, jsonOption, openDevice, print } from './frame.js'
import { configOf, modelOptions } from './modelOptions.js'

export const benchInference = define({
  command: 'inference',
  describe: 'Speed of a trained model: scoring text beside training on it, reading prompts, generating tokens',
  options: {
    ...modelOptions, vocab: { ...modelOptions.vocab, default: 4096, describe: 'Vocabulary of a named model' },
    batch: { type: 'number', minimum: 1, default: 32, describe: 'Rows a step of training and of scoring' },
    context: { type: 'number', minimum: 2, describe: 'Tokens of a row; default: the model\'s context' },
    prompt: { type: 'number', minimum: 1, describe: 'Tokens of a prompt; default: half of the context' },
    steps: { type: 'number', minimum: 1, default: 5, describe: 'Steps of training and of scoring to time, twice in turn; the medians count' },
    tokens: { type: 'number', minimum: 1, default: 32, describe: 'Tokens of each text to time; the median counts' },
    ...deviceOptions, ...jsonOption,
  },
  examples: [['bench inference --model nano --precision bf16 --threads 2', 'Forward pass beside training step, prompts and tokens a second for 1 and 64 texts, share of the memory bandwidth']],
  run: async ({ batch, context, prompt, steps, tokens, device: name, threads, precision, json, ...model }) => {
    const config = configOf({ ...model, context }), length = Math.min(context ?? config.context, config.context), promptTokens = Math.min(prompt ?? Math.ceil(length / 2), Math.max(1, config.context - tokens))
    using device = openDevice({ device: name, threads })
    const { signal } = interruption, shape = { device, config, precision, rows: batch, length, steps, signal }
    const rounds: { training: number; forward: number }[] = []
    for (let round = 0; round < 2; round++) {
      const training = await measureStep(shape), forward = await measureForward(shape)
      rounds.push({ training: training.tokensPerStep / training.secondsPerStep, forward: forward.tokensPerStep / forward.secondsPerStep })
    }
    const mean = (of: 'training' | 'forward'): number => rounds.reduce((sum, round) => sum + round[of], 0) / rounds.length
    const generation: GenerationMeasurement[] = []
    for (const texts of [1, 64]) generation.push(await measureGeneration({ device, config, precision, batch: texts, promptTokens, steps: Math.min(tokens, config.context - promptTokens), signal }))
    const facts = device.describe()
    const result = {
      device: facts.kind, isa: facts.isa, threads: facts.threads, model: model.model, precision, batch, context: length,
      trainingTokensPerSecond: mean('training'), forwardTokensPerSecond: mean('forward'), forwardOverTraining: mean('forward') / mean('training'), generation,
    }
    print(json, result, () => [
      `${model.model}, ${precision}, ${batch} rows of ${length}: training ${round(result.trainingTokensPerSecond)} tokens/s, forward only ${round(result.forwardTokensPerSecond)} tokens/s, ${result.forwardOverTraining.toFixed(2)} times as many`,
      ...generation.map((one) => `${one.batch} text${one.batch === 1 ? '' : 's'} behind ${one.promptTokens} tokens: reading ${round(one.prefillTokensPerSecond)} tokens/s, generating ${round(one.decodeTokensPerSecond)} tokens/s, ` +
        `${(one.bytesPerSecond / 1e9).toFixed(1)} GB/s of weights, keys and values, ${(100 * one.bandwidthFraction).toFixed(0)}% of the ${(one.streamBytesPerSecond / 1e9).toFixed(1)} that reading alone reaches`),
    ].join('\n'))
  },
})

const round = (x: number): string => Math.round(x).toLocaleString('en')
