import { specialize, type CellContext, type Outcome } from '../outcome.js'

/** slm-is: pretrained for the domain, on generic windows drawn so that their clusters are the domain's. Only the clustering is shared by domains. */
export async function importance(context: CellContext): Promise<Outcome> {
  const { get, cell, stages } = context, { clusters, seed } = cell, from = stages.pretrained(cell)
  const [clustering, generic, domain, weights, { parameters }] = await Promise.all([
    get(stages.clustering(clusters!, seed)), get(stages.assign(stages.generic(), clusters!, seed)), get(stages.assign(stages.domain(cell), clusters!, seed)),
    get(stages.weights(cell)), get(from.stage),
  ])
  return specialize(context, {
    from, generic: null, pretrainingParameters: parameters, pretraining: { name: from.stage.name, folder: from.stage.folder, shared: false },
    cost: { generic: { clustering: stages.sum(clustering.costs, generic.costs) }, specialization: { histogram: domain.costs, pretraining: stages.costsOf(from) } },
    sampling: { generic, domain, weights },
  })
}
