export { checkGeneration, checkPrompts, generate, generateAll, type Continuation, type End, type GenerateOptions, type GenerateStatistics, type NewToken } from './generate.js'
export { MOST_SLOTS, type InferenceMemory, type InferenceOptions } from './plan.js'
export { InferenceSession, type DecodeRow } from './session.js'
export { measureForward, measureGeneration, type GenerationMeasurement, type MeasureInferenceOptions } from './measure.js'
