/**
 * Cuts `length` tokens of one document into windows of at most `context`, one after the other; gives their lengths.
 *
 * A last window shorter than `minimumLength` is dropped: it teaches little and costs a place. But a short document's only window is
 * kept if it has two tokens or more, so that a domain of short texts does not vanish.
 */
export function cutWindows(length: number, context: number, minimumLength: number): number[] {
  if (length <= context) return length >= 2 ? [length] : []
  const windows = new Array<number>(Math.floor(length / context)).fill(context)
  const rest = length % context
  if (rest >= minimumLength) windows.push(rest)
  return windows
}
