/** Reads `3,5-7` or 3 as [3, 5, 6, 7]; a list of such is read item by item; anything else is left for the check that follows. Ascending, each once. */
export function readExperts(value: unknown): unknown {
  const items = Array.isArray(value) ? value : [value], all = new Set<number>()
  for (const item of items) {
    if (typeof item === 'number') {
      all.add(item)
      continue
    }
    if (typeof item !== 'string') return value
    for (const part of item.split(',')) {
      const match = /^\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?$/.exec(part)
      if (!match) return value
      const first = Number(match[1]), last = Number(match[2] ?? match[1])
      if (last < first) return value
      for (let expert = first; expert <= last; expert++) all.add(expert)
    }
  }
  return [...all].sort((a, b) => a - b)
}

/** The other way round: [3, 5, 6, 7] as `3,5-7`. */
export function expertText(experts: readonly number[]): string {
  const parts: string[] = []
  for (let i = 0; i < experts.length;) {
    let last = i
    while (experts[last + 1] === experts[last]! + 1) last++
    parts.push(last > i ? `${experts[i]}-${experts[last]}` : String(experts[i]))
    i = last + 1
  }
  return parts.join(',')
}
