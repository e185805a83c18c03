/** One import of a source file. */
export interface FoundImport {
  readonly specifier: string
  /** Counts from 1. */
  readonly line: number
}

type Token = { readonly kind: 'word' | 'text' | 'mark'; readonly text: string; readonly at: number }

const WORD = /[\p{ID_Start}$_#][\p{ID_Continue}$\u200c\u200d]*/uy
const NUMBER = /\d[\w.]*/y
const SPACE_OR_COMMENT = /(?:\s+|\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$))+/y
const STRING = /'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y
const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y

/** After these words a slash begins a regular expression and not a division. */
const BEFORE_VALUE = new Set('return typeof case do else in instanceof new void delete throw yield await of'.split(' '))

/**
 * Splits TypeScript into words, texts and marks: just enough to tell an import from the same letters inside a
 * comment, a string, a template or a regular expression. TypeScript 7 offers no stable parser to ask instead.
 */
function* tokens(source: string): Generator<Token> {
  /** For each open template, how many braces are open inside its `${`. */
  const templates: number[] = []
  let at = 0
  let last: Token | undefined
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(source)?.[0]
  }
  const valueMayStart = (): boolean =>
    last === undefined ||
    (last.kind === 'word' && BEFORE_VALUE.has(last.text)) ||
    (last.kind === 'mark' && !/[)\]}]/.test(last.text))
  const endOfTemplatePart = (from: number): { at: number; open: boolean } => {
    for (let i = from; i < source.length; i++) {
      if (source[i] === '\\') i++
      else if (source[i] === '`') return { at: i + 1, open: false }
      else if (source[i] === '$' && source[i + 1] === '{') return { at: i + 2, open: true }
    }
    return { at: source.length, open: false }
  }
  while (at < source.length) {
    const skipped = take(SPACE_OR_COMMENT)
    if (skipped !== undefined) {
      at += skipped.length
      continue
    }
    const character = source[at]!
    const text = take(STRING)
    const word = take(WORD)
    if (text !== undefined) last = { kind: 'text', text: text.slice(1, -1), at }
    else if (word !== undefined) last = { kind: 'word', text: word, at }
    else {
      const long = take(NUMBER) ?? (character === '/' && valueMayStart() ? take(REGEX) : undefined)
      // A number or an expression is a value: what follows it is no value again.
      last = long === undefined ? { kind: 'mark', text: character, at } : { kind: 'text', text: '', at }
      if (long !== undefined) at += long.length - 1
    }
    yield last
    at += text?.length ?? word?.length ?? 1
    const closes = last.kind === 'mark' && character === '}' && templates.at(-1) === 0
    if (last.kind === 'mark' && templates.length > 0 && !closes) {
      if (character === '{') templates.push(templates.pop()! + 1)
      if (character === '}') templates.push(templates.pop()! - 1)
    }
    if ((last.kind === 'mark' && character === '`') || closes) {
      if (closes) templates.pop()
      const part = endOfTemplatePart(at)
      // A template without holes can name a module too: import(`./a.ts`).
      if (!closes && !part.open) yield { kind: 'text', text: source.slice(at, part.at - 1), at }
      at = part.at
      if (part.open) templates.push(0)
      else last = { kind: 'text', text: '', at }
    }
  }
}

/**
 * Every module a source names: `import`, `export ... from`, `import()`, `import.meta.resolve()`, type imports too.
 * Only literal names are found; a computed `import(name)` has none to check.
 */
export function findImports(source: string): FoundImport[] {
  const all = [...tokens(source)]
  const found: FoundImport[] = []
  const add = ({ text, at }: Token) => found.push({ specifier: text, line: source.slice(0, at).split('\n').length })
  for (const [index, token] of all.entries()) {
    const before = all[index - 1]
    if (token.kind !== 'word' || (before?.kind === 'mark' && before.text === '.')) continue
    const next = all[index + 1]
    if (token.text === 'from' && next?.kind === 'text' && inImportClause(all, index)) add(next)
    else if (token.text === 'require' && next?.text === '(' && all[index + 2]?.kind === 'text') add(all[index + 2]!)
    else if (token.text === 'import') {
      if (next?.kind === 'text') add(next)
      const name = next?.text === '(' ? firstText(all, index + 2) : undefined
      if (name !== undefined) add(name)
      const resolve = all.slice(index + 1, index + 6)
      const words = resolve.map(({ text }) => text).join('')
      if (words === '.meta.resolve(' || words.startsWith('.meta.resolve')) {
        const target = firstText(all, index + 6)
        if (target !== undefined) add(target)
      }
    }
  }
  return found
}

/** The text right after an opening bracket, past the mark that opens a template. */
function firstText(all: readonly Token[], index: number): Token | undefined {
  const token = all[index]
  if (token?.kind === 'text') return token
  return token?.text === '`' && all[index + 1]?.kind === 'text' ? all[index + 1] : undefined
}

/** Whether a `from` belongs to an import or export: going back, only names, braces, commas and a star may come. */
function inImportClause(all: readonly Token[], from: number): boolean {
  for (let i = from - 1; i >= 0; i--) {
    const { kind, text } = all[i]!
    if (kind === 'word' && (text === 'import' || text === 'export')) return true
    if (kind === 'mark' && !'{},*'.includes(text)) return false
  }
  return false
}
