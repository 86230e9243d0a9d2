import { existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { availableThreads } from '../../bindings/index.js'
import { NichelmError } from '../base/errors.js'
import { openHuggingFace } from '../model/index.js'
import { modelConfig } from '../model/config.js'
import { Tokenizer } from '../text/index.js'
import { budgetSteps, cellId, expertsTrained, planRuns, pretrainBatch, pretrainedBy, asMethod, runKey, shortCount, type Cell } from './cell.js'
import { expertText } from './experts.js'
import type { Locate } from './read.js'
import type { Setup } from './setup.js'
import type { CorpusResult } from './steps.js'

const config = (what: string, place: Locate, path: string[], fix?: string) => new NichelmError('CONFIG', what, { place: place(path), ...(fix ? { fix } : {}) })

/** Throws CONFIG for settings that contradict each other whatever the methods are. */
export function checkTogether(setup: Setup, place: Locate): void {
  for (const kind of ['pretrain', 'finetune'] as const) {
    const { batch, accumulate } = setup[kind]
    if (batch % accumulate !== 0) throw config(`${batch} rows cannot be split into ${accumulate} equal parts`, place, [kind, 'accumulate'], `accumulate must divide ${kind}.batch.`)
    for (const [at, beta] of setup[kind].betas.entries()) if (beta === 1) throw config('is 1, but must be less than 1', place, [kind, 'betas', String(at)])
  }
  const { steps, warmup } = setup.finetune
  if (steps !== undefined) risen(steps, warmup, place, ['finetune', 'warmup'])
  if (setup.clusters.count > setup.clusters.sample) throw config(`${setup.clusters.count} clusters cannot be found in a sample of ${setup.clusters.sample} windows`, place, ['clusters', 'count'])
  const { threads } = setup.device
  if (threads !== 'all' && threads > availableThreads()) throw config(`is ${threads}, but this machine gives ${availableThreads()}`, place, ['device', 'threads'], 'Write all, or leave it out, for all of them.')
  if (setup.device.kind === 'cpu' && setup.device.index > 0) throw config('is the number of a GPU, but the device is cpu', place, ['device', 'index'], 'Set device.kind to cuda.')
  const trained = new Set([...setup.generic.files, ...setup.domains.flatMap(domain => domain.train.files)])
  const both = (files: string[], ...path: string[]) => {
    const file = files.find(item => trained.has(item))
    if (file) throw config(`${file} is trained on too`, place, path, 'Held-out text must not be trained on: use other files.')
  }
  both(setup.generic.heldout, 'data', 'generic', 'heldout')
  for (const domain of setup.domains) both(domain.heldout.files, 'data', 'domains', domain.name, 'heldout')
  for (const domain of setup.domains) {
    if (domain.tokens !== undefined && domain.tokens < 2 * setup.corpus.minimumLength) throw config(`${domain.tokens} tokens are less than two windows of ${setup.corpus.minimumLength}`, place, ['data', 'domains', domain.name, 'tokens'])
  }
}

function risen(steps: number, warmup: number, place: Locate, path: string[]): void {
  if (warmup > 0 && warmup >= steps) throw config(`the rate would still be rising at the last of ${steps} steps`, place, path, `Use a warm-up shorter than ${steps} steps.`)
}

/** Throws CONFIG where a method that is in use cannot be with these settings. `runs`: as of `planRuns`. */
export function checkCells(setup: Setup, cells: readonly Cell[], runs: ReturnType<typeof planRuns>, place: Locate): void {
  const uses = (...methods: Cell['method'][]) => cells.some(cell => methods.includes(cell.method))
  for (const cell of cells) {
    for (const method of pretrainedBy(cell.method, setup.distill.teacher !== undefined)) {
      const one = asMethod(cell, method), steps = runs.get(runKey(one))!.at(-1)!
      if (budgetSteps(setup, one) < 1) {
        const share = method === 'slm-mix' ? ` for each of ${one.experts} experts` : ''
        throw config(`${shortCount(one.budgetTokens!)} tokens${share} are less than one step of ${pretrainBatch(setup, method)} rows of ${setup.context}`, place, ['pretrain', 'tokens'], `Needed by ${cellId(cell)}: use a larger budget or smaller steps.`)
      }
      if (method !== 'slm-mix') risen(steps, setup.pretrain.warmup, place, ['pretrain', 'warmup'])
    }
    if (cell.clusters !== null && cell.clusters > setup.clusters.sample || cell.experts !== null && cell.experts > setup.clusters.sample) {
      throw config(`${cell.clusters ?? cell.experts} clusters cannot be found in a sample of ${setup.clusters.sample} windows`, place, ['clusters', 'sample'])
    }
    if (cell.experts !== null) checkExperts(setup, cell, place)
  }
  if (uses('slm-d') && setup.distill.top !== undefined && setup.finetune.replay > 0) throw config('the teacher\'s distributions are kept of the domain alone, but finetune.replay mixes in generic text', place, ['distill', 'top'], 'Leave it out, so that the teacher computes along, or set finetune.replay to 0.')
  if (uses('slm-pn')) checkProjection(setup, place)
  if (uses('slm-mix') && (setup.mixture.batch ?? setup.pretrain.batch) % setup.pretrain.accumulate) throw config(`${setup.mixture.batch} rows cannot be split into ${setup.pretrain.accumulate} equal parts`, place, ['mixture', 'batch'], 'pretrain.accumulate must divide it.')
  if (uses('llm', 'llm-lora', 'slm-d') && setup.distill.teacher === undefined) {
    const { preset, ...changes } = setup.llm, large = modelOf(setup, preset, changes, 'llm', place)
    if (large.context < setup.context) throw config(`takes rows of at most ${large.context} tokens, but windows have ${setup.context}`, place, ['llm'], 'Set llm.context.')
    if (uses('llm-lora') && setup.lora.rank > large.width) throw config(`${setup.lora.rank} is more than the large model's width of ${large.width}`, place, ['lora', 'rank'])
  }
}

function modelOf(setup: Setup, preset: Setup['llm']['preset'], changes: object, key: string, place: Locate): ReturnType<typeof modelConfig> {
  try { return modelConfig(preset, 'file' in setup.tokenizer ? 4096 : setup.tokenizer.vocabulary, changes) } catch (error) {
    if (!(error instanceof NichelmError) || error.place.field === undefined) throw error
    const { field } = error.place
    throw new NichelmError('CONFIG', error.message.slice(field.length + 2), { place: place([key, field]), cause: error, ...(error.fix ? { fix: error.fix } : {}) })
  }
}

function checkExperts(setup: Setup, cell: Cell, place: Locate): void {
  const count = cell.experts!, outside = (list: readonly number[] | undefined, path: string[]) => {
    const wrong = list?.find(expert => expert >= count)
    if (wrong !== undefined) throw config(`there is no expert ${wrong}: they are 0 to ${count - 1}`, place, path)
  }
  if (cell.method === 'slm-mix') outside(setup.mixture.experts, ['mixture', 'experts'])
  if (cell.choice === 'mean' && cell.method === 'slm-mix') throw config('slm-mix has no mean of experts: they are models of their own', place, ['choice', 'by'], 'Use frequent, best-pretrained or best-finetuned; mean is for slm-pn.')
  if (cell.choice === 'frequent' || cell.choice === 'mean') return
  outside(setup.choice.experts, ['choice', 'experts'])
  const trained = expertsTrained(setup, cell), missing = setup.choice.experts?.find(expert => !trained.includes(expert))
  if (missing !== undefined) throw config(`expert ${missing} is to be tried, but only ${expertText(trained)} are trained`, place, ['choice', 'experts'], `Add ${missing} to mixture.experts, or leave that out to train all.`)
}

function checkProjection(setup: Setup, place: Locate): void {
  const { preset, ...changes } = setup.model, { layers } = modelOf(setup, preset, changes, 'model', place), { projected, pretrain: { batch, accumulate } } = setup
  const outside = projected.layers?.find(layer => layer >= layers)
  if (outside !== undefined) throw config(`there is no layer ${outside}: they are 0 to ${layers - 1}`, place, ['projected', 'layers'])
  const rows = batch / accumulate
  if (projected.groups !== undefined && rows % projected.groups) throw config(`${rows} rows cannot be split into ${projected.groups} equal groups`, place, ['projected', 'groups'], 'It must divide pretrain.batch / pretrain.accumulate.')
}

/** Throws CONFIG for a teacher that has another tokenizer than the recipe, INPUT for one that is not there. */
export function checkTeacher({ distill: { teacher }, tokenizer }: Setup, place: Locate): void {
  if (teacher === undefined) return
  const at = ['distill', 'teacher'], own = join(teacher, 'tokenizer.json')
  if (!existsSync(join(teacher, 'config.json'))) throw new NichelmError('INPUT', `${teacher} is not a Hugging Face folder: it has no config.json`, { place: place(at) })
  if (!('file' in tokenizer)) throw config('a tokenizer that is trained here is not the teacher\'s', place, at, `Give the teacher's: tokenizer: {file: ${own}}`)
  using ours = Tokenizer.load(tokenizer.file)
  const { vocabulary } = openHuggingFace(teacher).config
  if (vocabulary !== ours.vocabularySize) throw config(`has a vocabulary of ${vocabulary}, but the tokenizer has ${ours.vocabularySize}`, place, at, 'A teacher must have the same tokenizer.')
  if (!existsSync(own) || readFileSync(own, 'utf8') === readFileSync(tokenizer.file, 'utf8')) return
  using theirs = Tokenizer.load(own)
  if (theirs.hash !== ours.hash) throw config(`has another tokenizer than ${tokenizer.file}`, place, at, 'A teacher must have the same tokenizer.')
}

/** Throws INPUT where text that has been read is too little for the cell. */
export function checkCorpora(cell: Cell, generic: CorpusResult, domain: CorpusResult): void {
  const clusters = cell.clusters ?? cell.experts
  if (clusters !== null && clusters > generic.windows) {
    throw new NichelmError('INPUT', `the generic set has ${generic.windows} windows, too few for ${clusters} clusters`, { fix: `Needed by ${cellId(cell)}: ask for fewer clusters, or give more generic text.` })
  }
  if (domain.windows < 2) throw new NichelmError('INPUT', `the domain ${cell.domain} has ${domain.windows} window: too little text to set some apart for validation`, { fix: 'Give more text, or use a shorter context.' })
}

/** Text unpacks to about 3 times a packed file; a token of about 4 bytes is stored in 2 (or 4). */
export function checkDisk(setup: Setup, place: Locate): void {
  const files = [setup.generic, ...setup.domains.map(domain => domain.train)].flatMap(({ files: all }) => all)
  const text = files.reduce((sum, file) => sum + statSync(file).size * (/\.(gz|zst|parquet)$/.test(file) ? 3 : 1), 0)
  const needed = Math.min(text, 4 * (setup.corpus.tokens ?? Infinity) + text / 10) / 2
  let at = setup.output
  while (!existsSync(at)) at = dirname(at)
  if (!statSync(at).isDirectory()) throw config(`${at} is a file`, place, ['output'])
  const { bavail, bsize } = statfsSync(at)
  if (bavail * bsize < needed) {
    throw new NichelmError('RESOURCE', `the token shards need about ${megabytes(needed)} MB, but ${at} has ${megabytes(bavail * bsize)} MB free`, { place: place(['output']), fix: 'Free some space, choose another output, or lower corpus.tokens.' })
  }
}

const megabytes = (bytes: number): string => Math.ceil(bytes / 1e6).toLocaleString('en')
