export { evaluateCorpus, evaluateTokens, type EvaluateOptions, type TokenRows } from './evaluate.js'
export { evaluateProjected, type ProjectedEvaluation } from './experts.js'
