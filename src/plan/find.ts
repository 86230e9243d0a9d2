import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { globSync } from 'tinyglobby'
import { packageRoot } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { readResults, RESULTS_FILE } from '../report/experiment/index.js'
import { experimentEvidence, nearest, paperEvidence, type Evidence } from './evidence.js'

/** What a plan is made from, and what was looked at and left aside. */
export interface FoundEvidence { evidence: Evidence; fallback: Evidence; skipped: string[] }

/**
 * The results nearest in size to the served model: of `given` files or folders, or else of those that lie under results/ and runs/ here and of the paper, whichever is nearer.
 * Throws INPUT or CORRUPT for given ones that cannot be read, INPUT if none of them compares with slm; found ones of that kind are skipped.
 */
export function findEvidence(parameters: number, given: readonly string[], folder = process.cwd()): FoundEvidence {
  const paper = paperEvidence(), skipped: string[] = []
  if (given.length) {
    const all = given.flatMap(path => experimentEvidence(readResults(path), path) ?? [])
    if (!all.length) throw new NichelmError('INPUT', 'has no results of slm and of another method', { place: { file: given.join(', ') }, fix: 'Let the experiment run on, or leave --results out to plan by the paper.' })
    return { evidence: nearest(all, parameters), fallback: paper, skipped }
  }
  const found = [...new Set([folder, packageRoot])].flatMap(root => ['results', 'runs'].filter(name => existsSync(join(root, name)))
    .flatMap(name => globSync(`**/${RESULTS_FILE}`, { cwd: join(root, name), deep: 4, absolute: true })))
  const all = [...new Set(found)].sort().flatMap(file => {
    try { return experimentEvidence(readResults(file), file) ?? [] } catch (error) {
      if (!(error instanceof NichelmError)) throw error
      skipped.push(error.message)
      return []
    }
  })
  return { evidence: nearest([paper, ...all], parameters), fallback: paper, skipped }
}
