export { loadExperiment, onlyCells, type Experiment, type ExperimentOptions } from './resolve.js'
export { planExperiment, runExperiment, type ExperimentRun, type RunExperimentOptions } from './run.js'
export { ExperimentSchema, type ExperimentFile } from './schema.js'
