import type { JsonObject, KubeObject } from '../objects.ts'
import { at, isObject, listAt, stringAt } from '../objects.ts'
import { age, nameColumn } from '../registry/columns.ts'
import type { Column, Kind, ScalePaths } from '../registry/kind.ts'
import { versionSchema, versions } from '../registry/kinds/custom-resource-definition.ts'
import { compileJsonPath } from './json-path.ts'

const VERBS = ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch']

/** One kind for each served version of a definition. */
export function kindsOf(definition: KubeObject): Kind[] {
  return versions(definition)
    .filter((version) => version['served'] === true)
    .map((version) => kindOf(definition, version))
}

function kindOf(definition: KubeObject, version: JsonObject): Kind {
  const name = (field: string) => stringAt(definition, 'spec', 'names', field)
  const group = stringAt(definition, 'spec', 'group')
  return {
    group,
    version: stringAt(version, 'name'),
    kind: name('kind'),
    listKind: name('listKind'),
    plural: name('plural'),
    singular: name('singular'),
    shortNames: strings(listAt(definition, 'spec', 'names', 'shortNames')),
    categories: strings(listAt(definition, 'spec', 'names', 'categories')),
    namespaced: stringAt(definition, 'spec', 'scope') === 'Namespaced',
    verbs: VERBS,
    resource: `${name('plural')}.${group}`,
    custom: true,
    schema: versionSchema(version),
    columns: columnsOf(version),
    hasStatus: isObject(at(version, 'subresources', 'status')),
    counts: true,
    scale: scaleOf(version),
    needsVersion: true,
    selectable: Object.fromEntries(listAt(version, 'selectableFields').flatMap(selectableField)),
  }
}

function strings(list: readonly unknown[]): string[] {
  return list.filter((item) => typeof item === 'string')
}

function columnsOf(version: JsonObject): Column[] {
  const declared = listAt(version, 'additionalPrinterColumns').filter(isObject)
  const columns = declared.map((column): Column => {
    const find = compileJsonPath(stringAt(column, 'jsonPath')) ?? (() => [])
    const type = stringAt(column, 'type')
    const name = stringAt(column, 'name')
    const priority = at(column, 'priority')
    return {
      name,
      type,
      format: stringAt(column, 'format'),
      description:
        stringAt(column, 'description') ||
        `Custom resource definition column (in JSONPath format): ${stringAt(column, 'jsonPath')}`,
      priority: typeof priority === 'number' ? priority : 0,
      cell: (object, nowMs) => cellOf(find(object), type, nowMs),
    }
  })
  return [nameColumn, ...(columns.length === 0 ? [DEFAULT_AGE] : columns)]
}

const DEFAULT_AGE: Column = {
  name: 'Age',
  type: 'date',
  description: 'How long ago the object was created, by the clock of the server that created it.',
  cell: (object, nowMs) => age(object.metadata.creationTimestamp ?? undefined, nowMs),
}

/** A value of the wrong type shows as nothing, as the real server does it. */
function cellOf(found: readonly unknown[], type: string, nowMs: number): unknown {
  const [value] = found
  if (value === undefined || value === null) return null
  switch (type) {
    case 'integer':
      return typeof value === 'number' ? Math.trunc(value) : null
    case 'number':
      return typeof value === 'number' ? value : null
    case 'boolean':
      return typeof value === 'boolean' ? value : null
    case 'date':
      return typeof value === 'string' ? age(value, nowMs) : null
    default:
      return found.length > 1 ? found.map(shown).join(',') : shown(value)
  }
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function scaleOf(version: JsonObject): ScalePaths | undefined {
  const scale = at(version, 'subresources', 'scale')
  if (!isObject(scale)) return undefined
  const path = (field: string) => stringAt(scale, field).split('.').filter(Boolean)
  const selector = path('labelSelectorPath')
  return {
    spec: path('specReplicasPath'),
    status: path('statusReplicasPath'),
    selector: selector.length === 0 ? undefined : selector,
  }
}

function selectableField(field: unknown): [string, (object: KubeObject) => string][] {
  const path = stringAt(field, 'jsonPath')
  const find = compileJsonPath(path)
  if (find === undefined) return []
  return [[path.replace(/^\./, ''), (object) => String(find(object)[0] ?? '')]]
}
