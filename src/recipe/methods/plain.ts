import { asMethod, type Cell } from '../cell.js'
import { specialize, type CellContext, type Outcome, type Start } from '../outcome.js'

/** Pretrained once for all domains: slm, and with the large model llm and llm-lora. */
export async function plain(context: CellContext): Promise<Outcome> {
  return specialize(context, await pretrainedStart(context, context.cell.method === 'slm' ? 'slm' : 'llm'))
}

/** The generically pretrained model of a size, evaluated on generic text. */
export async function pretrainedStart({ get, cell, stages }: CellContext, size: 'slm' | 'llm'): Promise<Start & { from: NonNullable<Start['from']> }> {
  const own: Cell = asMethod(cell, size), from = stages.pretrained(own)
  const generic = get(stages.evaluate(`${from.label}${from.snapshot === null ? '' : stages.budget(cell)}-generic`, from, stages.genericHeldout()))
  generic.catch(() => {})
  const { parameters } = await get(from.stage)
  return {
    from, generic, pretrainingParameters: parameters, pretraining: { name: from.stage.name, folder: from.stage.folder, shared: true },
    cost: { generic: { pretraining: stages.costsOf(from) }, specialization: {} },
  }
}

/** slm-nopt: a random start, and the domain alone. */
export async function nopt(context: CellContext): Promise<Outcome> {
  return specialize(context, { from: null, generic: null, pretrainingParameters: null, pretraining: null, cost: { generic: {}, specialization: {} } })
}
