export { evaluateCorpus, evaluateTokens, type EvaluateOptions, type TokenRows } from './evaluate.js'
