import { asMethod } from '../cell.js'
import { specialize, type CellContext, type Outcome } from '../outcome.js'
import type { ModelSource } from '../stages.js'
import { pretrainedStart } from './plain.js'

/** slm-d: the large model, fine-tuned on the domain, teaches the small one on the same domain. */
export async function distill(context: CellContext): Promise<Outcome> {
  const { get, cell, stages, setup } = context, foreign = setup.distill.teacher
  const { tokens } = await get(stages.domain(cell)), as = asMethod(cell, 'llm')
  const large = foreign === undefined ? stages.pretrained(as) : stages.stored(foreign)
  const tuning = stages.finetune(as, large, tokens)
  const teacher: ModelSource = { stage: tuning, label: 'teacher', suffix: '', choice: large.choice, snapshot: null, folder: () => `${tuning.folder}/model` }
  const [student, tuned] = await Promise.all([pretrainedStart(context, 'slm'), get(tuning)])
  return specialize(context, {
    ...student, teacher,
    cost: { generic: { ...student.cost.generic, ...(foreign === undefined ? { teacher: stages.costsOf(stages.pretrained(as)) } : {}) }, specialization: { teacher: tuned.costs } },
  })
}
