import { isObject } from '../objects.ts'

type Step =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'filter'; readonly path: readonly string[]; readonly operator: string; readonly operand: unknown }

const TOKEN =
  /\.([A-Za-z_][\w-]*(?:\\\.[\w-]+)*)|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]|\[(-?\d+)\]|(\[\*\]|\.\*)|\[\?\(\s*@\.([\w.-]+)\s*(==|!=|<=|>=|<|>)\s*('[^']*'|"[^"]*"|-?[\d.]+|true|false|null)\s*\)\]/y

/**
 * Reads the simple JSONPath that printer columns and selectable fields are written in: fields, indices, `[*]` and
 * one comparison in a filter, for example `.status.conditions[?(@.type=="Ready")].status`. Returns a function that
 * finds all matching values, or undefined when the path is not understood.
 */
export function compileJsonPath(source: string): ((value: unknown) => unknown[]) | undefined {
  const text = source
    .trim()
    .replace(/^\{(.*)\}$/s, '$1')
    .replace(/^\$/, '')
  const steps: Step[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text)
    if (match === null) return undefined
    const [, dotted, single, double, index, all, path, operator, operand] = match
    const name = dotted ?? single ?? double
    if (name !== undefined) steps.push({ kind: 'field', name: name.replace(/\\(.)/g, '$1') })
    else if (index !== undefined) steps.push({ kind: 'index', index: Number(index) })
    else if (all !== undefined) steps.push({ kind: 'all' })
    else if (path !== undefined && operator !== undefined && operand !== undefined) {
      steps.push({ kind: 'filter', path: path.split('.'), operator, operand: literal(operand) })
    }
  }
  return (value) => steps.reduce<unknown[]>((values, step) => values.flatMap((item) => take(item, step)), [value])
}

function literal(text: string): unknown {
  return text.startsWith("'") || text.startsWith('"')
    ? text.slice(1, -1)
    : JSON.parse(/^-?[\d.]+$/.test(text) ? String(Number(text)) : text)
}

function take(value: unknown, step: Step): unknown[] {
  switch (step.kind) {
    case 'field':
      return isObject(value) && Object.hasOwn(value, step.name) ? [value[step.name]] : []
    case 'index':
      return Array.isArray(value) && value.at(step.index) !== undefined ? [value.at(step.index)] : []
    case 'all':
      return Array.isArray(value) ? value : isObject(value) ? Object.values(value) : []
    case 'filter':
      return Array.isArray(value) ? value.filter((item) => holds(item, step.path, step.operator, step.operand)) : []
  }
}

function holds(item: unknown, path: readonly string[], operator: string, operand: unknown): boolean {
  let found = item
  for (const key of path) {
    if (!isObject(found) || !Object.hasOwn(found, key)) return false
    found = found[key]
  }
  if (operator === '==') return found === operand
  if (operator === '!=') return found !== operand
  if (typeof found !== typeof operand || (typeof found !== 'number' && typeof found !== 'string')) return false
  if (typeof operand !== 'number' && typeof operand !== 'string') return false
  if (operator === '<') return found < operand
  if (operator === '>') return found > operand
  return operator === '<=' ? found <= operand : found >= operand
}
