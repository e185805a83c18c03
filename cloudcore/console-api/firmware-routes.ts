import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FirmwareView } from '../../api/console/work.ts'
import { SluiceError } from '../../api/errors.ts'
import { API_VERSION, type FirmwareRelease, type FirmwareRollout } from '../../api/resources.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, FIRMWARE_RELEASES, FIRMWARE_ROLLOUTS, objectPath } from '../kube/paths.ts'
import { readJson, sendJson } from './http.ts'

const MAX_BODY_BYTES = 64 * 1024
/** The newest of each; a rollout may stand for 500 devices. */
const MOST = 200

/**
 * Firmware of boards, as the console shows and holds it:
 *
 *     GET  /v1/firmware                       FirmwareView
 *     POST /v1/rollouts                       {namespace, name, release, devices, canary?, waves?} -> {rollout}
 *     POST /v1/rollouts/{namespace}/{name}    {paused: boolean}, {retry: true} or {rollBack: true} -> {rollout, state}
 *
 * Answers whether it was one of them.
 */
export async function answeredFirmware(
  client: KubeClient,
  request: IncomingMessage,
  response: ServerResponse,
  path: readonly string[],
  who: string,
): Promise<boolean> {
  const [, second, namespace = '', name = ''] = path
  if (second === 'firmware' && path.length === 2 && request.method === 'GET') {
    sendJson(response, 200, await firmwareView(client))
    return true
  }
  if (second !== 'rollouts' || request.method !== 'POST') return false
  const query = { fieldManager: `sluice-console-${who}`.slice(0, 128) }
  if (path.length === 2) {
    sendJson(response, 201, await begin(client, await fieldsOf(request), query))
    return true
  }
  if (path.length !== 4) return false
  sendJson(response, 200, await change(client, namespace, name, await fieldsOf(request), query))
  return true
}

async function firmwareView(client: KubeClient): Promise<FirmwareView> {
  const query = { limit: MOST }
  const [releases, rollouts] = await Promise.all([
    client.list<FirmwareRelease>(collectionPath(FIRMWARE_RELEASES), { query }),
    client.list<FirmwareRollout>(collectionPath(FIRMWARE_ROLLOUTS), { query }),
  ])
  return { releases: releases.items.map(cardOf), rollouts: rollouts.items.map(cardOf) }
}

interface Listed<Spec, Status> {
  readonly metadata: { readonly namespace?: string; readonly name: string; readonly creationTimestamp?: string }
  readonly spec: Spec
  readonly status?: Status
}

const cardOf = <Spec, Status extends object>({ metadata, spec, status }: Listed<Spec, Status>) => ({
  ...{ namespace: metadata.namespace ?? 'default', name: metadata.name, createdAt: metadata.creationTimestamp ?? '' },
  spec,
  status: status ?? ({} as Status),
})

type Fields = Readonly<Record<string, unknown>>
type Query = Readonly<Record<'fieldManager', string>>

async function begin(client: KubeClient, fields: Fields, query: Query) {
  const { namespace = 'default', name, release, devices, canary, waves } = fields
  if (typeof namespace !== 'string' || typeof name !== 'string' || typeof release !== 'string' || !isNames(devices)) {
    throw new SluiceError('SLUICE_API_BAD_REQUEST', "the body needs 'name', 'release' and 'devices'", {
      hint: '{"name": "greenhouse-0-2-0", "release": "greenhouse-0.2.0-1a2b3c4d", "devices": ["a", "b"]}',
    })
  }
  const spec = {
    ...{ release, devices },
    ...(canary === undefined ? {} : { canary }),
    ...(waves === undefined ? {} : { waves }),
  }
  const body = { apiVersion: API_VERSION, kind: 'FirmwareRollout', metadata: { name, namespace }, spec }
  await client.create(collectionPath(FIRMWARE_ROLLOUTS, namespace), body, { query })
  return { rollout: `${namespace}/${name}` }
}

const isNames = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === 'string')

async function change(client: KubeClient, namespace: string, name: string, fields: Fields, query: Query) {
  const path = objectPath(FIRMWARE_ROLLOUTS, name, namespace)
  const { paused, retry, rollBack } = fields
  let spec: { readonly paused?: boolean; readonly rollBack?: boolean; readonly retry?: number }
  let state: string
  if (typeof paused === 'boolean') [spec, state] = [{ paused }, paused ? 'paused' : 'resumed']
  else if (rollBack === true) [spec, state] = [{ rollBack }, 'rolling back']
  else if (retry === true) {
    const { spec: held } = await client.get<FirmwareRollout>(path)
    ;[spec, state] = [{ retry: (held.retry ?? 0) + 1 }, 'trying again']
  } else {
    throw new SluiceError('SLUICE_API_BAD_REQUEST', "the body needs 'paused', 'retry' or 'rollBack'", {
      hint: '{"paused": true}',
    })
  }
  await client.patch(path, 'merge', { spec }, { query })
  return { rollout: `${namespace}/${name}`, state }
}

async function fieldsOf(request: IncomingMessage): Promise<Fields> {
  const body = await readJson(request, MAX_BODY_BYTES)
  return typeof body === 'object' && body !== null ? { ...body } : {}
}
