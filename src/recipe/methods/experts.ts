import { NichelmError } from '../../base/errors.js'
import { expertsTrained, trainedText } from '../cell.js'
import { specialize, type CellContext, type Outcome, type Parts } from '../outcome.js'
import type { ModelSource } from '../stages.js'
import type { Stage } from '../stage.js'
import type { EvaluateResult, ExpertsInput, StoredCosts } from '../steps.js'

/** What slm-pn and slm-mix have alike: experts, each an ordinary small model for one cluster. */
interface Experts {
  label: string
  trained: number[]
  model(expert: number): ModelSource
  /** What the choice among experts needs, and how it reads them. */
  needs(experts: readonly number[]): Stage[]
  snapshot: number | null
  input(experts: readonly number[]): ExpertsInput
  /** After pretraining. */
  pretraining(): Promise<{ costs: StoredCosts; parameters: number; run: NonNullable<Outcome['pretraining']> | null }>
}

/** slm-pn and slm-mix: pretrained for all domains, then one expert is chosen and fine-tuned. */
export async function experts(context: CellContext): Promise<Outcome> {
  const { get, cell, stages } = context, source = cell.method === 'slm-pn' ? projected(context) : mixture(context), count = cell.experts!
  const { expert, costs } = await choose(context, source)
  const from = expert === 'mean' ? stages.instantiateMean(stages.pretrained(cell), cell) : source.model(expert), complete = source.trained.length === count
  const generic: Promise<EvaluateResult> | null = complete
    ? get(stages.evaluateExperts(source.label, cell, source.needs(source.trained), source.snapshot, () => source.input(source.trained))) : null
  generic?.catch(() => {})
  const [pretraining, clustering, assigned] = await Promise.all([
    source.pretraining(), get(stages.clustering(count, cell.seed)), get(stages.assign(stages.generic(), count, cell.seed)), get(from.stage),
  ])
  return specialize(context, {
    from, generic, ...(expert === 'mean' ? {} : { expert }), pretrainingParameters: pretraining.parameters, pretraining: pretraining.run,
    cost: { generic: { clustering: stages.sum(clustering.costs, assigned.costs), pretraining: pretraining.costs }, specialization: costs },
  })
}

/** The expert of the domain's most frequent cluster. Throws CONFIG if it is not trained. */
export async function frequentExpert({ get, cell, stages, setup }: CellContext): Promise<{ expert: number; costs: StoredCosts }> {
  const { topCluster, costs } = await get(stages.assign(stages.domain(cell), cell.experts!, cell.seed))
  if (topCluster >= 0 && !expertsTrained(setup, cell).includes(topCluster)) {
    throw new NichelmError('CONFIG', `${cell.domain} needs expert ${topCluster}, that of its most frequent cluster, but only ${trainedText(setup, cell)} are trained`, {
      place: { field: 'mixture.experts' }, fix: `Add ${topCluster}, leave the list out to train all, or use another choice.`,
    })
  }
  return { expert: topCluster, costs }
}

async function choose(context: CellContext, source: Experts): Promise<{ expert: number | 'mean'; costs: Parts }> {
  const { get, cell, stages, setup } = context
  if (cell.choice === 'mean') return { expert: 'mean', costs: { choice: (await get(stages.assign(stages.domain(cell), cell.experts!, cell.seed))).costs } }
  if (cell.choice === 'frequent') {
    const { expert, costs } = await frequentExpert(context)
    return { expert, costs: { choice: costs } }
  }
  const listed = setup.choice.experts, tried = listed ? source.trained.filter(expert => listed.includes(expert)) : source.trained
  if (cell.choice === 'best-pretrained') {
    const { expert, costs } = await get(stages.choose(cell, source.label, tried, source.needs(tried), source.snapshot, () => source.input(tried)))
    return { expert, costs: { choice: costs } }
  }
  const { tokens } = await get(stages.domain(cell))
  const tuned = await Promise.all(tried.map(async expert => ({ expert, ...await get(stages.finetune(cell, source.model(expert), tokens)) })))
  const best = tuned.reduce((a, b) => (b.validation ?? Infinity) < (a.validation ?? Infinity) ? b : a)
  // The fine-tuning of the best is counted as such.
  return { expert: best.expert, costs: { choice: stages.sum(...tuned.filter(one => one !== best).map(one => one.costs)) } }
}

function projected({ get, cell, stages }: CellContext): Experts {
  const pretrained = stages.pretrained(cell)
  return {
    label: `${pretrained.label}${pretrained.snapshot === null ? '' : stages.budget(cell)}`, trained: Array.from({ length: cell.experts! }, (_, expert) => expert), snapshot: pretrained.snapshot,
    model: expert => stages.instantiate(pretrained, cell, expert),
    needs: () => [pretrained.stage],
    input: all => ({ projected: pretrained.folder(), experts: [...all] }),
    pretraining: async () => {
      const { parameters } = await get(pretrained.stage)
      return { costs: stages.costsOf(pretrained), parameters, run: { name: pretrained.stage.name, folder: pretrained.stage.folder, shared: true } }
    },
  }
}

function mixture({ get, cell, stages, setup }: CellContext): Experts {
  const trained = expertsTrained(setup, cell), one = (expert: number) => stages.pretrained(cell, expert), first = one(trained[0]!)
  return {
    label: `${first.label.replace(/-expert\d+/, '')}${first.snapshot === null ? '' : stages.budget(cell)}`, trained, snapshot: first.snapshot,
    // A choice that is not made yet, in a dry run.
    model: expert => expert < 0 ? { ...first, suffix: first.suffix.replace(/\d+$/, '?') } : one(expert),
    needs: all => all.map(expert => one(expert).stage),
    input: all => ({ folders: all.map(expert => ({ expert, folder: one(expert).folder() })) }),
    pretraining: async () => {
      const results = await Promise.all(trained.map(expert => get(one(expert).stage)))
      return { costs: stages.sum(...trained.map(expert => stages.costsOf(one(expert)))), parameters: results.reduce((sum, result) => sum + result.parameters, 0), run: null }
    },
  }
}
