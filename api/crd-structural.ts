import type { TSchema } from 'typebox'
import { SluiceError } from './errors.ts'

/** A schema as `apiextensions.k8s.io/v1` writes it: plain JSON, OpenAPI v3 with the structural restrictions. */
export interface StructuralSchema {
  readonly type?: string
  readonly properties?: Readonly<Record<string, StructuralSchema>>
  readonly items?: StructuralSchema
  readonly additionalProperties?: StructuralSchema
  readonly required?: readonly string[]
  readonly [keyword: string]: unknown
}

type Plain = Readonly<Record<string, unknown>>

/** Keywords whose meaning is the same in JSON Schema and in a CRD. */
const COPIED = new Set([
  'type',
  'title',
  'description',
  'format',
  'default',
  'enum',
  'required',
  'nullable',
  'minimum',
  'maximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'pattern',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-int-or-string',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-map-type',
])

/** Inside `allOf`, `anyOf`, `oneOf` and `not` a CRD may only narrow values, never declare shape. */
const FORBIDDEN_IN_LOGIC = new Set(['type', 'title', 'description', 'default', 'additionalProperties', 'nullable'])

const isPlain = (value: unknown): value is Plain => typeof value === 'object' && value !== null && !Array.isArray(value)

const refuse = (path: string, what: string): never => {
  throw new SluiceError('SLUICE_CRD_NOT_STRUCTURAL', `${path}: ${what}`, {
    field: path,
    hint: 'Build the schema from the blocks of api/schema/parts.ts; a Kubernetes API server refuses anything else.',
  })
}

/** Words that CEL keeps for itself; Kubernetes lets rules reach fields of that name as `__word__` only. */
const CEL_RESERVED =
  'true|false|null|in|as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return'
const CEL_STRING_OR_RESERVED_FIELD = new RegExp(
  `"(?:[^"\\\\]|\\\\.)*"|'(?:[^'\\\\]|\\\\.)*'|\\.(${CEL_RESERVED})\\b`,
  'g',
)

/** Rules are written with the fields' own names (`self.as`); an API server wants `self.__as__`. */
export const escapeReservedFields = (rule: string): string =>
  rule.replace(CEL_STRING_OR_RESERVED_FIELD, (whole, field: string | undefined) =>
    field === undefined ? whole : `.__${field}__`,
  )

function convertRules(rules: unknown, path: string): unknown {
  if (!Array.isArray(rules)) return refuse(path, 'x-kubernetes-validations has to be a list')
  return rules.map((rule) => {
    if (!isPlain(rule) || typeof rule['rule'] !== 'string') return refuse(path, 'a rule needs its CEL text')
    return { ...rule, rule: escapeReservedFields(rule['rule']) }
  })
}

/** `anyOf` branches that a CRD can say in another way: null, int-or-string, a set of literals. */
function collapseUnion(schema: Plain, branches: readonly Plain[], path: string): Plain {
  const { anyOf: _, ...rest } = schema
  const real = branches.filter((branch) => branch['type'] !== 'null')
  if (real.length < branches.length) {
    const only = real.length === 1 ? real[0] : undefined
    return { ...(only ?? collapseUnion({}, real, path)), ...rest, nullable: true }
  }
  const types = real.map((branch) => branch['type'])
  if (real.length === 2 && types.includes('integer') && types.includes('string')) {
    const bare = real.every((branch) => Object.keys(branch).length === 1)
    return { ...rest, 'x-kubernetes-int-or-string': true, ...(bare ? {} : { anyOf: real }) }
  }
  const literals = real.map((branch) => ('const' in branch ? [branch['const']] : branch['enum']))
  if (literals.every((values): values is unknown[] => Array.isArray(values)) && new Set(types).size === 1) {
    return { ...rest, ...(types[0] === undefined ? {} : { type: types[0] }), enum: literals.flat() }
  }
  return schema
}

function convertLogic(branch: unknown, path: string): StructuralSchema {
  if (!isPlain(branch)) return refuse(path, 'a branch has to be a schema')
  for (const keyword of Object.keys(branch)) {
    if (FORBIDDEN_IN_LOGIC.has(keyword) || keyword.startsWith('x-kubernetes-')) {
      refuse(path, `'${keyword}' is not allowed inside anyOf, oneOf, allOf or not`)
    }
  }
  return convert(branch, path, true)
}

function convertBounds(schema: Plain, out: Record<string, unknown>): void {
  // Draft 2020 writes exclusive bounds as numbers, OpenAPI v3.0 as a flag beside the bound.
  for (const [exclusive, bound] of [
    ['exclusiveMinimum', 'minimum'],
    ['exclusiveMaximum', 'maximum'],
  ] as const) {
    if (typeof schema[exclusive] !== 'number') continue
    out[bound] = schema[exclusive]
    out[exclusive] = true
  }
}

function convertChildren(schema: Plain, out: Record<string, unknown>, path: string, logic: boolean): void {
  if (isPlain(schema['properties'])) {
    out['properties'] = Object.fromEntries(
      Object.entries(schema['properties']).map(([name, child]) => {
        const childPath = `${path}.${name}`
        return [name, logic ? convertLogic(child, childPath) : convert(child, childPath)]
      }),
    )
  }
  if (schema['items'] !== undefined) {
    if (!isPlain(schema['items'])) refuse(path, 'items has to be one schema, not a list')
    out['items'] = logic ? convertLogic(schema['items'], `${path}[]`) : convert(schema['items'], `${path}[]`)
  }
  const additional = schema['additionalProperties']
  // `false` only says what structural pruning does anyway: unknown fields are dropped or, in strict mode, refused.
  if (additional === undefined || additional === false) return
  if (!isPlain(additional)) refuse(path, 'additionalProperties has to be a schema or false')
  if (isPlain(schema['properties'])) refuse(path, 'properties and additionalProperties exclude each other')
  out['additionalProperties'] = convert(additional, `${path}.*`)
}

function convert(input: unknown, path: string, logic = false): StructuralSchema {
  if (!isPlain(input)) return refuse(path, 'has to be a schema')
  const branches = input['anyOf']
  const schema =
    Array.isArray(branches) && branches.every(isPlain) && !logic ? collapseUnion(input, branches, path) : input
  const out: Record<string, unknown> = {}
  for (const [keyword, value] of Object.entries(schema)) {
    if (COPIED.has(keyword)) out[keyword] = value
    else if (keyword === 'x-kubernetes-validations') out[keyword] = convertRules(value, path)
    else if (keyword === 'const') out['enum'] = [value]
    else if (keyword === 'anyOf' || keyword === 'oneOf' || keyword === 'allOf') {
      if (!Array.isArray(value)) return refuse(path, `${keyword} has to be a list`)
      const intOrString = keyword === 'anyOf' && schema['x-kubernetes-int-or-string'] === true
      out[keyword] = value.map((branch) => (intOrString ? branch : convertLogic(branch, path)))
    } else if (keyword === 'not') out['not'] = convertLogic(value, path)
    else if (!CONVERTED.has(keyword)) refuse(path, `'${keyword}' cannot be said in a CRD`)
  }
  convertBounds(schema, out)
  convertChildren(schema, out, path, logic)
  const shapeless = out['type'] === undefined && out['x-kubernetes-int-or-string'] !== true
  if (!logic && shapeless && out['x-kubernetes-preserve-unknown-fields'] !== true) {
    refuse(path, 'needs a type, or x-kubernetes-preserve-unknown-fields')
  }
  return out
}

const CONVERTED = new Set(['properties', 'items', 'additionalProperties', 'exclusiveMinimum', 'exclusiveMaximum'])

/**
 * The structural form of a schema from `api/schema/` or a protocol. `path` names the place in errors.
 * Throws SLUICE_CRD_NOT_STRUCTURAL for what a Kubernetes API server would refuse.
 */
export function toStructural(schema: TSchema, path: string): StructuralSchema {
  // TypeBox keeps its own marks in hidden keys; what JSON keeps is what counts.
  return convert(JSON.parse(JSON.stringify(schema)), path)
}
