import { NichelmError } from '../base/errors.js'
import { permuted, streamKey } from '../base/random.js'
import type { DrawWindow } from './batch.js'

/**
 * Draws every window with the same frequency: the windows that stand first in rows 0, 1, 2, ... go through all windows in a random order,
 * once an epoch; likewise those that stand second, in another order, and so on.
 *
 * `windows` is a count, for 0 .. count - 1, or the windows to draw from. There is no state: a row can be drawn again at any time.
 */
export function uniformSampler(windows: number | ArrayLike<number>, seed: number): DrawWindow {
  const count = typeof windows === 'number' ? windows : windows.length
  if (!(count >= 1)) throw new NichelmError('INPUT', 'there are no windows to draw from')
  const keys = new Map<number, { epoch: number; key: number }>() // the last key of every stream: a memo, nothing that changes a draw
  return (row, nth) => {
    const epoch = Math.floor(row / count)
    let memo = keys.get(nth)
    if (memo?.epoch !== epoch) keys.set(nth, memo = { epoch, key: streamKey(seed, `windows ${nth} ${epoch}`) })
    const index = permuted(memo.key, count, row % count)
    return typeof windows === 'number' ? index : windows[index]!
  }
}
