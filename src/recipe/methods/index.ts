import type { CellContext, Outcome } from '../outcome.js'
import type { Method } from '../schema.js'
import { checkCorpora } from '../check.js'
import { distill } from './distill.js'
import { experts, frequentExpert } from './experts.js'
import { importance } from './importance.js'
import { nopt, plain } from './plain.js'

const METHODS: Record<Method, (context: CellContext) => Promise<Outcome>> = {
  'slm': plain, 'slm-is': importance, 'slm-pn': experts, 'slm-mix': experts, 'slm-d': distill, 'slm-nopt': nopt, 'llm': plain, 'llm-lora': plain,
}

/** Finds what a cell asks for. */
export const findCell = (context: CellContext): Promise<Outcome> => METHODS[context.cell.method](context)

/** All that reads text, and what can be wrong with it, before anything is trained. */
export async function prepareCell(context: CellContext): Promise<void> {
  const { get, cell, stages } = context
  const [, generic, domain] = await Promise.all([get(stages.tokenizer()), get(stages.generic()), get(stages.domain(cell)), get(stages.genericHeldout()), get(stages.heldout(cell))])
  checkCorpora(cell, generic, domain)
  if (cell.clusters !== null) await get(stages.weights(cell))
  if (cell.ngrams) await get(stages.selection(cell))
  if (cell.experts !== null) await Promise.all([get(stages.assign(stages.genericHeldout(), cell.experts, cell.seed)), get(stages.assign(stages.generic(), cell.experts, cell.seed)), ...(cell.choice === 'frequent' ? [frequentExpert(context)] : [])])
}
