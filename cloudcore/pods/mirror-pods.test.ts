import { beforeEach, describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import type { PodSpec } from '../../api/link/pods.ts'
import type { StaticPod } from '../../api/link/static-pods.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { MirrorPods } from './mirror-pods.ts'
import { type ApiPod, PodObjects } from './pod-objects.ts'

let clock: VirtualClock
let api: Map<string, ApiPod>
let calls: string[]
let refused: string[]
let troubles: string[]
let objects: PodObjects
let mirrors: MirrorPods
let uids: number

const UID = 'a'.repeat(32)
const web = (uid = UID, spec: Partial<PodSpec> = {}, name = 'web-gw'): StaticPod => ({
  key: `n/${name}`,
  object: {
    uid,
    generation: 1,
    metadata: { labels: { app: 'web' } },
    spec: { containers: [{ name: 'c', image: 'x' }], ...spec },
  },
})
const settle = async () => {
  for (let turn = 0; turn < 40; turn++) await Promise.resolve()
  await clock.advance(1000)
  for (let turn = 0; turn < 40; turn++) await Promise.resolve()
}
/** As the watch of the API would tell it. */
const seen = (key: string) => {
  const pod = api.get(key)
  if (pod === undefined) objects.remove(key)
  else objects.upsert(pod)
  mirrors.changed('gw')
}

beforeEach(() => {
  clock = new VirtualClock()
  ;[api, calls, refused, troubles, uids] = [new Map(), [], [], [], 0]
  objects = new PodObjects({
    isGateway: (node) => node === 'gw' || node === 'other',
    ...{ onChange: () => {}, onNeed: () => {}, onNeedless: () => {} },
  })
  mirrors = new MirrorPods({
    ...{ clock, signal: new AbortController().signal },
    client: {
      create: async <T>(path: string, body: object) => {
        const pod = body as ApiPod
        const key = `n/${pod.metadata.name}`
        calls.push(`create ${key}`)
        if (api.has(key)) throw new SluiceError('SLUICE_KUBE_EXISTS', `${path} is there`)
        api.set(key, { ...pod, metadata: { ...pod.metadata, uid: `api-${++uids}` } })
        seen(key)
        return pod as T
      },
      delete: async <T>(path: string, options?: { body?: unknown }) => {
        const key = `n/${path.split('/').at(-1)}`
        calls.push(`delete ${key}`)
        expect(options?.body).toMatchObject({
          gracePeriodSeconds: 0,
          preconditions: { uid: api.get(key)?.metadata.uid },
        })
        api.delete(key)
        seen(key)
        return {} as T
      },
      get: async <T>() => ({ metadata: { name: 'gw', uid: 'node-uid' } }) as T,
    },
    ready: () => Promise.resolve(),
    pod: (key) => objects.pod(key),
    podsOf: (gateway) => objects.podsOf(gateway),
    onRefused: (_, message) => refused.push(message),
    onTrouble: (what, { message }) => troubles.push(`${what}: ${message}`),
  })
})

describe('static pods in the API', () => {
  it('have a mirror as a kubelet makes it, which nobody sends to the gateway', async () => {
    mirrors.told('gw', [web()])
    await settle()
    expect(api.get('n/web-gw')).toMatchObject({
      metadata: {
        labels: { app: 'web' },
        ownerReferences: [{ kind: 'Node', name: 'gw', uid: 'node-uid', controller: true }],
        annotations: {
          'kubernetes.io/config.source': 'file',
          'kubernetes.io/config.hash': UID,
          'kubernetes.io/config.mirror': UID,
        },
      },
      spec: { nodeName: 'gw', tolerations: [{ operator: 'Exists', effect: 'NoExecute' }] },
    })
    expect([...objects.wantedBy('gw')]).toEqual([])
    mirrors.told('gw', [web()])
    await settle()
    expect(calls).toEqual(['create n/web-gw'])
  })

  it('come back when they are deleted, are replaced with the file, and go with it', async () => {
    mirrors.told('gw', [web()])
    await settle()
    const { metadata, spec } = api.get('n/web-gw')!
    api.set('n/web-gw', { spec, metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } })
    seen('n/web-gw')
    await settle()
    expect(api.get('n/web-gw')!.metadata).toMatchObject({ uid: 'api-2' })
    expect(api.get('n/web-gw')!.metadata.deletionTimestamp).toBeUndefined()
    mirrors.told('gw', [web('b'.repeat(32))])
    await settle()
    expect(objects.pod('n/web-gw')).toMatchObject({ uid: 'api-3', mirrorOf: 'b'.repeat(32) })
    mirrors.told('gw', [])
    await settle()
    expect([...api.keys()]).toEqual([])
    expect(calls.filter((call) => call.startsWith('create'))).toHaveLength(3)
  })

  it('are only what a node may make: its own name, nothing of the API', async () => {
    const secret = { containers: [{ name: 'c', image: 'x', envFrom: [{ secretRef: { name: 's' } }] }] }
    mirrors.told('gw', [
      web(UID, {}, 'web-other'),
      web(UID, { nodeName: 'other' }),
      web(UID, secret),
      web(UID, { serviceAccountName: 'admin' }),
      web(UID, { volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }] }),
    ])
    await settle()
    expect(calls).toEqual([])
    expect(refused).toHaveLength(5)
    expect(refused[2]).toContain('Secret n/s')
  })

  it("never take another gateway's mirrors, nor ordinary pods, away", async () => {
    const spec = (nodeName: string) => ({ nodeName, containers: [{ name: 'c', image: 'x' }] })
    const mirror = { 'kubernetes.io/config.mirror': UID }
    api.set('n/web-other', {
      metadata: { name: 'web-other', namespace: 'n', uid: 'o', annotations: mirror },
      spec: spec('other'),
    })
    api.set('n/web-gw', { metadata: { name: 'web-gw', namespace: 'n', uid: 'p' }, spec: spec('gw') })
    for (const key of api.keys()) seen(key)
    mirrors.told('gw', [web()])
    await settle()
    expect(calls.filter((call) => call.startsWith('delete'))).toEqual([])
    expect(troubles).toEqual([expect.stringContaining('mirror pod n/web-gw')])
  })
})
