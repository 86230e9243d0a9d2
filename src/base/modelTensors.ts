import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { NichelmError } from './errors.js'
import { readJson } from './files.js'
import { SafetensorsFile, type ElementRange, type TensorArray, type TensorEntry, type TensorSource } from './safetensors.js'

const WHOLE = 'model.safetensors', INDEX = 'model.safetensors.index.json'

/**
 * The tensors of a Hugging Face model folder: model.safetensors, or the shards that model.safetensors.index.json lists.
 * Throws INPUT if the folder has neither or a shard is missing, CORRUPT if the index and the shards do not agree.
 */
export function openModelTensors(folder: string): TensorSource {
  const whole = join(folder, WHOLE), index = join(folder, INDEX)
  if (existsSync(whole)) return new SafetensorsFile(whole)
  if (existsSync(index)) return new ShardedTensors(folder, index)
  throw new NichelmError('INPUT', `holds neither ${WHOLE} nor ${INDEX}`, { place: { file: folder }, fix: 'Give a Hugging Face model folder; weights in another format must be converted to safetensors first.' })
}

/** Tensors spread over several files, as an index tells. */
class ShardedTensors implements TensorSource {
  readonly #shards = new Map<string, SafetensorsFile>()
  readonly #place = new Map<string, SafetensorsFile>()
  readonly #index: string

  constructor(folder: string, index: string) {
    this.#index = index
    const json = readJson(index) as { weight_map?: unknown } | null
    const map = json?.weight_map
    if (typeof map !== 'object' || map === null || Array.isArray(map)) throw this.#corrupt('is not an object from tensor to file', 'weight_map')
    try {
      for (const [name, file] of Object.entries(map)) {
        // A name with a separator could lead out of the folder.
        if (typeof file !== 'string' || file === '' || /[/\\]/.test(file)) throw this.#corrupt(`lies in ${JSON.stringify(file)}, which is no file name`, name)
        let shard = this.#shards.get(file)
        if (!shard) this.#shards.set(file, shard = new SafetensorsFile(join(folder, file)))
        if (!shard.has(name)) throw this.#corrupt(`is not in ${file}`, name)
        this.#place.set(name, shard)
      }
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  get names(): string[] { return [...this.#place.keys()] }
  has(name: string): boolean { return this.#place.has(name) }
  entry(name: string): TensorEntry { return this.#of(name).entry(name) }
  read(name: string, range?: ElementRange): TensorArray { return this.#of(name).read(name, range) }
  readF32(name: string, options?: ElementRange & { finite?: boolean }): Float32Array<ArrayBuffer> { return this.#of(name).readF32(name, options) }
  verify(): number { return [...this.#shards.values()].reduce((sum, shard) => sum + shard.verify(), 0) }
  [Symbol.dispose](): void { for (const shard of this.#shards.values()) shard[Symbol.dispose]() }

  #of(name: string): SafetensorsFile {
    const shard = this.#place.get(name)
    if (!shard) throw new NichelmError('INPUT', `lists no tensor "${name}"`, { place: { file: this.#index } })
    return shard
  }
  #corrupt(what: string, field: string): NichelmError { return new NichelmError('CORRUPT', what, { place: { file: this.#index, field } }) }
}
