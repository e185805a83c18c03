import type { Json } from '../../api/resources.ts'

/** One step into an object (by name) or an array (by index). A digit in a JSON pointer may be either. */
export type Step = string | number

const MAX_STEPS = 32

/** `/a/b/0` (RFC 6901) or `a.b[0]`. Undefined when it is neither. */
export function parsePath(text: string): readonly Step[] | undefined {
  const steps = text.startsWith('/') ? pointer(text) : dotted(text)
  return steps === undefined || steps.length > MAX_STEPS ? undefined : steps
}

function pointer(text: string): Step[] | undefined {
  if (/~(?![01])/.test(text)) return undefined
  return text
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function dotted(text: string): Step[] | undefined {
  if (text === '') return []
  const steps: Step[] = []
  for (const part of text.split('.')) {
    const match = /^([^[\]]*)((?:\[\d{1,6}\])*)$/.exec(part)
    if (match === null || (match[1] === '' && (match[2] === '' || steps.length > 0))) return undefined
    if (match[1] !== '') steps.push(match[1]!)
    for (const [, index] of match[2]!.matchAll(/\[(\d+)\]/g)) steps.push(Number(index))
  }
  return steps
}

/** The value at the end of the path, or undefined where there is none. Never what objects inherit. */
export function valueAt(value: Json | undefined, steps: readonly Step[]): Json | undefined {
  let at: Json | undefined = value
  for (const step of steps) {
    if (typeof at !== 'object' || at === null) return undefined
    if (Array.isArray(at)) {
      const list: readonly Json[] = at
      at = typeof step === 'number' ? list[step] : /^(0|[1-9]\d{0,8})$/.test(step) ? list[Number(step)] : undefined
    } else {
      const record = at as { readonly [key: string]: Json }
      at = Object.hasOwn(record, step) ? record[step] : undefined
    }
  }
  return at
}
