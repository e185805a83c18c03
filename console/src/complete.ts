import { placeAt } from './yaml-place.ts'

/** What may stand at a place of a model, from `GET /v1/schema`. */
export interface SchemaWords {
  readonly about?: string
  readonly type?: string
  readonly keys?: Readonly<Record<string, SchemaWords>>
  readonly values?: readonly (string | number | boolean)[]
  readonly item?: SchemaWords
}

export interface Suggestion {
  readonly word: string
  readonly about: string
  /** What replaces the word before the caret. */
  readonly insert: string
}

export interface Completion {
  readonly suggestions: readonly Suggestion[]
  /** Letters before the caret that the suggestion replaces. */
  readonly replaces: number
}

const MOST = 40

/** What fits at an offset of a model's text. */
export function complete(text: string, offset: number, root: SchemaWords): Completion {
  const place = placeAt(text, offset)
  const prefix = place.prefix.trimStart()
  let words: SchemaWords | undefined = root
  for (const key of place.path) words = key === '[]' ? words?.item : (words?.keys?.[key] ?? words?.item)
  if (words === undefined) return { suggestions: [], replaces: 0 }
  const fits = (word: string) => word.toLowerCase().startsWith(prefix.toLowerCase())
  const found: Suggestion[] = []
  if (place.kind === 'key') {
    for (const [word, each] of Object.entries(words.keys ?? {})) {
      if (!fits(word) || place.siblings.includes(word)) continue
      found.push({ word, about: each.about ?? each.type ?? '', insert: insertOf(word, each, place.flow, place.indent) })
    }
  } else {
    const values = words.values ?? (words.type === 'boolean' ? [true, false] : [])
    for (const value of values) {
      const word = String(value)
      if (fits(word)) found.push({ word, about: '', insert: word })
    }
  }
  return { suggestions: found.slice(0, MOST), replaces: prefix.length }
}

function insertOf(word: string, { type }: SchemaWords, flow: boolean, indent: number): string {
  const deeper = ' '.repeat(indent + 2)
  if (flow || (type !== 'object' && type !== 'array')) return `${word}: `
  return `${word}:\n${deeper}${type === 'array' ? '- ' : ''}`
}
