import { compileJsonPath } from '../../crd/json-path.ts'
import type { Schema } from '../../crd/schema.ts'
import { structuralProblems } from '../../crd/structural.ts'
import type { StatusCause } from '../../http/status.ts'
import type { JsonObject, KubeObject } from '../../objects.ts'
import { at, deepEqual, isObject, listAt, stringAt, withField } from '../../objects.ts'
import { nameColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import { dnsLabelProblem } from '../names.ts'
import { anything, conditions, fields, flag, integer, list, objectSchema, oneOf, text } from './schema-words.ts'

const names = fields({
  plural: text,
  singular: text,
  shortNames: list(text),
  kind: text,
  listKind: text,
  categories: list(text),
})

const version = fields(
  {
    name: text,
    served: flag,
    storage: flag,
    deprecated: flag,
    deprecationWarning: text,
    schema: fields({ openAPIV3Schema: anything }),
    subresources: fields({
      status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      scale: fields({ specReplicasPath: text, statusReplicasPath: text, labelSelectorPath: text }),
    }),
    additionalPrinterColumns: list(
      fields({ name: text, type: text, format: text, description: text, priority: integer, jsonPath: text }, [
        'name',
        'type',
        'jsonPath',
      ]),
    ),
    selectableFields: list(fields({ jsonPath: text }, ['jsonPath'])),
  },
  ['name', 'served', 'storage'],
)

export const customResourceDefinitionKind = builtin({
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  shortNames: ['crd', 'crds'],
  categories: ['api-extensions'],
  namespaced: false,
  hasStatus: true,
  counts: true,
  needsVersion: true,
  schema: objectSchema('CustomResourceDefinition is a kind of object that the API server should serve.', {
    spec: fields(
      {
        group: text,
        names,
        scope: oneOf('Namespaced', 'Cluster'),
        versions: list(version),
        conversion: fields({ strategy: text, webhook: anything }),
        preserveUnknownFields: flag,
      },
      ['group', 'names', 'scope', 'versions'],
    ),
    status: fields({ conditions: conditions('lastTransitionTime'), acceptedNames: names, storedVersions: list(text) }),
  }),
  columns: [
    nameColumn,
    {
      name: 'Created At',
      type: 'date',
      description: 'When the definition was created, by the clock of the server that did it.',
      cell: (object) => object.metadata.creationTimestamp ?? '',
    },
  ],
  prepare(object, old) {
    let result = object
    const kind = stringAt(object, 'spec', 'names', 'kind')
    if (stringAt(object, 'spec', 'names', 'singular') === '')
      result = withField(result, ['spec', 'names', 'singular'], kind.toLowerCase())
    if (stringAt(object, 'spec', 'names', 'listKind') === '')
      result = withField(result, ['spec', 'names', 'listKind'], `${kind}List`)
    if (at(object, 'spec', 'conversion') === undefined)
      result = withField(result, ['spec', 'conversion'], { strategy: 'None' })
    if (old !== undefined) return result
    const stored = versions(object)
      .filter((item) => item['storage'] === true)
      .map((item) => stringAt(item, 'name'))
    return { ...result, status: { conditions: [], acceptedNames: { plural: '', kind: '' }, storedVersions: stored } }
  },
  validate: (object, old) => [...specProblems(object), ...(old === undefined ? [] : changeProblems(object, old))],
})

export function versions(definition: KubeObject): JsonObject[] {
  return listAt(definition, 'spec', 'versions').filter(isObject)
}

/** The schema of one version; definitions are checked when they are written, so what is stored has this shape. */
export function versionSchema(item: JsonObject): Schema {
  const schema = at(item, 'schema', 'openAPIV3Schema')
  return isObject(schema) ? schema : { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
}

function specProblems(object: KubeObject): StatusCause[] {
  const causes: StatusCause[] = []
  const bad = (field: string, value: unknown, text_: string) =>
    void causes.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(value)}: ${text_}`,
      field,
    })
  const group = stringAt(object, 'spec', 'group')
  const plural = stringAt(object, 'spec', 'names', 'plural')
  if (object.metadata.name !== `${plural}.${group}`)
    bad('metadata.name', object.metadata.name, 'must be spec.names.plural+"."+spec.group')
  if (!group.includes('.')) bad('spec.group', group, 'should be a domain with at least one dot')
  for (const field of ['plural', 'singular']) {
    const name = stringAt(object, 'spec', 'names', field)
    const problem = dnsLabelProblem(name)
    if (problem !== undefined) bad(`spec.names.${field}`, name, problem)
  }
  const all = versions(object)
  if (all.filter((item) => item['storage'] === true).length !== 1)
    bad(
      'spec.versions',
      all.map((item) => stringAt(item, 'name')),
      'must have exactly one version marked as storage version',
    )
  if (stringAt(object, 'spec', 'conversion', 'strategy') !== 'None')
    bad(
      'spec.conversion.strategy',
      at(object, 'spec', 'conversion', 'strategy'),
      'only None is supported by this server',
    )
  for (const [index, item] of all.entries()) {
    const path = all.length === 1 ? 'spec.validation' : `spec.versions[${index}].schema`
    const schema = at(item, 'schema', 'openAPIV3Schema')
    if (!isObject(schema))
      causes.push({
        reason: 'FieldValueRequired',
        message: 'Required value: schemas are required',
        field: `spec.versions[${index}].schema.openAPIV3Schema`,
      })
    else causes.push(...structuralProblems(schema, `${path}.openAPIV3Schema`))
    for (const [position, column] of listAt(item, 'additionalPrinterColumns').entries()) {
      const jsonPath = stringAt(column, 'jsonPath')
      if (compileJsonPath(jsonPath) === undefined)
        bad(
          `spec.versions[${index}].additionalPrinterColumns[${position}].jsonPath`,
          jsonPath,
          'is no simple JSON path',
        )
    }
  }
  return causes
}

function changeProblems(object: KubeObject, old: KubeObject): StatusCause[] {
  return [['group'], ['scope'], ['names', 'kind'], ['names', 'plural']]
    .filter((path) => !deepEqual(at(object, 'spec', ...path), at(old, 'spec', ...path)))
    .map((path) => ({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(at(object, 'spec', ...path))}: field is immutable`,
      field: ['spec', ...path].join('.'),
    }))
}
