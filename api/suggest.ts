/** Edits (insert, delete, replace, swap neighbours) between two words, capped: more than `most` is `most + 1`. */
function editDistance(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return most + 1
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1)
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}

const LONGEST_WORD = 64

/** The candidate that a mistyped word most likely meant; undefined when none is near. */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > LONGEST_WORD) return undefined
  const wanted = word.toLowerCase()
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const other = candidate.toLowerCase()
    const distance = editDistance(wanted, other, bestDistance)
    // `readWrite` for `readwrite`, `baudrate` for `baud`: nearer than any count of edits.
    const near = other.length > 2 && wanted.length > 2 && (wanted.startsWith(other) || other.startsWith(wanted))
    const score = wanted === other ? 0 : near ? Math.min(distance, 1) : distance
    if (score < bestDistance) {
      best = candidate
      bestDistance = score
    }
  }
  return best
}

const MOST_LISTED = 24

/** `a, b, c`, cut with a count where the list is long. */
export function listed(words: readonly string[]): string {
  if (words.length <= MOST_LISTED) return words.join(', ')
  return `${words.slice(0, MOST_LISTED).join(', ')} and ${words.length - MOST_LISTED} more`
}

/** `Did you mean 'x'?`, or what there is to choose from. */
export function didYouMean(word: string, candidates: readonly string[], otherwise: string): string {
  const meant = suggest(word, candidates)
  if (meant !== undefined) return `Did you mean '${meant}'?`
  return candidates.length === 0 ? otherwise : `${otherwise} ${listed(candidates)}.`
}

const LONGEST_SHOWN = 60

/** A value as it is shown inside a message: JSON, shortened. */
export function shown(value: unknown): string {
  if (typeof value === 'string') {
    const cut = value.length > LONGEST_SHOWN ? `${value.slice(0, LONGEST_SHOWN)}…` : value
    return JSON.stringify(cut)
  }
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'a map'
  if (typeof value === 'number') return String(value)
  return JSON.stringify(value) ?? 'nothing'
}
