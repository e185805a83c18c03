import type { CrdManifest } from './crd.ts'
import type { StructuralSchema } from './crd-structural.ts'

/**
 * What a Kubernetes API server checks before it accepts a CustomResourceDefinition, written down independently of the
 * code that makes one. Sources: "Extend the Kubernetes API with CustomResourceDefinitions", sections "Specifying a
 * structural schema", "Validation rules", "Defaulting", "Selectable fields"; "Server-Side Apply", section "Merge
 * strategy"; KEP-2876 for the cost limits.
 */

const KEYWORDS = new Set(
  (
    'type format title description default enum properties required items additionalProperties nullable minimum ' +
    'maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern minItems maxItems minProperties ' +
    'maxProperties allOf anyOf oneOf not example externalDocs x-kubernetes-preserve-unknown-fields ' +
    'x-kubernetes-embedded-resource x-kubernetes-int-or-string x-kubernetes-list-type x-kubernetes-list-map-keys ' +
    'x-kubernetes-map-type x-kubernetes-validations'
  ).split(' '),
)
const TYPES = new Set(['object', 'array', 'string', 'integer', 'number', 'boolean'])
const FORMATS: Record<string, readonly string[]> = {
  string: ['date-time', 'date', 'byte', 'duration', 'uuid', 'hostname', 'ipv4', 'ipv6', 'uri', 'email'],
  integer: ['int32', 'int64'],
  number: ['float', 'double'],
}
const RESERVED =
  /\.(true|false|null|in|as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return)\b/
const DNS_LABEL = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/
/** Limits of KEP-2876: cost units of one rule, of all rules of a CRD. */
const RULE_COST = 10_000_000
const CRD_COST = 100_000_000

const fits = (value: unknown, type: string | undefined): boolean =>
  type === undefined ||
  (type === 'integer' && Number.isInteger(value)) ||
  (type === 'number' && typeof value === 'number') ||
  (type === 'array' && Array.isArray(value)) ||
  (type === 'object' && typeof value === 'object' && value !== null && !Array.isArray(value)) ||
  typeof value === type

interface Walk {
  readonly problems: string[]
  totalCost: number
}

function checkShape(schema: StructuralSchema, path: string, out: string[]): void {
  for (const keyword of Object.keys(schema)) if (!KEYWORDS.has(keyword)) out.push(`${path}: ${keyword} is unknown`)
  const { type } = schema
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true
  if (type === undefined && !open && schema['x-kubernetes-int-or-string'] !== true) out.push(`${path}: no type`)
  if (type !== undefined && !TYPES.has(type)) out.push(`${path}: type ${type}`)
  if (type !== undefined && schema['x-kubernetes-int-or-string'] === true) out.push(`${path}: int-or-string has a type`)
  if (schema.properties !== undefined && type !== 'object') out.push(`${path}: properties of a ${type}`)
  if (schema.additionalProperties !== undefined) {
    if (type !== 'object') out.push(`${path}: additionalProperties of a ${type}`)
    if (schema.properties !== undefined) out.push(`${path}: properties and additionalProperties`)
    if (typeof schema.additionalProperties !== 'object') out.push(`${path}: additionalProperties is no schema`)
  }
  if ((schema.items !== undefined) !== (type === 'array')) out.push(`${path}: items and type array go together`)
  for (const name of schema.required ?? []) {
    if (schema.properties?.[name] === undefined) out.push(`${path}: required ${name} is not declared`)
  }
}

function checkValues(schema: StructuralSchema, path: string, out: string[]): void {
  const { type } = schema
  const values = schema['enum']
  if (values !== undefined) {
    if (!Array.isArray(values) || values.length === 0) out.push(`${path}: enum is no list`)
    else if (!values.every((value) => fits(value, type))) out.push(`${path}: enum does not fit ${type}`)
    else if ('default' in schema && !values.includes(schema['default'])) out.push(`${path}: default is not in enum`)
  }
  if ('default' in schema && !fits(schema['default'], type)) out.push(`${path}: default does not fit ${type}`)
  const format = schema['format']
  if (format !== undefined && !FORMATS[type ?? '']?.includes(String(format))) out.push(`${path}: format ${format}`)
  const pattern = schema['pattern']
  if (pattern !== undefined && (typeof pattern !== 'string' || /\(\?[=!<]|\\[1-9]|\\u/.test(pattern))) {
    out.push(`${path}: pattern is not RE2`)
  }
  for (const bound of ['exclusiveMinimum', 'exclusiveMaximum']) {
    if (schema[bound] !== undefined && typeof schema[bound] !== 'boolean') out.push(`${path}: ${bound} is no flag`)
  }
  for (const branch of ['allOf', 'anyOf', 'oneOf', 'not']) {
    if (schema[branch] !== undefined) checkBranch(schema, schema[branch], `${path}.${branch}`, out)
  }
}

/** Branches may narrow values, and only of fields that are declared outside. */
function checkBranch(outer: StructuralSchema, branch: unknown, path: string, out: string[]): void {
  if (Array.isArray(branch)) {
    for (const each of branch) checkBranch(outer, each, path, out)
    return
  }
  const inner = branch as StructuralSchema
  for (const keyword of Object.keys(inner)) {
    const shape = ['type', 'title', 'description', 'default', 'additionalProperties', 'nullable'].includes(keyword)
    const intOrString = keyword === 'type' && outer['x-kubernetes-int-or-string'] === true
    if ((shape && !intOrString) || keyword.startsWith('x-')) out.push(`${path}: ${keyword} in a branch`)
  }
  for (const [name, child] of Object.entries(inner.properties ?? {})) {
    const declared = outer.properties?.[name]
    if (declared === undefined) out.push(`${path}: ${name} is declared in a branch only`)
    else checkBranch(declared, child, `${path}.${name}`, out)
  }
}

function checkList(schema: StructuralSchema, path: string, out: string[]): void {
  const listType = schema['x-kubernetes-list-type']
  const keys = schema['x-kubernetes-list-map-keys']
  const mapType = schema['x-kubernetes-map-type']
  if (mapType !== undefined && (schema.type !== 'object' || !['granular', 'atomic'].includes(String(mapType)))) {
    out.push(`${path}: map-type ${mapType}`)
  }
  if (listType === undefined && keys === undefined) return
  if (schema.type !== 'array') out.push(`${path}: list-type of a ${schema.type}`)
  if (!['atomic', 'set', 'map'].includes(String(listType))) out.push(`${path}: list-type ${listType}`)
  if ((listType === 'map') !== Array.isArray(keys)) out.push(`${path}: list-map-keys and list-type map go together`)
  const item = schema.items
  if (listType === 'set' && ['object', 'array', undefined].includes(item?.type))
    out.push(`${path}: a set of non-scalars`)
  if (!Array.isArray(keys)) return
  if (item?.type !== 'object' || item['nullable'] === true) out.push(`${path}: items of a map list are objects`)
  for (const key of keys as string[]) {
    const field = item?.properties?.[key]
    if (field === undefined || ['object', 'array'].includes(String(field.type))) out.push(`${path}: key ${key}`)
    else if (!item?.required?.includes(key) && !('default' in field)) out.push(`${path}: key ${key} may be missing`)
  }
}

/** `times`: how often the rule runs at most, Infinity inside a list or map without bounds. */
function checkRules(schema: StructuralSchema, path: string, times: number, walk: Walk): void {
  const rules = schema['x-kubernetes-validations']
  if (rules === undefined) return
  if (!Array.isArray(rules)) {
    walk.problems.push(`${path}: rules are no list`)
    return
  }
  const names = new Set<unknown>()
  for (const each of rules as { rule?: unknown; message?: unknown }[]) {
    const { rule, message } = each
    if (typeof rule !== 'string' || rule.trim() === '') {
      walk.problems.push(`${path}: a rule without text`)
      continue
    }
    const code = rule.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, "''")
    if (names.has(rule)) walk.problems.push(`${path}: the rule ${rule} twice`)
    names.add(rule)
    if (typeof message !== 'string' && message !== undefined) walk.problems.push(`${path}: message`)
    if (typeof message === 'string' && /\n/.test(message)) walk.problems.push(`${path}: message of several lines`)
    if (RESERVED.test(code)) walk.problems.push(`${path}: reserved field name in ${rule}`)
    checkFieldsOf(schema, code, path, walk.problems)
    // Every name, call and operator is a step or less; strings and lists the rule may walk through count a thousand.
    const loops = (code.match(/\.(all|exists|exists_one|map|filter|matches|contains)\(/g) ?? []).length
    const cost = (code.match(/\w+|[^\s\w]+/g) ?? []).length * 1000 ** loops * times
    if (cost > RULE_COST) walk.problems.push(`${path}: the rule ${rule} costs ${cost}`)
    walk.totalCost += cost
  }
}

/** CEL is typed: a rule that names a field the schema does not declare is refused when the CRD is created. */
function checkFieldsOf(schema: StructuralSchema, code: string, path: string, out: string[]): void {
  for (const [, chain] of code.matchAll(/\bself((?:\.\w+(?!\())+)/g)) {
    let at: StructuralSchema | undefined = schema
    for (const name of chain!.slice(1).split('.')) {
      at = at?.properties?.[name.replace(/^__(\w+)__$/, '$1')]
      if (at === undefined) {
        out.push(`${path}: a rule names self${chain}`)
        break
      }
    }
  }
}

function walkSchema(schema: StructuralSchema, path: string, times: number, walk: Walk): void {
  checkShape(schema, path, walk.problems)
  checkValues(schema, path, walk.problems)
  checkList(schema, path, walk.problems)
  checkRules(schema, path, times, walk)
  for (const [name, child] of Object.entries(schema.properties ?? {})) walkSchema(child, `${path}.${name}`, times, walk)
  const bound = (keyword: string) => (typeof schema[keyword] === 'number' ? (schema[keyword] as number) : Infinity)
  if (schema.items !== undefined) walkSchema(schema.items, `${path}[]`, times * bound('maxItems'), walk)
  if (typeof schema.additionalProperties === 'object') {
    walkSchema(schema.additionalProperties, `${path}.*`, times * bound('maxProperties'), walk)
  }
}

function checkNames(crd: CrdManifest, out: string[]): void {
  const { group, names, scope, versions } = crd.spec
  if (crd.metadata.name !== `${names.plural}.${group}`) out.push('metadata.name is not plural.group')
  if (!/^[a-z0-9.-]+\.[a-z]+$/.test(group)) out.push(`group ${group}`)
  if (!['Namespaced', 'Cluster'].includes(scope)) out.push(`scope ${scope}`)
  for (const name of [names.plural, names.singular, ...names.shortNames, ...names.categories]) {
    if (!DNS_LABEL.test(name)) out.push(`name ${name}`)
  }
  if (!/^[A-Za-z][A-Za-z0-9]{0,62}$/.test(names.kind)) out.push(`kind ${names.kind}`)
  if (versions.filter((version) => version.storage).length !== 1) out.push('exactly one version is stored')
}

const fieldAt = (root: StructuralSchema, jsonPath: string): StructuralSchema | undefined =>
  jsonPath
    .slice(1)
    .split('.')
    .reduce<StructuralSchema | undefined>((at, name) => at?.properties?.[name], root)

/** Everything an API server would refuse about this definition; empty means accepted. */
export function crdProblems(crd: CrdManifest): string[] {
  const walk: Walk = { problems: [], totalCost: 0 }
  const out = walk.problems
  checkNames(crd, out)
  for (const version of crd.spec.versions) {
    const root = version.schema.openAPIV3Schema
    if (root.type !== 'object') out.push('the root has to be an object')
    if ('default' in root) out.push('the root has a default')
    const { metadata } = root.properties ?? {}
    if (JSON.stringify(metadata) !== '{"type":"object"}') out.push('metadata has to be a bare object')
    walkSchema(root, crd.spec.names.kind, 1, walk)
    const columns = new Set<string>()
    for (const column of version.additionalPrinterColumns) {
      if (columns.has(column.name)) out.push(`column ${column.name} twice`)
      columns.add(column.name)
      if (!['string', 'integer', 'number', 'boolean', 'date'].includes(column.type)) out.push(`column ${column.name}`)
      const known = column.jsonPath.startsWith('.metadata.') || fieldAt(root, column.jsonPath) !== undefined
      if (!column.jsonPath.startsWith('.') || !known) out.push(`column ${column.name} at ${column.jsonPath}`)
    }
    if ((version.selectableFields?.length ?? 0) > 8) out.push('more than 8 selectable fields')
    for (const { jsonPath } of version.selectableFields ?? []) {
      const field = fieldAt(root, jsonPath)
      if (!['string', 'integer', 'boolean'].includes(field?.type ?? '')) out.push(`selectable field ${jsonPath}`)
    }
  }
  if (walk.totalCost > CRD_COST) out.push(`all rules together cost ${walk.totalCost}`)
  return out
}
