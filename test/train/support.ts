import { philox } from '../../src/base/random.js'
import { modelConfig, type HostRows } from '../../src/model/index.js'

export const config = modelConfig('nano', 61, { layers: 2, width: 32, heads: 2, context: 24 })

/** Text of a simple law, so that there is something to learn: the next token follows from the last, with a little noise. */
export function rows(first: number, count: number, length = 24): HostRows & { tokenCount: number; textBytes: number } {
  const tokens = new Int32Array(count * length), targets = new Int32Array(count * length), weights = new Float32Array(count * length)
  for (let r = 0; r < count; r++)
    for (let t = 0, token = philox(1, first + r, 0)[0] % 61; t < length; t++) {
      tokens[r * length + t] = token
      token = philox(2, first + r, t)[0] % 8 ? (token * 7 + 3) % 61 : philox(3, first + r, t)[0] % 61
      if (t + 1 < length) { targets[r * length + t] = token; weights[r * length + t] = 1 }
    }
  return { rows: count, length, tokens, targets, weights, starts: new Int32Array(count * length), tokenCount: count * length, textBytes: 3 * count * length }
}
