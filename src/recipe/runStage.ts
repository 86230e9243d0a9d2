import { existsSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileError, NichelmError } from '../base/errors.js'
import { makeFolder, readJson, writeJson } from '../base/files.js'
import type { Json, Stage, StageContext } from './stage.js'

/** Makes a stage that is not complete. Throws what the stage throws, INTERRUPTED after a signal. */
export async function runStage<Result extends Json>(stage: Stage<Result>, { signal, log, lane }: Pick<StageContext, 'signal' | 'log' | 'lane'>): Promise<Result> {
  const { resumes = false } = stage.definition
  const partial = join(stage.folder, 'started.json')
  const began = new Date().toISOString(), started = performance.now()
  makeFolder(stage.folder)
  writeJson(partial, { name: stage.name, hash: stage.hash, resumes, began })
  try {
    const result = await stage.definition.run({ folder: stage.folder, name: stage.name, hash: stage.hash, lane, signal, log })
    const { name, version, settings } = stage.definition
    writeJson(join(stage.folder, 'stage.json'), {
      name, hash: stage.hash, version, settings, needs: Object.fromEntries(stage.needs.map(need => [need.name, need.hash])),
      began, seconds: (performance.now() - started) / 1000, result,
    })
    rmSync(partial, { force: true })
    return result
  } catch (error) {
    if (!resumes) rmSync(stage.folder, { recursive: true, force: true })
    if (!(error instanceof NichelmError)) throw signal.aborted ? interrupted() : error
    throw withRemedy(error, stage.output)
  }
}

/** In a run, what was damaged is made again when its stage's folder is gone; a checkpoint has a remedy of its own. */
function withRemedy(error: NichelmError, output: string): NichelmError {
  const [name, ...inside] = relative(join(output, 'stages'), error.place.file ?? output).split(sep)
  if (error.code !== 'CORRUPT' || !name || name === '..' || inside[0] === 'checkpoints') return error
  return new NichelmError('CORRUPT', error.message, { fix: `Delete ${join(output, 'stages', name)} and run again: it will be made anew.`, cause: error })
}

/** Removes the folders of stages that were interrupted and cannot be continued. */
export function removeHalfDone(output: string): void {
  const folder = join(output, 'stages')
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue
    const path = join(folder, entry.name)
    if (existsSync(join(path, 'stage.json'))) continue
    let resumes = false
    try { resumes = (readJson(join(path, 'started.json')) as { resumes?: boolean }).resumes === true } catch { /* nothing tells: it is removed */ }
    if (!resumes) rmSync(path, { recursive: true, force: true })
  }
}

/** `OUTPUT/NAME` -> the stage's folder. */
export function pointAt(stage: Stage): void {
  const link = join(stage.output, stage.name), temporary = `${link}.${process.pid}.tmp`
  try {
    rmSync(temporary, { force: true })
    symlinkSync(relative(stage.output, stage.folder), temporary)
    renameSync(temporary, link)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw fileError(error, link, 'write')
  }
}

export const interrupted = (): NichelmError => new NichelmError('INTERRUPTED', 'interrupted; what was complete is kept', { fix: 'Run the same command again to continue.' })
