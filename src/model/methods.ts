/** The methods of arXiv 2402.01093, in the order in which tables and figures show them. */
export const METHOD_NAMES = ['slm', 'slm-is', 'slm-pn', 'slm-mix', 'slm-d', 'slm-nopt', 'llm', 'llm-lora'] as const
export type MethodName = (typeof METHOD_NAMES)[number]

/** What each method is, in a line. */
export const METHOD_WORDS: Record<MethodName, string> = {
  'slm': 'small model, pretrained on the generic set, fine-tuned on the domain',
  'slm-is': 'small model, pretrained on the generic set resampled to match the domain, fine-tuned',
  'slm-pn': 'projected network: one network that holds a small model per cluster; one of them is fine-tuned',
  'slm-mix': 'hard mixture: a small model pretrained per cluster; one of them is fine-tuned',
  'slm-d': 'small model, pretrained, fine-tuned on the domain with a large teacher',
  'slm-nopt': 'small model, trained on the domain only',
  'llm': 'large model, pretrained and fine-tuned',
  'llm-lora': 'large model, pretrained; fine-tuned by low-rank updates of its attention',
}
