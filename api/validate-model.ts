import { protocolNames, schemas } from './generated/validators.js'
import type { ModelProperty } from './resources.ts'
import { didYouMean, listed } from './suggest.ts'
import { checkValue } from './twin/limits.ts'
import type { Finding } from './yaml/findings.ts'

const TYPES = ['int', 'float', 'bool', 'string', 'bytes', 'object', 'array'] as const

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Every field a property may have, read from the schema so that it is written once. */
const PROPERTY_FIELDS: ReadonlySet<string> = new Set(
  Object.keys(
    ['properties', 'spec', 'properties', 'properties', 'items', 'properties'].reduce<object>((at, step) => {
      const next: unknown = Reflect.get(at, step)
      return isMap(next) ? next : {}
    }, schemas.DeviceModel),
  ),
)

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

const typeOf = (property: Record<string, unknown>): ModelProperty['type'] | undefined =>
  TYPES.find((type) => type === property['type'])

const numberOf = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined)

/** Limits that contradict the type or each other. Works on unsound models too: what is malformed is left to the schema. */
function limitFindings(property: Record<string, unknown>, path: Finding['path']): Finding[] {
  const type = typeOf(property)
  if (type === undefined) return []
  const findings: Finding[] = []
  const numeric = type === 'int' || type === 'float'
  for (const limit of ['min', 'max', 'precision']) {
    if (property[limit] === undefined || numeric) continue
    findings.push({
      severity: 'error',
      code: 'SLUICE_MODEL_LIMIT',
      message: `'${limit}' means nothing for a property of type ${type}`,
      hint: `Remove '${limit}', or change the type to int or float.`,
      path: [...path, limit],
      at: 'key',
    })
  }
  const min = numberOf(property['min'])
  const max = numberOf(property['max'])
  // Limits that exclude each other are told by the schema's own rule; every value would break them.
  const sane = min === undefined || max === undefined || min <= max
  const limits = !sane
    ? { type }
    : { type, ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) }
  for (const [index, value] of listOf(property['enum']).entries()) {
    const finding = checkValue(limits, value)
    if (finding === undefined) continue
    const hint = `Every value of enum has to fit the property's own type and limits. ${finding.hint}`
    findings.push({ ...finding, code: 'SLUICE_MODEL_ENUM', hint, path: [...path, 'enum', index] })
  }
  return findings
}

function bindingFinding(property: Record<string, unknown>, path: Finding['path']): Finding[] {
  const bindings = [...protocolNames, 'custom']
  // A mistyped binding is told as an unknown field; to miss it as well would be the same mistake twice.
  if (Object.keys(property).some((key) => bindings.includes(key) || !PROPERTY_FIELDS.has(key))) return []
  return [
    {
      severity: 'warning',
      code: 'SLUICE_MODEL_UNBOUND',
      message: 'this property says nowhere on the device it lives, so nobody will ever read it',
      hint: `Add a binding: ${listed(bindings)}.`,
      path,
    },
  ]
}

/** What a schema cannot say about `DeviceModel.spec`; paths start at the object's root. */
export function modelFindings(spec: unknown): Finding[] {
  if (!isMap(spec)) return []
  const findings: Finding[] = []
  const properties = listOf(spec['properties'])
  for (const [index, property] of properties.entries()) {
    if (!isMap(property)) continue
    const path = ['spec', 'properties', index]
    findings.push(...limitFindings(property, path), ...bindingFinding(property, path))
  }
  const names = properties.flatMap((property) =>
    isMap(property) && typeof property['name'] === 'string' ? [property['name']] : [],
  )
  for (const [index, method] of listOf(spec['methods']).entries()) {
    if (!isMap(method)) continue
    for (const [position, name] of listOf(method['properties']).entries()) {
      if (typeof name !== 'string' || names.includes(name)) continue
      findings.push({
        severity: 'error',
        code: 'SLUICE_UNKNOWN_PROPERTY',
        message: `this model has no property '${name}'`,
        hint: didYouMean(name, names, 'Properties of the model:'),
        path: ['spec', 'methods', index, 'properties', position],
      })
    }
  }
  return findings
}
