export * from './importance.js'
export * from './sampler.js'
export * from './experts.js'
