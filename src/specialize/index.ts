export { chooseBestPretrained, EXPERT_CHOICES, type Choice, type ChooseOptions, type ExpertChoice, type Experts } from './chooseExpert.js'
export { finetune, type FinetuneOptions } from './finetune.js'
export { finetuneRule, type FinetuneRule } from './rules.js'
