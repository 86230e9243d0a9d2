import type { Fingerprints } from './fingerprint.js'
import type { Domain, Recipe, TextFiles } from './resolve.js'
import type { Method } from './schema.js'
import { Stage, type Json, type StageCost, type StageDefinition } from './stage.js'
import type { AssignResult, EvaluateResult, ReportEntry, RecipeReport, RunResult, Steps, WeightsResult } from './steps.js'

/** Raise a number when the stage's code changes what it writes: what was made before is then made again. */
const VERSIONS = { tokenizer: 1, corpus: 1, clusters: 1, assign: 1, weights: 1, pretrain: 1, evaluate: 1, finetune: 1, report: 1 } as const

export interface Pipeline {
  /** In an order in which each comes after what it needs. */
  stages: Stage[]
  report: Stage<RecipeReport>
}

/** What a training stage costs, for the dry run. */
export type CostOf = (kind: 'pretrain' | 'finetune') => StageCost

/**
 * The stages of a recipe:
 * tokenizer -> corpora -> clusters -> assignments -> weights -> pretraining (slm once, slm-is for each domain)
 * -> evaluation -> fine-tuning -> evaluation -> report.
 */
export async function buildPipeline(recipe: Recipe, steps: Steps, fingerprints: Fingerprints, costOf: CostOf = () => ({})): Promise<Pipeline> {
  return new Builder(recipe, steps, fingerprints, costOf).build()
}

interface Corpora { tokenizer: Stage; generic: Stage; genericHeldout: Stage }
interface Sampling { generic: Stage<AssignResult>; domain: Stage<AssignResult>; weights: Stage<WeightsResult> }

interface Prepared { domain: Domain; train: Stage; heldout: Stage; sampling?: Sampling }

class Builder {
  readonly #stages: Stage[] = []
  readonly #evaluations = new Map<string, Stage<EvaluateResult>>()
  #genericAssignments: Stage<AssignResult> | undefined
  #clusters: Stage | undefined
  #slm: Stage<RunResult> | undefined
  constructor(readonly recipe: Recipe, readonly steps: Steps, readonly fingerprints: Fingerprints, readonly costOf: CostOf) {}

  #add<Result extends Json>(kind: keyof typeof VERSIONS, definition: Omit<StageDefinition<Result>, 'version'>): Stage<Result> {
    const stage = new Stage<Result>(this.recipe.output, { ...definition, version: VERSIONS[kind] })
    this.#stages.push(stage)
    return stage
  }

  async build(): Promise<Pipeline> {
    const { recipe, steps } = this, { generic } = recipe
    const tokenizer = await this.#tokenizer()
    const corpora: Corpora = {
      tokenizer,
      generic: await this.#corpus('generic', generic, tokenizer, recipe.corpus.tokens),
      genericHeldout: await this.#corpus('generic-heldout', { files: generic.heldout, field: generic.field }, tokenizer),
    }
    // All that reads text comes before all that trains: what is wrong with a text shows itself early.
    const prepared: Prepared[] = []
    for (const domain of recipe.domains) {
      const train = await this.#corpus(domain.name, domain.train, tokenizer, domain.tokens)
      prepared.push({ domain, train, heldout: await this.#corpus(`${domain.name}-heldout`, domain.heldout, tokenizer) })
    }
    if (recipe.methods.includes('slm-is')) for (const one of prepared) one.sampling = this.#sampling(one.domain, corpora, one.train)
    const entries: (() => ReportEntry)[] = [], sources: Stage[] = []
    for (const one of prepared) for (const method of recipe.methods) entries.push(this.#specialize(method, one, corpora, sources))
    const { name, report: settings } = recipe
    const report = this.#add('report', {
      name: 'report', settings: { name, ...settings }, needs: sources,
      run: context => steps.report(context, { recipe, entries: entries.map(entry => entry()) }),
    })
    return { stages: this.#stages, report }
  }

  /** The stages of one method on one domain; `sources` gets those that the report reads. */
  #specialize(method: Method, { domain, train, heldout, sampling: own }: Prepared, corpora: Corpora, sources: Stage[]): () => ReportEntry {
    const sampling = method === 'slm-is' ? own : undefined
    const pretrained = sampling ? this.#pretrain(`slm-is-${domain.name}`, corpora, sampling) : this.#slm ??= this.#pretrain('slm', corpora)
    const before = this.#evaluate(`${method}-${domain.name}-before`, pretrained, heldout)
    const generic = method === 'slm' ? this.#evaluate('slm-generic', pretrained, corpora.genericHeldout) : undefined
    const tuned = this.#finetune(method, domain, pretrained, train, corpora.tokenizer)
    const after = this.#evaluate(`${method}-${domain.name}-after`, tuned, heldout)
    sources.push(pretrained, before, tuned, after, ...(generic ? [generic] : []), ...(sampling ? [sampling.generic, sampling.domain, sampling.weights] : []))
    return () => ({
      method, domain: domain.name, before: before.result, after: after.result, generic: generic?.result,
      pretraining: { folder: pretrained.folder, name: pretrained.name, shared: method === 'slm', result: pretrained.result },
      finetuning: { folder: tuned.folder, name: tuned.name, result: tuned.result },
      sampling: sampling && { generic: sampling.generic.result, domain: sampling.domain.result, weights: sampling.weights.result },
    })
  }

  async #files({ files, field }: TextFiles): Promise<{ settings: Json; inputs: string[] }> {
    const inputs: string[] = []
    for (const file of files) inputs.push(await this.fingerprints.of(file))
    return { settings: { field }, inputs }
  }

  async #tokenizer(): Promise<Stage> {
    const { tokenizer, generic } = this.recipe
    if ('file' in tokenizer) {
      return this.#add('tokenizer', {
        name: 'tokenizer', settings: null, inputs: [await this.fingerprints.of(tokenizer.file)],
        run: context => this.steps.tokenizer(context, tokenizer),
      })
    }
    const { settings, inputs } = await this.#files(generic)
    return this.#add('tokenizer', {
      name: 'tokenizer', settings: { ...tokenizer, files: settings }, inputs,
      run: context => this.steps.tokenizer(context, { ...tokenizer, text: generic }),
    })
  }

  async #corpus(name: string, text: TextFiles, tokenizer: Stage, tokens?: number): Promise<Stage> {
    const { context, corpus: { minimumLength } } = this.recipe
    const { settings, inputs } = await this.#files(text)
    return this.#add('corpus', {
      name: `corpus-${name}`, settings: { files: settings, context, minimumLength, tokens }, inputs, needs: [tokenizer],
      run: at => this.steps.corpus(at, { text, tokenizer: tokenizer.folder, context, minimumLength, tokens }),
    })
  }

  #sampling(domain: Domain, { generic, tokenizer }: Corpora, train: Stage): Sampling {
    const { recipe, steps } = this, { clusters, seed } = recipe
    const clustering = this.#clusters ??= this.#add('clusters', {
      name: 'clusters', settings: { ...clusters, seed }, needs: [generic],
      run: context => steps.clusters(context, { recipe, corpus: generic.folder, tokenizer: tokenizer.folder }),
    })
    const assign = (name: string, corpus: Stage) => this.#add('assign', {
      name: `assign-${name}`, settings: null, needs: [corpus, clustering],
      run: context => steps.assign(context, { recipe, corpus: corpus.folder, tokenizer: tokenizer.folder, clusters: clustering.folder }),
    })
    const all = this.#genericAssignments ??= assign('generic', generic), own = assign(domain.name, train)
    const draws = recipe.steps * recipe.pretrain.batch
    const weights = this.#add('weights', {
      name: `weights-${domain.name}`, settings: { draws }, needs: [all, own],
      run: context => steps.weights(context, { generic: all.result, specialization: own.result, draws }),
    })
    return { generic: all, domain: own, weights }
  }

  #pretrain(name: string, { generic, genericHeldout, tokenizer }: Corpora, sampling?: Sampling): Stage<RunResult> {
    const { model, pretrain: { checkpointEvery, keep, tokens: _, steps: __, ...settings }, steps, context, seed, device: { kind, precision } } = this.recipe
    return this.#add('pretrain', {
      name: `pretrain-${name}`, resumes: true, cost: this.costOf('pretrain'),
      // How often it is saved and on how many threads it runs change no result.
      settings: { model, ...settings, steps, context, seed, kind, precision },
      needs: [generic, genericHeldout, tokenizer, ...(sampling ? [sampling.generic, sampling.weights] : [])],
      run: at => this.steps.pretrain(at, {
        recipe: this.recipe, corpus: generic.folder, validation: genericHeldout.folder, tokenizer: tokenizer.folder,
        sampling: sampling && { assignments: sampling.generic.folder, target: sampling.weights.result.target },
      }),
    })
  }

  #finetune(method: Method, domain: Domain, pretrained: Stage, corpus: Stage, tokenizer: Stage): Stage<RunResult> {
    const { finetune: settings, context, seed, device: { kind, precision } } = this.recipe
    return this.#add('finetune', {
      name: `finetune-${method}-${domain.name}`, resumes: true, cost: this.costOf('finetune'),
      settings: { ...settings, context, seed, kind, precision }, needs: [pretrained, corpus, tokenizer],
      run: at => this.steps.finetune(at, { recipe: this.recipe, model: pretrained.folder, corpus: corpus.folder, tokenizer: tokenizer.folder }),
    })
  }

  #evaluate(name: string, model: Stage, corpus: Stage): Stage<EvaluateResult> {
    const known = this.#evaluations.get(name)
    if (known) return known
    const { device: { kind, precision } } = this.recipe
    const stage = this.#add('evaluate', {
      name: `evaluate-${name}`, settings: { kind, precision }, needs: [model, corpus],
      run: at => this.steps.evaluate(at, { recipe: this.recipe, model: model.folder, corpus: corpus.folder }),
    })
    this.#evaluations.set(name, stage)
    return stage
  }
}
