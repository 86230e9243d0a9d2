/** A measured quality: after so many pretraining tokens a served parameter, the mean loss after fine-tuning, nats a token. */
export interface CurvePoint { ratio: number; nll: number }

/** What a curve says; `outside`: how many times beyond what was measured, 1 within it. */
export interface Reading { nll: number; outside: number }

/**
 * How loss falls with tokens where nothing was measured: L = a + b · tokens^-0.37, the exponent of Hoffmann et al. (arXiv 2203.15556) as refitted by Besiroglu et al. (arXiv 2404.10102);
 * a and b go through the two measured points that are nearest.
 */
export const TOKEN_EXPONENT = 0.3658

/**
 * Loss at a ratio: between two points linear in the logarithm of tokens, outside by the power law. One point alone says nothing of a slope: undefined then, unless the ratio is its own.
 * Points ascend.
 */
export function readCurve(points: readonly CurvePoint[], ratio: number): Reading | undefined {
  const first = points[0], last = points.at(-1)
  if (!first || !last || !(ratio > 0)) return undefined
  if (points.length === 1) return Math.abs(ratio / first.ratio - 1) < 1e-9 ? { nll: first.nll, outside: 1 } : undefined
  const above = points.findIndex(point => point.ratio >= ratio)
  if (above > 0 || above === 0 && first.ratio === ratio) {
    const b = points[above]!, a = points[Math.max(0, above - 1)]!
    return { nll: a === b ? b.nll : a.nll + (b.nll - a.nll) * Math.log(ratio / a.ratio) / Math.log(b.ratio / a.ratio), outside: 1 }
  }
  const [a, b] = above < 0 ? [points.at(-2)!, last] : [first, points[1]!]
  const power = (at: number): number => at ** -TOKEN_EXPONENT
  // A loss that rises with tokens is noise: the curve is then flat.
  const slope = Math.max(0, (a.nll - b.nll) / (power(a.ratio) - power(b.ratio))), near = above < 0 ? last : first
  return { nll: near.nll + slope * (power(ratio) - power(near.ratio)), outside: above < 0 ? ratio / last.ratio : first.ratio / ratio }
}

/** Between sizes of data linear in their logarithm, beyond them as at the nearest. */
export function readSizes<Value extends Reading>(sizes: readonly number[], tokens: number, at: (size: number) => Value | undefined): Reading | undefined {
  const known = sizes.flatMap(size => { const value = at(size); return value ? [{ size, value }] : [] }).sort((a, b) => a.size - b.size)
  const above = known.findIndex(({ size }) => size >= tokens)
  if (above <= 0) return known.length ? known[above < 0 ? known.length - 1 : 0]!.value : undefined
  const a = known[above - 1]!, b = known[above]!, share = Math.log(tokens / a.size) / Math.log(b.size / a.size)
  return { nll: a.value.nll + share * (b.value.nll - a.value.nll), outside: Math.max(a.value.outside, b.value.outside) }
}
