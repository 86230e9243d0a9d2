import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { Arena, type Device } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { makeFolder, readJson, writeJson } from '../base/files.js'
import { SafetensorsFile, writeSafetensors } from '../base/safetensors.js'
import { Layout, lower } from '../graph/lower.js'
import { trace } from '../graph/op.js'
import { project } from '../graph/ops/index.js'
import { persistent } from '../graph/tensor.js'
import { checkConfig } from './config.js'
import { writeHuggingFace, type StoredModel } from './huggingFace.js'
import { parameterSpecs, type ParameterSpec } from './parameters.js'
import { checkProjected, projectedMatrices, type ProjectedConfig } from './projectedConfig.js'
import { EXPERTS, projectedSpecs } from './projectedNetwork.js'
import type { ModelSession } from './session.js'

const CONFIG_FILE = 'projected.json', TENSORS_FILE = 'projected.safetensors'

const count = () => z.int().min(1)
const schema = z.strictObject({
  format: z.literal('nichelm-projected'),
  version: z.literal(1),
  model: z.strictObject({
    vocabulary: count(), context: count(), layers: count(), width: count(), heads: count(), keyValueHeads: count(), mlp: count(),
    norm: z.enum(['layer', 'rms']), normEpsilon: z.number(), positions: z.enum(['learned', 'rotary']), theta: z.number(),
    activation: z.enum(['gelu', 'swiglu']), biases: z.boolean(), tied: z.boolean(),
  }),
  projected: z.strictObject({ layers: z.array(z.int()), experts: count(), multiplier: count(), expertSize: count(), coefficientScale: z.number(), spread: z.number() }),
  endOfText: z.int().nullable(),
})

/** A projected network as it lies in a folder. */
export interface StoredProjected extends StoredModel { folder: string; projected: ProjectedConfig; endOfText: number | undefined }

/** Whether a folder holds a projected network. */
export const isProjected = (folder: string): boolean => existsSync(join(folder, CONFIG_FILE))

/**
 * Writes what a session has learned: an ordinary model, adapters merged, as a Hugging Face folder; a projected network as projected.json and
 * projected.safetensors (f32), of which `instantiate` makes ordinary models.
 */
export async function saveModel(folder: string, session: ModelSession, endOfText?: number): Promise<void> {
  const { config, options: { network } } = session
  makeFolder(folder)
  if (network?.kind === 'projected') {
    writeSafetensors(join(folder, TENSORS_FILE), session.specs('values').map(({ name, shape }) => ({ name, dtype: 'F32' as const, shape, data: () => session.readParts('values', name) })), { checksums: true })
    writeJson(join(folder, CONFIG_FILE), { format: 'nichelm-projected', version: 1, model: config, projected: { ...network.projected, layers: [...network.projected.layers] }, endOfText: endOfText ?? null } satisfies z.infer<typeof schema>)
    return
  }
  const merged = new Map<string, Float32Array<ArrayBuffer>>()
  for (const name of session.adapted) merged.set(name, await session.readMerged(name))
  writeHuggingFace(folder, config, (name) => merged.get(name) ?? session.read('values', name), endOfText, (name) => (merged.has(name) ? undefined : session.readParts('values', name)))
}

/** Opens a projected network. Throws INPUT if a file is missing, CORRUPT that names it if one has been damaged. */
export function openProjected(folder: string): StoredProjected {
  const file = join(folder, CONFIG_FILE), parsed = schema.safeParse(readJson(file))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new NichelmError('CORRUPT', issue?.message ?? 'is no projected network', { place: { file, field: issue?.path.join('.') || 'projected' } })
  }
  const config = checkConfig(parsed.data.model, file), projected = checkProjected(config, parsed.data.projected, file)
  const { shared, bases } = projectedSpecs(config, projected), specs = [...shared, ...bases]
  {
    using source = tensorsOf(folder)
    for (const { name, shape } of specs) {
      const stored = source.entry(name).shape
      if (stored.join() !== shape.join()) throw new NichelmError('CORRUPT', `has the shape [${stored.join(', ')}]; ${CONFIG_FILE} says [${shape.join(', ')}]`, { place: { file: source.file, field: name } })
    }
    source.verify()
  }
  return { folder, config, projected, endOfText: parsed.data.endOfText ?? undefined, parameters: () => read(folder, specs) }
}

const tensorsOf = (folder: string): SafetensorsFile => new SafetensorsFile(join(folder, TENSORS_FILE))

function* read(folder: string, specs: readonly ParameterSpec[]): Generator<{ name: string; values: Float32Array<ArrayBuffer> }> {
  using source = tensorsOf(folder)
  for (const { name } of specs) yield { name, values: source.readF32(name, { finite: true }) }
}

/** One expert by its number, or a mean of all by a weight for each, as a domain's histogram over the clusters is: a soup of experts (arXiv 2502.01804). */
export type ExpertOrMean = number | ArrayLike<number>

/**
 * The ordinary small model that a projected network is for one expert, or for a mean of their vectors: its matrices are projected once, in f32, everything
 * else is shared. Throws USAGE if there is no such expert, or the weights are not one for each.
 */
export async function openExpert(stored: StoredProjected, device: Device, expert: ExpertOrMean): Promise<StoredModel> {
  const { config, projected: { experts }, folder } = stored, place = { file: folder }
  if (typeof expert === 'number' && !(Number.isSafeInteger(expert) && expert >= 0 && expert < experts))
    throw new NichelmError('USAGE', `there is no expert ${expert}: they are 0 to ${experts - 1}`, { place })
  const means = Array.from({ length: experts }, (_, i) => (typeof expert === 'number' ? Number(i === expert) : expert[i]!)), mass = means.reduce((sum, weight) => sum + weight, 0)
  if (typeof expert !== 'number' && (expert.length !== experts || means.some((weight) => !(weight >= 0)) || !(mass > 0 && Number.isFinite(mass))))
    throw new NichelmError('USAGE', `a mean needs ${experts} weights of at least 0, some of them above`, { place })
  const weights = await projectAll(stored, device, means.map((weight) => weight / mass))
  return {
    config,
    *parameters() {
      using source = tensorsOf(folder)
      for (const { name } of parameterSpecs(config)) yield { name, values: weights.get(name) ?? source.readF32(name, { finite: true }) }
    },
  }
}

/** One matrix after the other, so that only one basis is in memory at a time. */
async function projectAll({ config, projected, folder }: StoredProjected, device: Device, means: readonly number[]): Promise<Map<string, Float32Array<ArrayBuffer>>> {
  const weights = new Map<string, Float32Array<ArrayBuffer>>(), { expertSize, multiplier, coefficientScale } = projected
  using source = tensorsOf(folder)
  const all = source.readF32(EXPERTS, { finite: true })
  const vector = Float32Array.from({ length: expertSize }, (_, i) => means.reduce((sum, weight, expert) => sum + weight * all[expert * expertSize + i]!, 0))
  for (const name of projectedMatrices(projected)) {
    const shape = parameterSpecs(config).find((spec) => spec.name === `${name}.weight`)!.shape
    const experts = persistent('experts', 'f32', [1, expertSize]), mix = persistent('mix', 'f32', [expertSize, multiplier]), basis = persistent('basis', 'f32', [multiplier, ...shape])
    const ids = persistent('ids', 'i32', [1]), coefficients = persistent('coefficients', 'f32', [1, multiplier]), into = persistent('weights', 'f32', [1, ...shape])
    const layout = new Layout()
    const lowered = lower(trace(() => project({ experts, mix, basis, ids }, coefficientScale, { coefficients, weights: into })), layout)
    using arena = new Arena(layout.bytes + lowered.temporaryBytes, device)
    using program = device.compile(arena, lowered.text(layout))
    const values = new Float32Array(into.size)
    await device.run(arena, [{
      program,
      writes: [layout.offset(experts), vector, layout.offset(mix), source.readF32(`${name}.mix`, { finite: true }), layout.offset(basis), source.readF32(`${name}.basis`, { finite: true }), layout.offset(ids), Int32Array.of(0)],
    }], [layout.offset(into), values])
    weights.set(`${name}.weight`, values)
  }
  return weights
}

/** Writes the ordinary small model that a projected network's folder holds for an expert, or a mean of experts, as a Hugging Face folder. */
export async function instantiate(from: string, expert: ExpertOrMean, into: string, device: Device): Promise<void> {
  const stored = openProjected(from), model = await openExpert(stored, device, expert)
  const values = new Map([...model.parameters()].map((parameter) => [parameter.name, parameter.values]))
  writeHuggingFace(into, model.config, (name) => values.get(name)!, stored.endOfText)
}
