import { NichelmError } from '../base/errors.js'
import { backward } from '../graph/autodiff.js'
import { Layout, lower, type Lowered } from '../graph/lower.js'
import { trace } from '../graph/op.js'
import { cast, fill, matmul, mostProbable, type MostProbableTensors, type TeacherTensors } from '../graph/ops/index.js'
import { persistent, viewOf, type Tensor } from '../graph/tensor.js'
import type { ModelConfig } from './config.js'
import { loraNetwork, type LoraConfig } from './loraNetwork.js'
import { plainNetwork, type Network, type OptimizerSettings } from './network.js'
import type { Parameters, Precision } from './parameters.js'
import type { ProjectedConfig } from './projectedConfig.js'
import { projectedNetwork } from './projectedNetwork.js'
import { checkDistillation, teacherTensors, type DistillationOptions } from './teacher.js'
import { outputWeight, rowTensors, transformer, transformerLoss, type Recompute, type Rows } from './transformer.js'

/** What is between the parameters and the transformer: for slm-pn a projected network of which `groups` experts are computed at once, for llm-lora adapters. */
export type NetworkOptions = { kind: 'projected'; projected: ProjectedConfig; groups: number } | { kind: 'lora'; lora: LoraConfig }

export interface SessionOptions {
  config: ModelConfig
  precision: Precision
  /** Rows that are computed at once: of a micro-batch in training, of a batch in evaluation. */
  rows: number
  /** Tokens in a row; the model's context if absent. */
  length?: number
  /** Absent: an ordinary transformer, all of it trained. */
  network?: NetworkOptions
  /** Present where the model is trained. */
  training?: OptimizerSettings
  /** Activations that training makes again instead of keeping them: less memory, more time, the same bits. Default: none. */
  recompute?: Recompute
  /** Whether `logits` will be called: room for [rows, length, vocabulary] f32 is kept. */
  logits?: boolean
  /** The model learns from a teacher as well, whose distributions the rows of `accumulate` bring; `evaluate` stays plain. */
  distill?: DistillationOptions
  /** Whether `mostProbable` will be called, for how many tokens and at which temperature. */
  mostProbable?: { k: number; temperature: number }
}

/** Bytes of the arena, by what they hold. `experts`: weights of the step's experts and their gradients. */
export interface MemoryUse { parameters: number; gradients: number; optimizer: number; experts: number; inputs: number; activations: number; total: number }

/** Programs of a session: what each runs is in `planPrograms`. */
export type ProgramName = 'round' | 'zero' | 'project' | 'micro' | 'update' | 'advance' | 'evaluate' | 'logits' | 'mostProbable'

export interface SessionPlan {
  network: Network
  rows: Rows
  nll: Tensor
  loss: Tensor
  norm: Tensor
  schedule: Tensor
  logits: Tensor | undefined
  teacher: TeacherTensors | undefined
  mostProbable: MostProbableTensors | undefined
  layout: Layout
  programs: Record<ProgramName, Lowered | undefined>
  /** For LoRA: what makes the difference between a weight and its frozen part, by the weight's name. */
  deltas: ReadonlyMap<string, { program: Lowered; into: Tensor }>
  memory: MemoryUse
}

function networkOf({ config, precision, network, training, rows }: SessionOptions): Network {
  if (!network) return plainNetwork(config, precision, training !== undefined)
  if (network.kind === 'lora') return loraNetwork(config, network.lora, precision, training !== undefined)
  const { groups, projected } = network
  if (!Number.isSafeInteger(groups) || groups < 1 || rows % groups)
    throw new NichelmError('CONFIG', `${groups} groups do not divide the ${rows} rows that are computed at once`, { place: { field: 'groups' }, fix: 'The batch divided by accumulate must be a multiple of groups.' })
  return projectedNetwork(config, projected, groups, precision, training !== undefined)
}

/** Traces, differentiates, lowers and places everything a session will run; nothing is allocated. Throws CONFIG for what cannot be. */
export function planPrograms(options: SessionOptions): SessionPlan {
  const { config, rows: rowCount, length = config.context, training } = options
  if (length > config.context) throw new NichelmError('CONFIG', `rows of ${length} tokens are longer than the model's context of ${config.context}`, { fix: `Build the corpus with a context of at most ${config.context}, or take a model with a longer one.` })
  const network = networkOf(options), { stores, weights } = network
  const rows = rowTensors(rowCount, length)
  const nll = persistent('nll', 'f32', [rowCount * length]), loss = persistent('loss', 'f32', [1])
  const norm = persistent('gradient norm', 'f32', [1]), schedule = persistent('schedule', 'f32', [3])
  const logits = options.logits ? persistent('logits', 'f32', [rowCount, length, config.vocabulary]) : undefined
  const tokens = rowCount * length, { distill, mostProbable: most } = options
  if (distill) checkDistillation(distill, config.vocabulary)
  const teacher = distill && teacherTensors(distill, tokens, config.vocabulary)
  const found = most && {
    ids: persistent('most probable tokens', 'i32', [tokens, most.k]), probabilities: persistent('their probabilities', 'f32', [tokens, most.k]),
    rest: persistent("the others' sum", 'f32', [tokens]), lost: persistent("the others' divergence", 'f32', [tokens]),
  }
  const layout = new Layout()
  const program = (body: (() => void) | undefined | false, after?: typeof backward): Lowered | undefined => {
    if (!body) return undefined
    const nodes = trace(body)
    after?.(nodes)
    return lower(nodes, layout)
  }
  for (const store of stores) layout.place(store.values)
  const forward = (): void => transformerLoss(weights, config, rows, { nll, loss })
  const learned = (): void => transformerLoss(weights, config, rows, { nll, loss }, distill && teacher && { ...distill, teacher }, options.recompute)
  const logitsInto = (into?: Tensor): Tensor => matmul(transformer(weights, config, rows), outputWeight(weights, config), { transposeB: true, f32: true, ...(into ? { into } : {}) })
  const programs: SessionPlan['programs'] = {
    round: program(stores.some((store) => store.copy) && (() => stores.forEach((store) => store.copy && cast(store.values, 'bf16', store.copy)))),
    zero: program(training && (() => network.gradients.forEach((gradient) => fill(gradient, 0)))),
    project: program(network.project && (() => network.project!())),
    micro: program(training && learned, backward),
    update: program(training && (() => network.update({ settings: training, norm, schedule }))),
    advance: program(training && network.project && (() => network.update({ settings: training, norm, schedule, project: true }))),
    evaluate: program(forward),
    logits: program(logits && (() => void logitsInto(logits))),
    mostProbable: program(found && (() => mostProbable(logitsInto(), most.temperature, found))),
  }
  const adapted = network.adapted ?? [], room = Math.max(0, ...adapted.map((name) => weights.get(name).size))
  const delta = adapted.length ? persistent('difference of an adapted weight', 'f32', [room]) : undefined
  const deltas = new Map(adapted.map((name) => {
    const into = viewOf(delta!, 0, weights.get(name).shape)
    return [name, { program: program(() => network.delta!(name, into))!, into }]
  }))
  const activations = Math.max(...[...Object.values(programs), ...[...deltas.values()].map((one) => one.program)].map((lowered) => lowered?.temporaryBytes ?? 0))
  const bytes = (of: (store: Parameters) => (Tensor | undefined)[]): number => stores.flatMap(of).reduce((sum, tensor) => sum + (tensor?.bytes ?? 0), 0)
  const gradients = bytes((p) => [p.gradient]), optimizer = bytes((p) => [p.moments?.m, p.moments?.v]), values = bytes((p) => [p.values, p.copy])
  const experts = (network.derived ?? []).reduce((sum, tensor) => sum + tensor.bytes, 0)
  const memory = { parameters: values, gradients, optimizer, experts, inputs: layout.bytes - values - gradients - optimizer - experts, activations, total: layout.bytes + activations }
  return { network, rows, nll, loss, norm, schedule, logits, teacher, mostProbable: found, layout, programs, deltas, memory }
}
