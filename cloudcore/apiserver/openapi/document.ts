import { createHash } from 'node:crypto'
import type { Schema } from '../crd/schema.ts'
import type { JsonObject } from '../objects.ts'
import { isObject } from '../objects.ts'
import type { Catalog } from '../registry/catalog.ts'
import type { Kind } from '../registry/kind.ts'

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1'

/** OpenAPI v3 of what is served: an index, and one document for each group and version, made when first asked for. */
export class OpenApi {
  readonly #catalog: Catalog
  #generation = -1
  #documents = new Map<string, { text: string; hash: string }>()

  constructor(catalog: Catalog) {
    this.#catalog = catalog
  }

  index(): JsonObject {
    const paths: Record<string, JsonObject> = {}
    for (const [group, versions] of this.#catalog.groups()) {
      for (const version of versions) {
        const path = group === '' ? `api/${version}` : `apis/${group}/${version}`
        paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${this.#document(path, group, version).hash}` }
      }
    }
    return { paths }
  }

  /** The document at `api/v1` or `apis/GROUP/VERSION`; undefined when nothing is served there. */
  document(path: string): string | undefined {
    const match = /^(?:api|apis\/([^/]+))\/([^/]+)$/.exec(path)
    if (match === null) return undefined
    const group = match[1] ?? ''
    const version = match[2] ?? ''
    return this.#catalog.in(group, version).length === 0 ? undefined : this.#document(path, group, version).text
  }

  #document(path: string, group: string, version: string): { text: string; hash: string } {
    if (this.#generation !== this.#catalog.generation) {
      this.#documents.clear()
      this.#generation = this.#catalog.generation
    }
    let found = this.#documents.get(path)
    if (found === undefined) {
      const text = JSON.stringify(describe(this.#catalog.in(group, version), path))
      found = { text, hash: createHash('sha256').update(text).digest('hex').slice(0, 32).toUpperCase() }
      this.#documents.set(path, found)
    }
    return found
  }
}

function describe(kinds: readonly Kind[], path: string): JsonObject {
  const paths: Record<string, JsonObject> = {}
  const schemas: Record<string, JsonObject> = { [`${META}.ObjectMeta`]: OBJECT_META, [`${META}.ListMeta`]: LIST_META }
  for (const kind of kinds) {
    const name = schemaName(kind)
    schemas[name] = objectSchema(kind)
    schemas[`${name}List`] = listSchema(kind, name)
    const base = `/${path}/${kind.namespaced ? 'namespaces/{namespace}/' : ''}${kind.plural}`
    paths[base] = collectionPath(kind, name)
    if (kind.review === undefined) paths[`${base}/{name}`] = objectPath(kind, name)
  }
  return { openapi: '3.0.0', info: { title: 'Sluice', version: 'v1.32.0' }, paths, components: { schemas } }
}

function schemaName(kind: Kind): string {
  const group = kind.group === '' ? 'io.k8s.api.core' : kind.group.split('.').toReversed().join('.')
  return `${group}.${kind.version}.${kind.kind}`
}

function gvk(kind: Kind, name = kind.kind): JsonObject {
  return { group: kind.group, version: kind.version, kind: name }
}

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
const content = (name: string) => ({ content: { 'application/json': { schema: ref(name) } } })

/** kubectl leaves validation to the server where an operation takes the parameter fieldValidation. */
const QUERY = ['dryRun', 'fieldManager', 'fieldValidation', 'force'].map((name) => ({
  name,
  in: 'query',
  schema: { type: 'string', uniqueItems: true },
}))

function operation(kind: Kind, action: string, name: string, body: boolean): JsonObject {
  return {
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvk(kind),
    parameters: QUERY,
    ...(body ? { requestBody: content(name) } : {}),
    responses: { 200: { description: 'OK', ...content(name) } },
  }
}

function collectionPath(kind: Kind, name: string): JsonObject {
  const list = kind.review === undefined ? { get: operation(kind, 'list', `${name}List`, false) } : {}
  return { ...list, post: operation(kind, 'post', name, true) }
}

function objectPath(kind: Kind, name: string): JsonObject {
  return {
    get: operation(kind, 'get', name, false),
    put: operation(kind, 'put', name, true),
    patch: operation(kind, 'patch', name, true),
    delete: operation(kind, 'delete', name, false),
  }
}

const HEADER = {
  apiVersion: {
    type: 'string',
    description: 'APIVersion defines the versioned schema of this representation of an object.',
  },
  kind: {
    type: 'string',
    description: 'Kind is a string value representing the REST resource this object represents.',
  },
}

function objectSchema(kind: Kind): JsonObject {
  const schema = published(kind.schema)
  const properties = isObject(schema['properties']) ? schema['properties'] : {}
  return {
    ...schema,
    properties: {
      ...HEADER,
      metadata: { allOf: [ref(`${META}.ObjectMeta`)], default: {}, description: "Standard object's metadata." },
      ...withoutHeader(properties),
    },
    'x-kubernetes-group-version-kind': [gvk(kind)],
  }
}

function withoutHeader(properties: JsonObject): JsonObject {
  const { apiVersion: _a, kind: _k, metadata: _m, ...rest } = properties
  return rest
}

function listSchema(kind: Kind, name: string): JsonObject {
  return {
    type: 'object',
    description: `${kind.listKind} is a list of ${kind.kind}`,
    required: ['items'],
    properties: { ...HEADER, metadata: ref(`${META}.ListMeta`), items: { type: 'array', items: ref(name) } },
    'x-kubernetes-group-version-kind': [gvk(kind, kind.listKind)],
  }
}

/** What a schema is for others: without our own marks, and with strategic merge keys spelled out. */
function published(schema: Schema): JsonObject {
  const { 'x-sluice-omit-empty': _ours, properties, items, additionalProperties, ...rest } = schema
  const [key] = schema['x-kubernetes-list-map-keys'] ?? []
  return {
    ...rest,
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(Object.entries(properties).map(([name, child]) => [name, published(child)])),
        }),
    ...(items === undefined ? {} : { items: published(items) }),
    ...(additionalProperties === undefined
      ? {}
      : {
          additionalProperties:
            typeof additionalProperties === 'object' ? published(additionalProperties) : additionalProperties,
        }),
    ...(key === undefined ? {} : { 'x-kubernetes-patch-merge-key': key, 'x-kubernetes-patch-strategy': 'merge' }),
  }
}

const string = { type: 'string' }
const textMap = { type: 'object', additionalProperties: string }
const date = { type: 'string', format: 'date-time' }

const OBJECT_META: JsonObject = {
  type: 'object',
  description: 'ObjectMeta is metadata that all persisted resources must have.',
  properties: {
    name: { ...string, description: 'Name must be unique within a namespace. Cannot be updated.' },
    generateName: { ...string, description: 'A prefix the server makes a unique name from, if no name is given.' },
    namespace: { ...string, description: 'Namespace defines the space within which each name must be unique.' },
    labels: { ...textMap, description: 'Keys and values that organise and select objects.' },
    annotations: { ...textMap, description: 'Keys and values that tools store with an object.' },
    finalizers: { type: 'array', items: string, description: 'The object stays until this list is empty.' },
    ownerReferences: {
      type: 'array',
      description: 'Objects this one depends on; it is deleted when all of them are gone.',
      items: {
        type: 'object',
        properties: {
          apiVersion: string,
          kind: string,
          name: string,
          uid: string,
          controller: { type: 'boolean' },
          blockOwnerDeletion: { type: 'boolean' },
        },
      },
    },
    uid: { ...string, description: 'Unique in time and space; set by the server.' },
    resourceVersion: { ...string, description: 'Changes with every change of the object; set by the server.' },
    generation: {
      type: 'integer',
      format: 'int64',
      description: 'Counts changes of the desired state; set by the server.',
    },
    creationTimestamp: { ...date, description: 'When the object was created; set by the server.' },
    deletionTimestamp: { ...date, description: 'When the object is to be gone; set by the server on delete.' },
    deletionGracePeriodSeconds: {
      type: 'integer',
      format: 'int64',
      description: 'How long the object may take to end.',
    },
    managedFields: { type: 'array', items: { type: 'object' }, description: 'Which writer owns which fields.' },
  },
}

const LIST_META: JsonObject = {
  type: 'object',
  description: 'ListMeta describes metadata of lists.',
  properties: { resourceVersion: string, continue: string, remainingItemCount: { type: 'integer' } },
}
