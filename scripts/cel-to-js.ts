import { SluiceError } from '../api/errors.ts'

/**
 * Turns the small part of CEL that the schemas' rules use into one JavaScript expression over `self`, so that the
 * very same rule holds in the API server and offline. Everything else is refused when validators are generated.
 *
 * Missing fields read as undefined and compare as false; the rules guard them with `has()` anyway.
 */

type Token = { readonly kind: 'name' | 'number' | 'string' | 'op' | 'end'; readonly text: string }

const TOKEN =
  /\s*(?:([A-Za-z_]\w*)|(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(&&|\|\||[=!<>]=|[-+*/%<>!?:()[\],.]))/y

const refuse = (rule: string, what: string): never => {
  throw new SluiceError('SLUICE_CEL_UNSUPPORTED', `${what} in the rule: ${rule}`, {
    hint: 'Say it with has(), comparisons, in, &&, ||, !, ?:, arithmetic, size() or startsWith/endsWith/contains.',
  })
}

function tokenize(rule: string): Token[] {
  const tokens: Token[] = []
  const end = rule.trimEnd().length
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex
    const match = TOKEN.exec(rule)
    if (match === null) return refuse(rule, `cannot read '${rule.slice(at, at + 10)}'`)
    const [, name, number, string, op] = match
    if (name !== undefined) tokens.push({ kind: 'name', text: name })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else if (string !== undefined) tokens.push({ kind: 'string', text: string })
    else tokens.push({ kind: 'op', text: op! })
  }
  return [...tokens, { kind: 'end', text: 'the end' }]
}

/** Binding power of CEL's binary operators, weakest first. */
const BINARY: Readonly<Record<string, number>> = {
  '||': 1,
  '&&': 2,
  '==': 3,
  '!=': 3,
  '<': 3,
  '<=': 3,
  '>': 3,
  '>=': 3,
  in: 3,
  '+': 4,
  '-': 4,
  '*': 5,
  '/': 5,
  '%': 5,
}

const METHODS: Readonly<Record<string, string>> = {
  startsWith: 'startsWith',
  endsWith: 'endsWith',
  contains: 'includes',
}

class Translator {
  private readonly rule: string
  private readonly tokens: readonly Token[]
  private at = 0

  constructor(rule: string) {
    this.rule = rule
    this.tokens = tokenize(rule)
  }

  whole(): string {
    const js = this.conditional()
    if (this.peek().kind !== 'end') refuse(this.rule, `unexpected '${this.peek().text}'`)
    return js
  }

  private peek(): Token {
    return this.tokens[this.at]!
  }

  private next(): Token {
    return this.tokens[this.at++]!
  }

  private skip(text: string): boolean {
    if (this.peek().text !== text || this.peek().kind === 'string') return false
    this.at++
    return true
  }

  private expect(text: string): void {
    if (!this.skip(text)) refuse(this.rule, `expected '${text}' before '${this.peek().text}'`)
  }

  private conditional(): string {
    const condition = this.binary(1)
    if (!this.skip('?')) return condition
    const yes = this.conditional()
    this.expect(':')
    return `(${condition} ? ${yes} : ${this.conditional()})`
  }

  private binary(weakest: number): string {
    let left = this.unary()
    for (;;) {
      const { kind, text } = this.peek()
      const power = kind === 'string' ? undefined : BINARY[text]
      if (power === undefined || power < weakest) return left
      this.at++
      const right = this.binary(power + 1)
      if (text === 'in') left = `isIn(${left}, ${right})`
      else if (text === '==') left = `equal(${left}, ${right})`
      else if (text === '!=') left = `!equal(${left}, ${right})`
      else left = `(${left} ${text} ${right})`
    }
  }

  private unary(): string {
    if (this.skip('!')) return `!(${this.unary()})`
    if (this.skip('-')) return `-(${this.unary()})`
    return this.member(this.primary())
  }

  private member(base: string): string {
    let js = base
    for (;;) {
      if (this.skip('[')) {
        js = `${js}?.[${this.conditional()}]`
        this.expect(']')
      } else if (this.skip('.')) {
        const { kind, text } = this.next()
        if (kind !== 'name') refuse(this.rule, `'${text}' after a dot`)
        if (!this.skip('(')) js = `${js}?.${text.replace(/^__(\w+)__$/, '$1')}`
        else js = this.call(js, text)
      } else return js
    }
  }

  private call(target: string, name: string): string {
    const args = this.list(')')
    if (name === 'size' && args.length === 0) return `size(${target})`
    const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined
    if (method === undefined || args.length !== 1) return refuse(this.rule, `the call ${name}()`)
    return `(${target}?.${method}(${args[0]}) ?? false)`
  }

  private list(close: string): string[] {
    const items: string[] = []
    while (!this.skip(close)) {
      if (items.length > 0) this.expect(',')
      items.push(this.conditional())
    }
    return items
  }

  private primary(): string {
    const { kind, text } = this.next()
    if (kind === 'number') return text
    if (kind === 'string') {
      const inner = text.slice(1, -1)
      if (inner.includes('\\')) refuse(this.rule, 'an escape inside a string')
      return JSON.stringify(inner)
    }
    if (text === '(') {
      const js = this.conditional()
      this.expect(')')
      return `(${js})`
    }
    if (text === '[') return `[${this.list(']').join(', ')}]`
    if (kind === 'name') return this.named(text)
    return refuse(this.rule, `unexpected '${text}'`)
  }

  private named(text: string): string {
    if (text === 'self' || text === 'true' || text === 'false' || text === 'null') return text
    if (text !== 'has' && text !== 'size') return refuse(this.rule, `the name '${text}'`)
    this.expect('(')
    const args = this.list(')')
    if (args.length !== 1) refuse(this.rule, `${text}() takes one thing`)
    if (text === 'size') return `size(${args[0]})`
    if (!/\?\.\w+$/.test(args[0]!)) refuse(this.rule, 'has() takes a field')
    return `(${args[0]} !== undefined)`
  }
}

/**
 * JavaScript for a CEL rule: an expression over `self` that may call `equal`, `isIn` and `size` of
 * api/validate-runtime.ts. Throws SLUICE_CEL_UNSUPPORTED.
 */
export const celToJs = (rule: string): string => new Translator(rule).whole()
