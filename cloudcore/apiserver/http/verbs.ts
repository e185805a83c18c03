import { jsonPatch } from '../apply/json-patch.ts'
import { mergePatch } from '../apply/merge-patch.ts'
import { strategicMerge } from '../apply/strategic-merge.ts'
import { withMetadataSchema } from '../apply/structure.ts'
import type { JsonObject, KubeObject } from '../objects.ts'
import { isObject } from '../objects.ts'
import type { WriteOptions } from '../registry/admission.ts'
import { deleteObject, readDeleteOptions } from '../registry/deletion.ts'
import type { Kind } from '../registry/kind.ts'
import type { Registry, Target } from '../registry/registry.ts'
import type { StoredObject } from '../storage/revision.ts'
import { negotiate } from './accept.ts'
import { decodeBody, decodeJson, decodeYaml, mediaType, readBody } from './body.ts'
import type { Exchange } from './exchange.ts'
import { addWarnings, sendJson, sendObject } from './exchange.ts'
import { bodyInVersion, readInclude, readSelection, selects } from './list.ts'
import { badRequest, invalid, unsupportedMediaType } from './status.ts'
import { columnDefinitions, partialMetadata, table, tableRow } from './table.ts'

const SHAPES = ['Table', 'PartialObjectMetadata']
const MERGE = 'application/merge-patch+json'
const JSON_PATCH = 'application/json-patch+json'
const STRATEGIC = 'application/strategic-merge-patch+json'
const APPLY = 'application/apply-patch+yaml'
const MAX_MANAGER_CHARS = 128

export async function answerGet(exchange: Exchange, registry: Registry, target: Target): Promise<void> {
  const stored = registry.get(target)
  await registry.store.committed()
  sendStored(exchange, registry, target.kind, stored, 200)
}

export async function answerCreate(
  exchange: Exchange,
  registry: Registry,
  kind: Kind,
  namespace: string,
): Promise<void> {
  negotiate(exchange.request.headers.accept, SHAPES)
  const body = decodeBody(await readBody(exchange.request), mediaType(exchange.request))
  if (kind.review !== undefined) {
    sendObject(exchange.response, 201, kind.review(isObject(body) ? body : {}, exchange.caller))
    return
  }
  const options = writeOptions(exchange)
  const stored = registry.create(kind, namespace, body, options)
  await finishWrite(exchange, registry, kind, stored, 201, options)
}

export async function answerReplace(exchange: Exchange, registry: Registry, target: Target): Promise<void> {
  const body = decodeBody(await readBody(exchange.request), mediaType(exchange.request))
  const options = writeOptions(exchange)
  const { stored } = registry.replace(target, body, options)
  await finishWrite(exchange, registry, target.kind, stored, 200, options)
}

export async function answerPatch(exchange: Exchange, registry: Registry, target: Target): Promise<void> {
  const type = mediaType(exchange.request)
  const body = await readBody(exchange.request)
  const options = writeOptions(exchange)
  const { kind } = target
  if (type === APPLY) {
    if ((exchange.query.get('fieldManager') ?? '') === '') {
      throw invalid({ group: 'meta.k8s.io', kind: 'PatchOptions' }, '', [
        { reason: 'FieldValueRequired', message: 'Required value: is required for apply patch', field: 'fieldManager' },
      ])
    }
    const applied = registry.apply(target, decodeYaml(body), options)
    return finishWrite(exchange, registry, kind, applied.stored, applied.created ? 201 : 200, options)
  }
  const change = patchFunction(type, body, kind)
  const { stored } = registry.patch(target, change, options)
  await finishWrite(exchange, registry, kind, stored, 200, options)
}

function patchFunction(type: string, body: Buffer, kind: Kind): (live: KubeObject) => unknown {
  if (type === MERGE) {
    const patch = needObject(decodeJson(body))
    return (live) => mergePatch(live, patch)
  }
  if (type === JSON_PATCH) {
    const patch = decodeJson(body)
    return (live) => jsonPatch(live, patch)
  }
  if (type === STRATEGIC && !kind.custom) {
    const patch = needObject(decodeJson(body))
    return (live) => strategicMerge(live, patch, withMetadataSchema(kind.schema))
  }
  throw unsupportedMediaType([JSON_PATCH, MERGE, ...(kind.custom ? [] : [STRATEGIC]), APPLY])
}

function needObject(patch: unknown): JsonObject {
  if (!isObject(patch)) throw badRequest('error decoding patch: a patch is an object')
  return patch
}

export async function answerDelete(exchange: Exchange, registry: Registry, target: Target): Promise<void> {
  const body = decodeBody(await readBody(exchange.request), mediaType(exchange.request))
  const { stored, gone } = deleteObject(registry, target, readDeleteOptions(body, exchange.query))
  await registry.store.committed()
  const { kind, name } = target
  if (!gone || kind.graceSeconds !== undefined) return sendStored(exchange, registry, kind, stored, 200)
  const details = {
    name,
    ...(kind.group === '' ? {} : { group: kind.group }),
    kind: kind.plural,
    uid: stored.object.metadata.uid,
  }
  sendObject(exchange.response, 200, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details })
}

export async function answerCollectionDelete(
  exchange: Exchange,
  registry: Registry,
  kind: Kind,
  namespace: string | undefined,
): Promise<void> {
  const body = decodeBody(await readBody(exchange.request), mediaType(exchange.request))
  const options = readDeleteOptions(body, exchange.query)
  const selection = readSelection(exchange.query, kind)
  const items: KubeObject[] = []
  for (const { key, stored } of registry.store.all(kind.resource, namespace)) {
    if (!selects(selection, stored.object)) continue
    deleteObject(registry, { kind, namespace: key.namespace, name: key.name, subresource: undefined }, options)
    items.push(registry.inVersion(stored.object, kind))
  }
  await registry.store.committed()
  const metadata = { resourceVersion: String(registry.store.committedRevision), continue: '' }
  sendObject(exchange.response, 200, {
    apiVersion: items[0]?.apiVersion ?? kind.version,
    kind: kind.listKind,
    items,
    metadata,
  })
}

async function finishWrite(
  exchange: Exchange,
  registry: Registry,
  kind: Kind,
  stored: StoredObject,
  code: number,
  options: WriteOptions,
): Promise<void> {
  await registry.store.committed()
  addWarnings(exchange.response, options.warnings)
  sendStored(exchange, registry, kind, stored, code)
}

/** Sends one object in the shape the client asked for. */
function sendStored(exchange: Exchange, registry: Registry, kind: Kind, stored: StoredObject, code: number): void {
  const wanted = negotiate(exchange.request.headers.accept, SHAPES)
  const { response } = exchange
  if (wanted.as === undefined) {
    sendJson(response, code, bodyInVersion(registry, stored, kind), wanted)
    return
  }
  const object = registry.inVersion(stored.object, kind)
  if (wanted.as === 'PartialObjectMetadata') {
    sendObject(response, code, partialMetadata(object), wanted)
    return
  }
  const row = tableRow(object, kind, readInclude(exchange.query), registry.clock.now())
  const metadata = { resourceVersion: object.metadata.resourceVersion ?? '' }
  sendObject(response, code, table([row], columnDefinitions(kind), metadata), wanted)
}

/** The query options every write takes. */
export function writeOptions({ query, request }: Exchange): WriteOptions {
  const dryRun = query.getAll('dryRun')
  if (dryRun.some((value) => value !== 'All' && value !== ''))
    throw badRequest('dryRun: Unsupported value: supported values: "All"')
  const validation = query.get('fieldValidation') ?? ''
  if (!['', 'Strict', 'Warn', 'Ignore'].includes(validation)) {
    throw badRequest(
      `fieldValidation: Unsupported value: ${JSON.stringify(validation)}: supported values: "Ignore", "Strict", "Warn"`,
    )
  }
  const agent = (request.headers['user-agent'] ?? '').split('/')[0]?.slice(0, MAX_MANAGER_CHARS) ?? ''
  const manager = query.get('fieldManager') ?? ''
  if (manager.length > MAX_MANAGER_CHARS)
    throw badRequest(`fieldManager may be at most ${MAX_MANAGER_CHARS} characters long`)
  return {
    manager: manager || agent || 'unknown',
    dryRun: dryRun.includes('All'),
    fieldValidation: validation === 'Strict' || validation === 'Ignore' ? validation : 'Warn',
    force: ['true', '1'].includes(query.get('force') ?? ''),
    warnings: [],
  }
}
