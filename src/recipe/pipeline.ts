import type { Fingerprints } from './fingerprint.js'
import type { Domain, Recipe, TextFiles } from './resolve.js'
import type { Method } from './schema.js'
import { Stage, type Json, type StageCost, type StageDefinition } from './stage.js'
import type { ReportEntry, ReportResult, Steps } from './steps.js'

/** Raise a number when the stage's code changes what it writes: what was made before is then made again. */
const VERSIONS = { tokenizer: 1, corpus: 1, clusters: 1, assign: 1, weights: 1, pretrain: 1, evaluate: 1, finetune: 1, report: 1 } as const

export interface Pipeline {
  /** In an order in which each comes after what it needs. */
  stages: Stage[]
  report: Stage<ReportResult>
}

/** What training costs, for the dry run: of `pretrain` and `finetune` at a number of tokens. */
export type CostOf = (kind: 'pretrain' | 'finetune') => StageCost

/**
 * The stages of a recipe:
 * tokenizer -> corpora -> clusters -> assignments -> weights -> pretraining (slm once, slm-is for each domain)
 * -> evaluation -> fine-tuning -> evaluation -> report.
 */
export async function buildPipeline(recipe: Recipe, steps: Steps, fingerprints: Fingerprints, costOf: CostOf = () => ({})): Promise<Pipeline> {
  return new Builder(recipe, steps, fingerprints, costOf).build()
}

class Builder {
  readonly #stages: Stage[] = []
  constructor(readonly recipe: Recipe, readonly steps: Steps, readonly fingerprints: Fingerprints, readonly costOf: CostOf) {}

  #add<Result extends Json>(kind: keyof typeof VERSIONS, definition: Omit<StageDefinition<Result>, 'version'>): Stage<Result> {
    const stage = new Stage<Result>(this.recipe.output, { ...definition, version: VERSIONS[kind] })
    this.#stages.push(stage)
    return stage
  }

  async build(): Promise<Pipeline> {
    const { recipe, steps } = this, { generic, clusters, seed } = recipe
    const tokenizer = await this.#tokenizer()
    const genericCorpus = await this.#corpus('generic', generic, tokenizer, recipe.corpus.tokens)
    const genericHeldout = await this.#corpus('generic-heldout', { files: generic.heldout, field: generic.field }, tokenizer)
    const sets = new Map<Domain, { train: Stage; heldout: Stage }>()
    for (const domain of recipe.domains) {
      sets.set(domain, {
        train: await this.#corpus(domain.name, domain.train, tokenizer, domain.tokens),
        heldout: await this.#corpus(`${domain.name}-heldout`, domain.heldout, tokenizer),
      })
    }

    const importance = recipe.methods.includes('slm-is')
    const clustering = importance ? this.#add('clusters', {
      name: 'clusters', settings: { ...clusters, seed }, needs: [genericCorpus],
      run: context => steps.clusters(context, { recipe, corpus: genericCorpus.folder, tokenizer: tokenizer.folder }),
    }) : undefined
    const assign = (name: string, corpus: Stage) => this.#add('assign', {
      name: `assign-${name}`, settings: null, needs: [corpus, clustering!],
      run: context => steps.assign(context, { recipe, corpus: corpus.folder, tokenizer: tokenizer.folder, clusters: clustering!.folder }),
    })
    const genericAssignments = importance ? assign('generic', genericCorpus) : undefined

    const entries: ReportEntry[] = [], sources: Stage[] = []
    const keep = (stage: Stage) => { sources.push(stage); return stage }
    let slm: Stage | undefined
    const weights = new Map<string, Stage>()
    for (const domain of recipe.domains) {
      const { train, heldout } = sets.get(domain)!
      for (const method of recipe.methods) {
        let pretrained: Stage
        if (method === 'slm') {
          pretrained = slm ??= keep(this.#pretrain('slm', genericCorpus, genericHeldout, tokenizer))
        } else {
          const assignments = assign(domain.name, train)
          const weighted = keep(this.#add('weights', {
            name: `weights-${domain.name}`, settings: { draws: recipe.steps * recipe.pretrain.batch }, needs: [genericAssignments!, assignments],
            run: context => steps.weights(context, { generic: genericAssignments!.folder, specialization: assignments.folder, draws: recipe.steps * recipe.pretrain.batch }),
          }))
          weights.set(domain.name, weighted)
          pretrained = keep(this.#pretrain(`slm-is-${domain.name}`, genericCorpus, train, tokenizer, { assignments: genericAssignments!, weights: weighted }))
        }
        const before = keep(this.#evaluate(`${method}-${domain.name}-before`, pretrained, heldout))
        const tuned = keep(this.#finetune(method, domain, pretrained, train, tokenizer))
        const after = keep(this.#evaluate(`${method}-${domain.name}-after`, tuned, heldout))
        entries.push({
          method, domain: domain.name, pretrained: pretrained.folder, tuned: tuned.folder,
          weights: method === 'slm-is' ? weights.get(domain.name)!.folder : undefined, before: before.folder, after: after.folder,
        })
      }
    }
    const genericPerplexity = slm ? keep(this.#evaluate('slm-generic', slm, genericHeldout)) : undefined
    const { name, report: settings } = recipe
    const report = this.#add('report', {
      name: 'report', settings: { name, ...settings }, needs: sources,
      run: context => steps.report(context, { recipe, entries, generic: genericPerplexity?.folder }),
    })
    return { stages: this.#stages, report: report }
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

  #pretrain(name: string, corpus: Stage, validation: Stage, tokenizer: Stage, sampling?: { assignments: Stage; weights: Stage }): Stage {
    const { model, pretrain: { checkpointEvery, keep, tokens: _, steps: __, ...settings }, steps, context, seed, device: { kind, precision } } = this.recipe
    return this.#add('pretrain', {
      name: `pretrain-${name}`, resumes: true, cost: this.costOf('pretrain'),
      // How often it is saved and on how many threads it runs change no result.
      settings: { model, ...settings, steps, context, seed, kind, precision },
      needs: [corpus, validation, tokenizer, ...(sampling ? [sampling.assignments, sampling.weights] : [])],
      run: at => this.steps.pretrain(at, {
        recipe: this.recipe, corpus: corpus.folder, validation: validation.folder, tokenizer: tokenizer.folder,
        sampling: sampling && { assignments: sampling.assignments.folder, weights: sampling.weights.folder },
      }),
    })
  }

  #finetune(method: Method, domain: Domain, pretrained: Stage, corpus: Stage, tokenizer: Stage): Stage {
    const { finetune: settings, context, seed, device: { kind, precision } } = this.recipe
    return this.#add('finetune', {
      name: `finetune-${method}-${domain.name}`, resumes: true, cost: this.costOf('finetune'),
      settings: { ...settings, context, seed, kind, precision }, needs: [pretrained, corpus, tokenizer],
      run: at => this.steps.finetune(at, { recipe: this.recipe, model: pretrained.folder, corpus: corpus.folder, tokenizer: tokenizer.folder }),
    })
  }

  #evaluate(name: string, model: Stage, corpus: Stage): Stage {
    const { context, device: { kind, precision } } = this.recipe
    return this.#add('evaluate', {
      name: `evaluate-${name}`, settings: { context, kind, precision }, needs: [model, corpus],
      run: at => this.steps.evaluate(at, { recipe: this.recipe, model: model.folder, corpus: corpus.folder }),
    })
  }
}
