import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { NichelmError } from '../base/errors.js'
import { makeFolder } from '../base/files.js'
import { SafetensorsFile, writeSafetensors, type TensorToWrite } from '../base/safetensors.js'
import { countParameters, type ModelSession } from '../model/index.js'

const stateSchema = z.strictObject({
  /** Steps done. */
  step: z.int().min(0),
  /** The last step whose evaluation is done; -1 before any. */
  evaluated: z.int().min(-1),
  best: z.strictObject({ step: z.int().min(0), nll: z.number() }).nullable(),
  /** Evaluations since the best one. */
  withoutGain: z.int().min(0),
  costs: z.strictObject({ tokens: z.number(), flops: z.number(), deviceHours: z.number(), device: z.string() }),
})

/** What a run needs besides tensors to go on. The rows of a step are a function of its number, so there is no sampler state. */
export type TrainState = z.infer<typeof stateSchema>

const NAME = /^step-(\d{8})\.safetensors$/
const fileOf = (folder: string, step: number): string => join(folder, `step-${String(step).padStart(8, '0')}.safetensors`)
export const bestFile = (folder: string): string => join(folder, 'best.safetensors')

/** Of what is trained: frozen parameters are where the run began from. */
function* tensorsOf(session: ModelSession, runs: readonly ('values' | 'm' | 'v')[]): Generator<TensorToWrite<'F32'>> {
  for (const run of runs)
    for (const spec of session.trained) yield { name: `${run}.${spec.name}`, dtype: 'F32', shape: spec.shape, data: () => session.readParts(run, spec.name) }
}

const metadata = (session: ModelSession, state: TrainState): Record<string, string> => ({ format: 'nichelm-checkpoint 1', trained: String(countParameters(session.trained)), state: JSON.stringify(state) })

/** Writes a checkpoint (parameters, moments, state, checksums) whole or not at all, then removes all but the last `keep`. */
export function saveCheckpoint(folder: string, session: ModelSession, state: TrainState, keep: number): void {
  makeFolder(folder)
  writeSafetensors(fileOf(folder, state.step), tensorsOf(session, ['values', 'm', 'v']), { metadata: metadata(session, state), checksums: true })
  for (const step of checkpointSteps(folder).slice(0, -keep)) rmSync(fileOf(folder, step), { force: true })
}

/** Keeps the parameters of the best evaluation so far. */
export function saveBest(folder: string, session: ModelSession, state: TrainState): void {
  makeFolder(folder)
  writeSafetensors(bestFile(folder), tensorsOf(session, ['values']), { metadata: metadata(session, state), checksums: true })
}

/** Steps that there are checkpoints of, ascending. */
export function checkpointSteps(folder: string): number[] {
  let names: string[]
  try { names = readdirSync(folder) } catch { return [] }
  return names.flatMap((name) => (NAME.exec(name) ? [Number(NAME.exec(name)![1])] : [])).sort((a, b) => a - b)
}

/**
 * Loads the last checkpoint, if there is one. It is verified in full before anything is overwritten: a damaged file, or a value that is not
 * finite, is CORRUPT and names the tensor.
 */
export async function loadCheckpoint(folder: string, session: ModelSession): Promise<TrainState | undefined> {
  const step = checkpointSteps(folder).at(-1)
  return step === undefined ? undefined : load(fileOf(folder, step), session, ['values', 'm', 'v'])
}

/** Loads the parameters of the best evaluation. */
export const loadBest = (folder: string, session: ModelSession): Promise<TrainState> => load(bestFile(folder), session, ['values'])

/** Elements that are read at a time. */
const PART = 1 << 18

async function load(file: string, session: ModelSession, runs: readonly ('values' | 'm' | 'v')[]): Promise<TrainState> {
  try {
    using source = new SafetensorsFile(file)
    source.verify()
    const state = readState(source), { trained } = source.metadata, here = countParameters(session.trained)
    if (trained !== undefined && Number(trained) !== here) throw new NichelmError('CORRUPT', `holds ${trained} trained parameters; this run trains ${here}`, { place: { file, field: 'trained' } })
    for (const tensor of tensorsOf(session, runs)) {
      const { shape } = source.entry(tensor.name)
      if (shape.join() !== tensor.shape.join()) throw new NichelmError('CORRUPT', `has the shape [${shape.join(', ')}]; the model's is [${tensor.shape.join(', ')}]`, { place: { file, field: tensor.name } })
    }
    for (const run of runs)
      for (const { name, shape } of session.trained) {
        const size = shape.reduce((product, n) => product * n, 1)
        for (let first = 0; first < size; first += PART)
          session.writePart(run, name, first, source.readF32(`${run}.${name}`, { start: first, count: Math.min(PART, size - first), finite: true }))
      }
    await session.refresh()
    return state
  } catch (error) {
    if (!(error instanceof NichelmError) || error.code === 'RESOURCE') throw error
    throw new NichelmError('CORRUPT', `the checkpoint cannot be used: ${error.message}`, { fix: `Remove ${file} to go on from the checkpoint before it, or from the beginning where there is none.`, cause: error })
  }
}

function readState(source: SafetensorsFile): TrainState {
  const corrupt = (what: string): NichelmError => new NichelmError('CORRUPT', what, { place: { file: source.file, field: 'state' } })
  if (source.metadata.format !== 'nichelm-checkpoint 1') throw corrupt('is not a checkpoint of this version')
  let json: unknown
  try { json = JSON.parse(source.metadata.state ?? '') } catch { throw corrupt('is not JSON') }
  const parsed = stateSchema.safeParse(json)
  if (!parsed.success) throw corrupt(parsed.error.issues[0]?.message ?? 'is not a state')
  return parsed.data
}
