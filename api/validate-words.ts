import { DURATION_PATTERN, LABEL_PATTERN, NAME_PATTERN, PROPERTY_NAME_PATTERN } from './schema/patterns.ts'
import { didYouMean, listed, shown } from './suggest.ts'
import type { DuplicateItem, ValidatorError } from './validate-runtime.ts'
import type { Finding } from './yaml/findings.ts'

/** A schema as plain JSON, as far as messages need it. */
export interface PlainSchema {
  readonly type?: string
  readonly description?: string
  readonly pattern?: string
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, PlainSchema>>
  readonly [keyword: string]: unknown
}

/** What a generated validator complained about, with all that words can be made of. */
export interface Complaint {
  readonly error: ValidatorError
  /** The schema that holds the keyword, and the value it was held against. */
  readonly schema: PlainSchema
  readonly value: unknown
  readonly path: Finding['path']
}

type Words = Pick<Finding, 'code' | 'message' | 'hint' | 'at'> & { readonly path?: Finding['path'] }

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: 'text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
}

const PATTERN_WORDS: Readonly<Record<string, { readonly what: string; readonly hint: string }>> = {
  [DURATION_PATTERN]: { what: 'a time span', hint: 'Write a number and a unit: 500ms, 1.5s, 10m, 6h, 1d.' },
  [PROPERTY_NAME_PATTERN]: {
    what: 'a property name',
    hint: 'Start with a letter, then letters, digits, _ and -, 63 characters at most.',
  },
  [NAME_PATTERN]: {
    what: 'a Kubernetes name',
    hint: 'Use lower-case letters, digits, - and ., starting and ending with a letter or digit.',
  },
  [LABEL_PATTERN]: {
    what: 'a Kubernetes namespace',
    hint: 'Use lower-case letters, digits and -, starting and ending with a letter or digit.',
  },
}

const isEmpty = (value: unknown): boolean => value === null || value === undefined

/** How the schema describes the field, as the tail of a hint. */
const described = (schema: PlainSchema | undefined): string =>
  schema?.description === undefined ? '' : ` ${schema.description}`

function typeWords({ schema, value }: Complaint): Words {
  const wanted = TYPE_WORDS[schema.type ?? ''] ?? 'something else'
  const code = 'SLUICE_INVALID_TYPE'
  if (isEmpty(value)) {
    return {
      code,
      message: `has no value; it must be ${wanted}`,
      hint: `Give it a value or remove it.${described(schema)}`,
    }
  }
  const message = `must be ${wanted}, not ${shown(value)}`
  const numeric = schema.type === 'integer' || schema.type === 'number'
  if (schema.pattern === DURATION_PATTERN && typeof value === 'number') {
    return {
      code,
      message: `must be a time span, not the bare number ${value}`,
      hint: `Add the unit, for example ${value}s or ${value}ms.`,
    }
  }
  if (numeric && typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value))) {
    return { code, message, hint: `Remove the quotes: ${value}` }
  }
  if (schema.type === 'string' && (typeof value === 'boolean' || typeof value === 'number')) {
    return { code, message, hint: `Put it in quotes: '${value}'` }
  }
  if (schema.type === 'boolean' && typeof value === 'string' && /^(true|false|yes|no|on|off)$/i.test(value)) {
    return { code, message, hint: 'Write true or false without quotes.' }
  }
  if (schema.type === 'integer' && typeof value === 'number') {
    return { code, message, hint: `Use ${Math.round(value)}, for example.${described(schema)}` }
  }
  if (schema.type === 'array')
    return { code, message, hint: `Write a list: [a, b], or one '- ' item a line.${described(schema)}` }
  if (schema.type === 'object') {
    const fields = listed(Object.keys(schema.properties ?? {}))
    return {
      code,
      message,
      hint: fields === '' ? 'Write a map: {key: value}.' : `Write a map with the fields ${fields}.`,
    }
  }
  return { code, message, hint: `Change it to ${wanted}.${described(schema)}` }
}

function enumWords({ schema, value }: Complaint): Words {
  const allowed = (schema.enum ?? []).map((word) => (typeof word === 'string' ? word : JSON.stringify(word)))
  const message = `${shown(value)} is not one of ${listed(allowed)}`
  const hint =
    typeof value === 'string' ? didYouMean(value, allowed, 'Choose one of') : `Choose one of ${listed(allowed)}.`
  return { code: 'SLUICE_INVALID_VALUE', message, hint }
}

function patternWords({ schema, value }: Complaint): Words {
  const known = PATTERN_WORDS[schema.pattern ?? '']
  const code = 'SLUICE_INVALID_VALUE'
  if (known !== undefined) return { code, message: `${shown(value)} is not ${known.what}`, hint: known.hint }
  return {
    code,
    message: `${shown(value)} has not the right form`,
    hint: `It must match ${schema.pattern}.${described(schema)}`,
  }
}

/** Bounds: the keyword's own number is in `params.limit`. */
function boundWords({ error, schema, value }: Complaint): Words {
  const limit = Number(error.params['limit'])
  const code = 'SLUICE_INVALID_VALUE'
  const both = schema['minimum'] !== undefined && schema['maximum'] !== undefined
  const range = both ? `Use ${schema['minimum']} to ${schema['maximum']}.` : ''
  const count = typeof value === 'string' ? [...value].length : Object.keys(value ?? {}).length
  switch (error.keyword) {
    case 'minimum':
      return {
        code,
        message: `${value} is below the minimum of ${limit}`,
        hint: `${range || `Use ${limit} or more.`}${described(schema)}`,
      }
    case 'maximum':
      return {
        code,
        message: `${value} is above the maximum of ${limit}`,
        hint: `${range || `Use ${limit} or less.`}${described(schema)}`,
      }
    case 'exclusiveMinimum':
      return { code, message: `${value} is not above ${limit}`, hint: `Use more than ${limit}.${described(schema)}` }
    case 'exclusiveMaximum':
      return { code, message: `${value} is not below ${limit}`, hint: `Use less than ${limit}.${described(schema)}` }
    case 'minLength':
      return count === 0
        ? { code, message: 'is empty', hint: `Fill it in.${described(schema)}` }
        : { code, message: `is ${count} characters long, fewer than ${limit}`, hint: `Use ${limit} or more.` }
    case 'maxLength':
      return {
        code,
        message: `is ${count} characters long, more than ${limit}`,
        hint: `Shorten it to ${limit} at most.`,
      }
    case 'minItems':
    case 'minProperties':
      return {
        code,
        message: count === 0 ? 'is empty' : `has ${count} entries, fewer than ${limit}`,
        hint: `Give ${limit} or more.${described(schema)}`,
      }
    default:
      return { code, message: `has ${count} entries, more than ${limit}`, hint: `Keep it to ${limit} at most.` }
  }
}

function unknownFieldWords({ error, schema, path }: Complaint): Words {
  const field = String(error.params['additionalProperty'])
  const allowed = Object.keys(schema.properties ?? {})
  return {
    code: 'SLUICE_UNKNOWN_FIELD',
    message: `unknown field '${field}'`,
    hint: didYouMean(field, allowed, 'Remove it. Known here:'),
    path: [...path, field],
    at: 'key',
  }
}

function missingFieldWords({ error, schema, path }: Complaint): Words {
  const field = String(error.params['missingProperty'])
  const missing = schema.properties?.[field]
  const choice = missing?.enum === undefined ? '' : ` One of ${listed(missing.enum.map(String))}.`
  return {
    code: 'SLUICE_MISSING_FIELD',
    message: `the field '${field}' is missing`,
    hint: `Add '${field}'.${described(missing)}${choice}`,
    path: [...path, field],
  }
}

/** The fields of `self` that a CEL rule speaks of, by the names a person writes. */
export const fieldsOfRule = (rule: string): string[] => [
  ...new Set([...rule.matchAll(/\bself\.(\w+)/g)].map(([, field]) => field!.replace(/^__(\w+)__$/, '$1'))),
]

export function ruleOf({ error, schema }: Complaint): { readonly rule: string; readonly message: string } {
  const rules = schema['x-kubernetes-validations']
  const rule: unknown = Array.isArray(rules) ? rules[Number(error.params['rule'])] : undefined
  const field = (name: string) => (typeof rule === 'object' && rule !== null ? String(Reflect.get(rule, name)) : '')
  return { rule: field('rule'), message: field('message') }
}

function ruleWords(complaint: Complaint): Words {
  const { rule, message } = ruleOf(complaint)
  const { value } = complaint
  const fields = fieldsOfRule(rule)
  const given = fields.filter((field) => typeof value === 'object' && value !== null && Object.hasOwn(value, field))
  const absent = fields.filter((field) => !given.includes(field))
  const rest = absent.length === 0 ? '' : `; not given: ${listed(absent)}`
  const hint = given.length === 0 ? `None of ${listed(fields)} is given here.` : `Given here: ${listed(given)}${rest}.`
  return { code: 'SLUICE_BROKEN_RULE', message, hint }
}

function duplicateWords(complaint: Complaint): Words[] {
  const items = complaint.error.params['items'] as readonly DuplicateItem[]
  const keys = complaint.schema['x-kubernetes-list-map-keys'] as readonly string[]
  const { value, path } = complaint
  return items.map(({ index, first }) => {
    const item: unknown = Array.isArray(value) ? value[index] : undefined
    const key = keys[0]!
    const name: unknown = typeof item === 'object' && item !== null ? Reflect.get(item, key) : undefined
    return {
      code: 'SLUICE_DUPLICATE_NAME',
      message: `the ${key} ${shown(name)} is used already by item ${first + 1} of this list`,
      hint: 'Rename or remove one of the two.',
      path: [...path, index, key],
    }
  })
}

/** A complaint of a generated validator in words for the person who wrote the file. */
export function complaintWords(complaint: Complaint): Words[] {
  switch (complaint.error.keyword) {
    case 'type':
      return [typeWords(complaint)]
    case 'enum':
    case 'const':
      return [enumWords(complaint)]
    case 'pattern':
      return [patternWords(complaint)]
    case 'additionalProperties':
      return [unknownFieldWords(complaint)]
    case 'required':
      return [missingFieldWords(complaint)]
    case 'x-kubernetes-validations':
      return [ruleWords(complaint)]
    case 'x-kubernetes-list-map-keys':
      return duplicateWords(complaint)
    case 'format':
      return [
        {
          code: 'SLUICE_INVALID_VALUE',
          message: `${shown(complaint.value)} is not a point in time`,
          hint: 'Write it as in RFC 3339: 2026-01-31T08:15:30.125Z.',
        },
      ]
    case 'anyOf':
    case 'oneOf':
    case 'not':
      return [
        {
          code: 'SLUICE_INVALID_VALUE',
          message: `${shown(complaint.value)} has none of the allowed forms`,
          hint: `Compare it with the documentation of the field.${described(complaint.schema)}`,
        },
      ]
    default:
      return [boundWords(complaint)]
  }
}
