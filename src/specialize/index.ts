export { finetune, type FinetuneOptions } from './finetune.js'
