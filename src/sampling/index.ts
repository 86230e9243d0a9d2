export * from './importance.js'
export * from './sampler.js'
