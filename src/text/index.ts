export { readDocuments, type Document, type ReadOptions } from './documents.js'
export { findSources, type SourceFile } from './sources.js'
export { Tokenizer, type EncodeOptions, type TextSource, type TrainOptions } from './tokenizer.js'
