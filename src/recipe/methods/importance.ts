import { specialize, type CellContext, type Outcome } from '../outcome.js'

/**
 * slm-is: pretrained for the domain, on generic windows drawn so that their clusters are the domain's, or chosen by n-grams to be like it, or some of both.
 * Only the clustering is shared by domains.
 */
export async function importance(context: CellContext): Promise<Outcome> {
  const { get, cell, stages } = context, from = stages.pretrained(cell)
  const [sampling, selected, { parameters }] = await Promise.all([samplingOf(context), cell.ngrams ? get(stages.selection(cell)) : null, get(from.stage)])
  const clustering = sampling && { clustering: stages.sum(sampling.clustering, sampling.generic.costs) }
  return specialize(context, {
    from, generic: null, pretrainingParameters: parameters, pretraining: { name: from.stage.name, folder: from.stage.folder, shared: false },
    cost: {
      generic: { ...clustering },
      specialization: { ...(sampling ? { histogram: sampling.domain.costs } : {}), ...(selected ? { selection: selected.costs } : {}), pretraining: stages.costsOf(from) },
    },
    ...(sampling ? { sampling: { generic: sampling.generic, domain: sampling.domain, weights: sampling.weights } } : {}),
  })
}

async function samplingOf({ get, cell, stages }: CellContext) {
  const { clusters, seed } = cell
  if (clusters === null) return null
  const [{ costs: clustering }, generic, domain, weights] = await Promise.all([
    get(stages.clustering(clusters, seed)), get(stages.assign(stages.generic(), clusters, seed)), get(stages.assign(stages.domain(cell), clusters, seed)), get(stages.weights(cell)),
  ])
  return { clustering, generic, domain, weights }
}
