export * from './cluster.js'
export * from './device.js'
export { packageRoot } from './native.js'
export * from './tokenizer.js'
