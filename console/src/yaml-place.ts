/** Where in a YAML text somebody is typing. */
export interface YamlPlace {
  /** Keys from the root; `[]` for an entry of a list. */
  readonly path: readonly string[]
  readonly kind: 'key' | 'value'
  /** What of the word is there already. */
  readonly prefix: string
  /** Keys that the same map has before this place, on lines of the same depth or in the same braces. */
  readonly siblings: readonly string[]
  /** In braces or brackets: what is put in stays on the line. */
  readonly flow: boolean
  /** Spaces before a further key of the same map. */
  readonly indent: number
}

interface Line {
  /** Column of the first key, after dashes. */
  readonly indent: number
  /** Columns of the dashes. */
  readonly dashes: readonly number[]
  readonly key: string | undefined
  readonly rest: string
}

const LINE = /^( *)((?:- +)*)(?:([\w$."'/-]+):(?:\s+|$))?(.*)$/s

function read(text: string): Line | undefined {
  if (/^\s*(#.*)?$/.test(text) || /^(---|\.\.\.)/.test(text)) return undefined
  const [, spaces = '', lead = '', key, rest = ''] = LINE.exec(text) ?? []
  const dashes = [...lead.matchAll(/-/g)].map(({ index }) => spaces.length + index)
  return { indent: spaces.length + lead.length, dashes, key: key === undefined ? undefined : unquoted(key), rest }
}

const unquoted = (word: string): string => word.replace(/^(['"])(.*)\1$/, '$2')

/**
 * Reads as much of a text as it takes to know what belongs at an offset: block maps and lists by their indentation, braces
 * and brackets by what is open. A text that is no YAML (yet) gives the best guess; never throws.
 */
export function placeAt(text: string, offset: number): YamlPlace {
  const lines = wholeLines(text.slice(0, offset))
  const current = lines.pop() ?? ''
  const [, spaces = '', lead = '', key, rest = ''] = LINE.exec(current) ?? []
  const indent = spaces.length + lead.length
  const dashes = [...lead.matchAll(/-/g)].map(({ index }) => spaces.length + index)
  const { path, siblings } = blockContext(lines, indent, dashes)
  if (key === undefined && !/^[{[]/.test(rest)) {
    return { path, kind: 'key', prefix: rest, siblings, flow: false, indent }
  }
  const base = key === undefined ? path : [...path, unquoted(key)]
  const flow = new FlowReader()
  flow.read(rest)
  const inside = flow.context()
  if (inside === undefined) return { path: base, kind: 'value', prefix: rest, siblings: [], flow: false, indent }
  return { ...inside, path: [...base, ...inside.path], flow: true, indent }
}

/** The maps and lists that enclose a line of this depth. */
function blockContext(lines: readonly string[], indent: number, dashes: readonly number[]) {
  const path: string[] = dashes.map(() => '[]')
  const siblings: string[] = []
  let depth = dashes[0] ?? indent
  /** Column of the dashes of the list that was entered last. */
  let listAt = dashes[0]
  // A dash begins another map: what stood before it belongs to the entry before.
  let sameMap = dashes.length === 0
  for (let at = lines.length - 1; at >= 0; at--) {
    const text = lines[at]!
    if (/^---/.test(text)) break
    const line = read(text)
    if (line === undefined) continue
    if (sameMap && line.indent === indent && line.key !== undefined) siblings.push(line.key)
    if (line.dashes.length > 0 && line.indent === indent) sameMap = false
    const inner = line.dashes.filter((column) => column < depth)
    if (line.key !== undefined && line.indent < depth) {
      path.unshift(line.key)
      depth = line.indent
      listAt = undefined
      if (line.indent < indent) sameMap = false
    } else if (line.key !== undefined && line.indent === depth && listAt === depth && line.rest === '') {
      // A list may stand as deep as the key it belongs to.
      path.unshift(line.key)
      listAt = undefined
    }
    for (const column of inner.toReversed()) {
      path.unshift('[]')
      depth = Math.min(depth, column)
      listAt = column
    }
    if (depth === 0) {
      if (inner.length > 0) continue
      if (line.key !== undefined) break
    }
  }
  return { path, siblings }
}

/** Where a block goes on: a key or a dash. */
const BLOCK = /^ *(?:-(?: |$)|[\w$."'/-]+:(?:\s|$))/

const depthOf = (line: string): number => line.length - line.trimStart().length

/** Lines as the block sees them: what braces and brackets keep open is one line with the one they begin on. */
function wholeLines(text: string): string[] {
  const whole: string[] = []
  let open: { readonly lines: string[]; readonly flow: FlowReader; readonly depth: number } | undefined
  for (const line of text.split('\n')) {
    // Whoever forgot to close a brace is not to lose the rest of the text.
    const isBlock = /^(---|\.\.\.)/.test(line) || (BLOCK.test(line) && depthOf(line) <= (open?.depth ?? 0))
    if (open !== undefined && isBlock) {
      whole.push(open.lines.join('\n'))
      open = undefined
    }
    if (open === undefined) {
      const rest = LINE.exec(line)?.[4] ?? ''
      const flow = new FlowReader()
      if (/^[{[]/.test(rest)) flow.read(rest)
      if (flow.isOpen) open = { lines: [line], flow, depth: depthOf(line) }
      else whole.push(line)
      continue
    }
    open.lines.push(line)
    open.flow.read(`\n${line}`)
    if (open.flow.isOpen) continue
    whole.push(open.lines.join('\n'))
    open = undefined
  }
  if (open !== undefined) whole.push(open.lines.join('\n'))
  return whole
}

interface Level {
  readonly open: string
  readonly keys: string[]
  key: string | undefined
  word: string
}

/** Follows braces and brackets, piece by piece. */
class FlowReader {
  readonly #levels: Level[] = []
  #quote = ''
  #comment = false
  #before = ''

  get isOpen(): boolean {
    return this.#levels.length > 0
  }

  read(text: string): void {
    for (const letter of text) {
      this.#take(letter)
      this.#before = letter
    }
  }

  #take(letter: string): void {
    const level = this.#levels.at(-1)
    if (this.#comment) {
      this.#comment = letter !== '\n'
    } else if (this.#quote !== '') {
      if (letter === this.#quote) this.#quote = ''
      if (level !== undefined) level.word += letter
    } else if (letter === '"' || letter === "'") {
      this.#quote = letter
      if (level !== undefined) level.word += letter
    } else if (letter === '#' && /\s/.test(this.#before)) this.#comment = true
    else if (letter === '{' || letter === '[') {
      this.#levels.push({ open: letter, keys: [], key: undefined, word: '' })
    } else if (letter === '}' || letter === ']') this.#levels.pop()
    else if (level === undefined) return
    else if (letter === ',') {
      level.key = undefined
      level.word = ''
    } else if (letter === ':' && level.open === '{' && level.key === undefined) {
      level.key = unquoted(level.word.trim())
      level.keys.push(level.key)
      level.word = ''
    } else level.word += letter
  }

  /** Inside of what is still open; undefined when nothing is. */
  context(): Pick<YamlPlace, 'path' | 'kind' | 'prefix' | 'siblings'> | undefined {
    const last = this.#levels.at(-1)
    if (last === undefined) return undefined
    const path = this.#levels.flatMap((level) => {
      if (level.open === '[') return ['[]']
      return level.key === undefined ? [] : [level.key]
    })
    const isValue = last.open === '[' || last.key !== undefined
    return {
      path,
      kind: isValue ? 'value' : 'key',
      prefix: last.word.trimStart(),
      siblings: isValue ? [] : last.keys,
    }
  }
}
