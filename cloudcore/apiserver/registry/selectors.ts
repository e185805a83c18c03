import { badRequest } from '../http/status.ts'
import type { KubeObject } from '../objects.ts'
import type { Kind } from './kind.ts'
import { labelValueProblem, qualifiedNameProblem } from './names.ts'

export type Matcher = (object: KubeObject) => boolean

type Requirement = (labels: Readonly<Record<string, string>>) => boolean

const REQUIREMENT =
  /\s*(?:(!)\s*([^\s,!=()]+)|([^\s,!=()]+)(?:\s*(==|=|!=)\s*([^\s,=!()]*)|\s+(in|notin)\s*\(([^()]*)\)|\s*(in|notin)\s*\(([^()]*)\))?)\s*(,|$)/y

/** A label selector (`a=b,c!=d,e in (f,g),!h`); throws 400 with the place it cannot read. */
export function labelMatcher(selector: string): Matcher | undefined {
  if (selector.trim() === '') return undefined
  const requirements: Requirement[] = []
  REQUIREMENT.lastIndex = 0
  while (REQUIREMENT.lastIndex < selector.length) {
    const start = REQUIREMENT.lastIndex
    const match = REQUIREMENT.exec(selector)
    if (match === null)
      throw badRequest(
        `unable to parse requirement: found '${selector.slice(start, start + 40).trim()}', expected: !, identifier, or 'end of string'`,
      )
    requirements.push(requirement(match))
  }
  return (object) => {
    const labels = object.metadata.labels ?? {}
    return requirements.every((holds) => holds(labels))
  }
}

function requirement(match: RegExpExecArray): Requirement {
  const [, , absent, key = '', operator, operand = '', word, members, wordTight, membersTight] = match
  const name = absent ?? key
  const problem = qualifiedNameProblem(name)
  if (problem !== undefined)
    throw badRequest(`unable to parse requirement: invalid label key ${JSON.stringify(name)}: ${problem}`)
  if (absent !== undefined) return (labels) => !Object.hasOwn(labels, absent)
  const list = word ?? wordTight
  if (list !== undefined) {
    const values = (members ?? membersTight ?? '').split(',').map((value) => checkedValue(name, value.trim()))
    const wanted = new Set(values)
    return list === 'in'
      ? (labels) => Object.hasOwn(labels, name) && wanted.has(labels[name] ?? '')
      : (labels) => !Object.hasOwn(labels, name) || !wanted.has(labels[name] ?? '')
  }
  if (operator === undefined) return (labels) => Object.hasOwn(labels, name)
  const value = checkedValue(name, operand)
  return operator === '!='
    ? (labels) => !Object.hasOwn(labels, name) || labels[name] !== value
    : (labels) => Object.hasOwn(labels, name) && labels[name] === value
}

function checkedValue(key: string, value: string): string {
  const problem = labelValueProblem(value)
  if (problem !== undefined)
    throw badRequest(
      `unable to parse requirement: values[0][${key}]: Invalid value: ${JSON.stringify(value)}: ${problem}`,
    )
  return value
}

export interface FieldSelector {
  readonly matches: Matcher
  /** Set when the selector pins one object, which then needs no search. */
  readonly name: string | undefined
}

/** A field selector (`metadata.name=x,spec.nodeName!=y`) on the fields a kind offers; 400 for any other. */
export function fieldMatcher(selector: string, kind: Kind): FieldSelector | undefined {
  if (selector.trim() === '') return undefined
  let name: string | undefined
  const requirements = splitTerms(selector).map((term): Matcher => {
    const match = /^\s*([^=!]+?)\s*(==|!=|=)\s*(.*)$/.exec(term)
    if (match === null) throw badRequest(`invalid selector: '${term}'; can't understand '${term}'`)
    const [, field = '', operator, raw = ''] = match
    const value = raw.replace(/\\([\\,=])/g, '$1')
    const read = fieldReader(field, kind)
    if (read === undefined) throw badRequest(`field label not supported: ${field}`)
    if (field === 'metadata.name' && operator !== '!=') name = value
    return operator === '!=' ? (object) => read(object) !== value : (object) => read(object) === value
  })
  return { matches: (object) => requirements.every((holds) => holds(object)), name }
}

function splitTerms(selector: string): string[] {
  return selector.split(/(?<!\\),/).filter((term) => term.trim() !== '')
}

function fieldReader(field: string, kind: Kind): ((object: KubeObject) => string) | undefined {
  if (field === 'metadata.name') return (object) => object.metadata.name
  if (field === 'metadata.namespace') return (object) => object.metadata.namespace ?? ''
  return Object.hasOwn(kind.selectable, field) ? kind.selectable[field] : undefined
}
