import { join } from 'node:path'
import { NichelmError } from '../base/errors.js'
import { writeJson } from '../base/files.js'
import { openModelTensors } from '../base/modelTensors.js'
import { writeSafetensors, type TensorSource, type TensorToWrite } from '../base/safetensors.js'
import { headWidth, type ModelConfig } from './config.js'
import { familyOf, fromHuggingFaceConfig, toHuggingFaceConfig } from './huggingFaceConfig.js'
import { parameterSpecs, sizeOf, type ParameterSpec } from './parameters.js'

/** A tensor of a Hugging Face file and the columns of our parameter that it holds; Llama's linear layers are stored outputs-by-inputs. */
interface Piece { name: string; shape: readonly number[]; transposed: boolean; column: number; columns: number }

/** The Hugging Face tensors that make up a parameter, in the order of its columns. */
export function piecesOf(spec: ParameterSpec, config: ModelConfig): Piece[] {
  return familyOf(config) === 'llama' ? llamaPieces(spec, config) : [{ name: gpt2Name(spec.name), shape: spec.shape, transposed: false, column: 0, columns: spec.shape.at(-1)! }]
}

function gpt2Name(name: string): string {
  if (name === 'head.weight') return 'lm_head.weight'
  return `transformer.${name
    .replace(/norm_(\w)/, 'ln_$1').replace('.gain', '.weight')
    .replace('attention.qkv', 'attn.c_attn').replace('attention.projection', 'attn.c_proj')
    .replace('mlp.up', 'mlp.c_fc').replace('mlp.down', 'mlp.c_proj')}`
}

function llamaPieces(spec: ParameterSpec, config: ModelConfig): Piece[] {
  const [rows, columns] = spec.shape as [number, number]
  const plain = (name: string): Piece[] => [{ name, shape: spec.shape, transposed: false, column: 0, columns: spec.shape.at(-1)! }]
  const linear = (prefix: string, ...parts: [string, number][]): Piece[] => {
    let column = 0
    return parts.map(([part, width]) => ({ name: `${prefix}.${part}_proj.weight`, shape: [width, rows], transposed: true, column: (column += width) - width, columns: width }))
  }
  if (spec.name === 'wte.weight') return plain('model.embed_tokens.weight')
  if (spec.name === 'head.weight') return plain('lm_head.weight')
  if (spec.name === 'norm_f.gain') return plain('model.norm.weight')
  const [, layer, part] = /^h\.(\d+)\.(.*)$/.exec(spec.name)!
  const at = `model.layers.${layer}`, keys = config.keyValueHeads * headWidth(config)
  switch (part) {
    case 'norm_1.gain': return plain(`${at}.input_layernorm.weight`)
    case 'norm_2.gain': return plain(`${at}.post_attention_layernorm.weight`)
    case 'attention.qkv.weight': return linear(`${at}.self_attn`, ['q', config.width], ['k', keys], ['v', keys])
    case 'attention.projection.weight': return linear(`${at}.self_attn`, ['o', columns])
    case 'mlp.up.weight': return linear(`${at}.mlp`, ['gate', config.mlp], ['up', config.mlp])
    default: return linear(`${at}.mlp`, ['down', columns])
  }
}

/** A parameter's values from its pieces; `read` gives a piece's elements. */
export function joinPieces(spec: ParameterSpec, config: ModelConfig, read: (piece: Piece) => Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const pieces = piecesOf(spec, config)
  if (pieces.length === 1 && !pieces[0]!.transposed) return read(pieces[0]!)
  const values = new Float32Array(sizeOf(spec)), [rows, columns] = spec.shape as [number, number]
  for (const piece of pieces) {
    const from = read(piece)
    for (let c = 0; c < piece.columns; c++) for (let r = 0; r < rows; r++) values[r * columns + piece.column + c] = from[c * rows + r]!
  }
  return values
}

/** One piece's elements out of its parameter's values. */
export function cutPiece(spec: ParameterSpec, piece: Piece, values: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  if (!piece.transposed) return values
  const [rows, columns] = spec.shape as [number, number], into = new Float32Array(rows * piece.columns)
  for (let c = 0; c < piece.columns; c++) for (let r = 0; r < rows; r++) into[c * rows + r] = values[r * columns + piece.column + c]!
  return into
}

/** A model as it lies in a folder: its configuration, and its parameters one by one. */
export interface StoredModel { config: ModelConfig; parameters(): Iterable<{ name: string; values: Float32Array<ArrayBuffer> }> }

/**
 * Opens a Hugging Face folder (config.json, model.safetensors or its shards) of a GPT-2 or Llama model.
 * Names and shapes of all tensors are checked now; values when they are read: a NaN or infinity is CORRUPT and names the tensor.
 */
export function openHuggingFace(folder: string): StoredModel {
  const config = fromHuggingFaceConfig(folder)
  const specs = parameterSpecs(config)
  const check = (source: TensorSource): void => {
    for (const spec of specs)
      for (const piece of piecesOf(spec, config)) {
        const { shape } = source.entry(nameIn(source, piece.name, folder))
        if (shape.join() !== piece.shape.join())
          throw new NichelmError('INPUT', `has the shape [${shape.join(', ')}]; config.json says [${piece.shape.join(', ')}]`, { place: { file: folder, field: piece.name } })
      }
  }
  {
    using source = openModelTensors(folder)
    check(source)
  }
  return {
    config,
    *parameters() {
      using source = openModelTensors(folder)
      for (const spec of specs) yield { name: spec.name, values: joinPieces(spec, config, (piece) => source.readF32(nameIn(source, piece.name, folder), { finite: true })) }
    },
  }
}

/** GPT-2 files come with and without the prefix `transformer.`, Llama files with and without `model.`. */
function nameIn(source: TensorSource, name: string, folder: string): string {
  const short = name.replace(/^(transformer|model)\./, '')
  const found = [name, short].find((candidate) => source.has(candidate))
  if (!found) throw new NichelmError('INPUT', 'there is no such tensor, but config.json asks for it', { place: { file: folder, field: name } })
  return found
}

/** Writes config.json and model.safetensors (f32) of a Hugging Face folder; `read` gives a parameter's values, `readParts` gives them part by part where that can be. */
export function writeHuggingFace(
  folder: string, config: ModelConfig, read: (name: string) => Float32Array<ArrayBuffer>, endOfText?: number, readParts?: (name: string) => Generator<Float32Array<ArrayBuffer>> | undefined,
): void {
  const json = toHuggingFaceConfig(config, endOfText)
  const tensors: TensorToWrite<'F32'>[] = parameterSpecs(config).flatMap((spec) =>
    piecesOf(spec, config).map((piece) => ({ name: piece.name, dtype: 'F32' as const, shape: piece.shape, data: () => (piece.transposed ? undefined : readParts?.(spec.name)) ?? cutPiece(spec, piece, read(spec.name)) })))
  writeSafetensors(join(folder, 'model.safetensors'), tensors, { metadata: { format: 'pt' } })
  writeJson(join(folder, 'config.json'), json)
}
