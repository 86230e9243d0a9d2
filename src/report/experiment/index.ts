export { parseResults, readResults, RESULTS_FILE, type Cell, type CellCosts, type CellQuality, type ClusteringFacts, type ExperimentResults, type ExpertChoice } from './results.js'
export { writeExperimentReport, type ExperimentReportFiles } from './write.js'
