import { jsonPatch } from '../apply/json-patch.ts'
import { mergePatch } from '../apply/merge-patch.ts'
import type { JsonObject, KubeObject } from '../objects.ts'
import { at, isObject, stringAt, withField, withMetadata } from '../objects.ts'
import type { WriteOptions } from '../registry/admission.ts'
import type { Kind, ScalePaths } from '../registry/kind.ts'
import { selectorText } from '../registry/kinds/pod-template.ts'
import type { Registry, Target } from '../registry/registry.ts'
import { decodeBody, decodeJson, mediaType, readBody } from './body.ts'
import type { Exchange } from './exchange.ts'
import { sendObject } from './exchange.ts'
import { badRequest, invalid, methodNotAllowed, unsupportedMediaType } from './status.ts'

const MERGE = 'application/merge-patch+json'
const JSON_PATCH = 'application/json-patch+json'

/**
 * The scale subresource (autoscaling/v1 Scale): the one number of replicas of an object, wherever the
 * object keeps it. Reading and writing both go through the object itself, so its own rules hold.
 */
export async function answerScale(
  exchange: Exchange,
  registry: Registry,
  target: Target,
  optionsOf: (exchange: Exchange) => WriteOptions,
): Promise<void> {
  const { kind } = target
  const paths = kind.scale
  const { method, request, response } = exchange
  if (paths === undefined || !['GET', 'PUT', 'PATCH'].includes(method)) throw methodNotAllowed()
  if (method === 'GET') {
    const { object } = registry.get(target)
    await registry.store.committed()
    sendObject(response, 200, scaleOf(registry.inVersion(object, kind), paths))
    return
  }
  const type = mediaType(request)
  const body = await readBody(request)
  const wanted = method === 'PUT' ? () => decodeBody(body, type) : patchOf(type, body)
  const { stored } = registry.patch(
    target,
    (live) => scaled(live, wanted(scaleOf(live, paths)), kind, paths),
    optionsOf(exchange),
  )
  await registry.store.committed()
  sendObject(response, 200, scaleOf(registry.inVersion(stored.object, kind), paths))
}

function patchOf(type: string, body: Buffer): (scale: JsonObject) => unknown {
  if (type !== MERGE && type !== JSON_PATCH) throw unsupportedMediaType([JSON_PATCH, MERGE])
  const patch = decodeJson(body)
  if (type === JSON_PATCH) return (scale) => jsonPatch(scale, patch)
  if (!isObject(patch)) throw badRequest('error decoding patch: a patch is an object')
  return (scale) => mergePatch(scale, patch)
}

function scaleOf(object: KubeObject, paths: ScalePaths): JsonObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const replicas = at(object, ...paths.spec)
  const selects = paths.selector === undefined ? '' : at(object, ...paths.selector)
  // Custom kinds keep it as text, the built-in ones as an object.
  const selector = typeof selects === 'string' ? selects : isObject(selects) ? selectorText(selects) : ''
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: typeof replicas === 'number' ? { replicas } : {},
    status: {
      replicas: Number(at(object, ...paths.status) ?? 0),
      ...(selector === '' ? {} : { selector }),
    },
  }
}

/** The object with the replicas, and under the preconditions, that a Scale names. */
function scaled(live: KubeObject, scale: unknown, kind: Kind, paths: ScalePaths): KubeObject {
  const replicas = at(scale, 'spec', 'replicas')
  if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0) {
    throw invalid({ group: 'autoscaling', kind: 'Scale' }, live.metadata.name, [
      {
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(replicas ?? null)}: must be a whole number of at least 0`,
        field: 'spec.replicas',
      },
    ])
  }
  if (stringAt(scale, 'metadata', 'name') !== live.metadata.name) {
    throw badRequest(`the name of the scale does not match the ${kind.singular} '${live.metadata.name}'`)
  }
  const resourceVersion = stringAt(scale, 'metadata', 'resourceVersion')
  return withMetadata(withField(live, paths.spec, replicas), {
    resourceVersion: resourceVersion === '' ? undefined : resourceVersion,
  })
}
