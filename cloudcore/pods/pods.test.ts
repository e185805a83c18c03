import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import type { LinkObjectKind } from '../../api/link/messages.ts'
import type { PodSpec, PodStatusItem } from '../../api/link/pods.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { type ApiPod, type BoundPod, PodObjects } from './pod-objects.ts'
import { PodStatuses } from './pod-statuses.ts'
import { type PayloadId, referencesOf, splitPayloadId } from './references.ts'

const container = { name: 'main', image: 'i' }
const pod = (
  name: string,
  nodeName: string | undefined,
  extra: Partial<PodSpec> = {},
  uid = `uid-${name}`,
): ApiPod => ({
  metadata: { name, namespace: 'n', uid },
  spec: { containers: [container], ...(nodeName === undefined ? {} : { nodeName }), ...extra },
})
const withConfig = (name: string) => ({ volumes: [{ name: 'v', configMap: { name } }] })

describe('what a pod names', () => {
  it('is found wherever a pod can name it, and once', () => {
    const spec: PodSpec = {
      initContainers: [{ ...container, envFrom: [{ configMapRef: { name: 'a' } }, { secretRef: { name: 'b' } }] }],
      containers: [
        {
          ...container,
          env: [
            { name: 'X', valueFrom: { configMapKeyRef: { name: 'c', key: 'k' } } },
            { name: 'Y', valueFrom: { secretKeyRef: { name: 'd', key: 'k' } } },
            { name: 'Z', value: 'plain' },
          ],
        },
      ],
      volumes: [
        { name: 'v1', configMap: { name: 'a' } },
        { name: 'v2', secret: { secretName: 'e' } },
        { name: 'v3', projected: { sources: [{ configMap: { name: 'f' } }, { secret: { name: 'g' } }, {}] } },
        { name: 'v4', emptyDir: {} },
      ],
      imagePullSecrets: [{ name: 'h' }],
    }
    const config = ['a', 'c', 'f'].map((name) => `ConfigMap n/${name}`)
    const secret = ['b', 'd', 'e', 'g', 'h'].map((name) => `Secret n/${name}`)
    expect([...referencesOf('n', spec)].sort()).toEqual([...config, ...secret].sort())
  })
})

describe('objects of pods', () => {
  let changes: string[]
  let needed: Set<PayloadId>
  let gateways: Set<string>
  let objects: PodObjects

  beforeEach(() => {
    changes = []
    needed = new Set()
    gateways = new Set(['gw', 'other'])
    objects = new PodObjects({
      isGateway: (node) => gateways.has(node),
      onChange: (gateway, told) => changes.push(...told.map(([kind, key]) => `${gateway} ${kind} ${key}`)),
      onNeed: (id) => needed.add(id),
      onNeedless: (id) => needed.delete(id),
    })
  })

  const wanted = (gateway: string) => [...objects.wantedBy(gateway)].map(({ kind, key }) => `${kind} ${key}`)
  const give = (name: string, value: string) =>
    objects.payload('ConfigMap', `n/${name}`, { metadata: { name, namespace: 'n', uid: name }, data: { value } })

  it('go to the gateway a pod is bound to, with what it names before it, and to no other', () => {
    objects.upsert(pod('p', 'gw', withConfig('c')))
    expect(wanted('gw')).toEqual([])
    give('c', '1')
    expect(wanted('gw')).toEqual(['ConfigMap n/c', 'Pod n/p'])
    expect(wanted('other')).toEqual([])
    expect(objects.isWanted('other', 'ConfigMap', 'n/c')).toBe(false)
    expect(objects.linkObject('gw', 'ConfigMap', 'n/c')).toMatchObject({ object: { uid: 'c', data: { value: '1' } } })
    expect(objects.linkObject('gw', 'Pod', 'n/p')).toMatchObject({ object: { uid: 'uid-p', spec: { nodeName: 'gw' } } })
  })

  it('wait for no ConfigMap that is not there', () => {
    objects.upsert(pod('p', 'gw', withConfig('c')))
    objects.payload('ConfigMap', 'n/c', undefined)
    expect(wanted('gw')).toEqual(['Pod n/p'])
    changes = []
    give('c', '1')
    expect(changes).toEqual(['gw ConfigMap n/c'])
  })

  it('change when what is to run changes, and not when its status does', () => {
    objects.upsert(pod('p', 'gw'))
    const rev = objects.rev('gw', 'Pod', 'n/p')
    changes = []
    objects.upsert({ ...pod('p', 'gw'), status: { phase: 'Running' } })
    expect(changes).toEqual([])
    const leaving = { ...pod('p', 'gw').metadata, deletionTimestamp: '2026-01-01T00:00:00Z' }
    objects.upsert({ ...pod('p', 'gw'), metadata: leaving })
    expect(changes).toEqual(['gw Pod n/p'])
    expect(objects.rev('gw', 'Pod', 'n/p')).not.toBe(rev)
    expect(objects.pod('n/p')).toMatchObject({ leaving: true })
  })

  it('of a node that is a gateway only later are found then', () => {
    gateways.delete('gw')
    objects.upsert(pod('p', 'gw'))
    expect([wanted('gw'), [...objects.waitingFor('gw')]]).toEqual([[], ['n/p']])
    gateways.add('gw')
    objects.upsert(pod('p', 'gw'))
    expect([wanted('gw'), [...objects.waitingFor('gw')]]).toEqual([['Pod n/p'], []])
  })

  it('are at any time exactly what the pods there are name', () => {
    const name = fc.constantFrom('p', 'q', 'r')
    const step = fc.oneof(
      fc.record({
        ...{ do: fc.constant('upsert' as const), name, node: fc.constantFrom('gw', 'other', 'nowhere', undefined) },
        config: fc.constantFrom('a', 'b', undefined),
      }),
      fc.record({ do: fc.constant('remove' as const), name }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const model = new Map<string, { node: string | undefined; config: string | undefined }>()
        needed.clear()
        const told = new Map<string, string | undefined>()
        const fresh = new PodObjects({
          isGateway: (node) => node !== 'nowhere',
          onChange: (gateway, list) => {
            for (const [kind, key] of list) told.set(`${gateway} ${kind} ${key}`, fresh.rev(gateway, kind, key))
          },
          onNeed: (id) => needed.add(id),
          onNeedless: (id) => needed.delete(id),
        })
        for (const each of steps) {
          if (each.do === 'remove') {
            fresh.remove(`n/${each.name}`)
            model.delete(each.name)
          } else {
            fresh.upsert(pod(each.name, each.node, each.config === undefined ? {} : withConfig(each.config)))
            model.set(each.name, each)
          }
          for (const id of needed) {
            const [kind, key] = splitPayloadId(id)
            fresh.payload(kind, key, { metadata: { name: key.slice(2), namespace: 'n' }, data: {} })
          }
        }
        const here = [...model].filter(([, { node }]) => node !== undefined && node !== 'nowhere')
        expect(needed).toEqual(
          new Set(here.flatMap(([, { config }]) => (config === undefined ? [] : [`ConfigMap n/${config}`]))),
        )
        for (const gateway of ['gw', 'other']) {
          const mine = here.filter(([, { node }]) => node === gateway)
          const expected = mine.flatMap(([key, { config }]) => [
            `Pod n/${key}`,
            ...(config === undefined ? [] : [`ConfigMap n/${config}`]),
          ])
          const found = [...fresh.wantedBy(gateway)].map(({ kind, key }) => `${kind} ${key}`)
          expect(new Set(found)).toEqual(new Set(expected))
          // Whoever follows the changes alone knows the same.
          const followed = [...told].filter(([id, rev]) => id.startsWith(`${gateway} `) && rev !== undefined)
          expect(new Set(followed.map(([id]) => id.slice(gateway.length + 1)))).toEqual(new Set(expected))
          for (const [id, rev] of followed) {
            const [, kind, key] = id.split(' ') as [string, LinkObjectKind, string]
            expect(fresh.rev(gateway, kind, key)).toBe(rev)
          }
        }
      }),
    )
  })
})

describe('statuses of pods', () => {
  let clock: VirtualClock
  let pods: Map<string, BoundPod>
  let calls: { readonly what: string; readonly path: string; readonly body: Record<string, unknown> }[]
  let refused: [strangers: readonly string[], count: number][]
  let answer: () => void
  let statuses: PodStatuses

  beforeEach(() => {
    clock = new VirtualClock()
    calls = []
    refused = []
    answer = () => {}
    pods = new Map([
      ['n/p', { key: 'n/p', uid: 'u1', gateway: 'gw', leaving: false, scheduled: true }],
      ['n/q', { key: 'n/q', uid: 'u2', gateway: 'other', leaving: false, scheduled: true }],
    ])
    const call = async <T>(what: string, path: string, body: object): Promise<T> => {
      calls.push({ what, path, body: body as Record<string, unknown> })
      answer()
      return {} as T
    }
    statuses = new PodStatuses({
      client: {
        patch: (path, type, body) => call(`patch ${type}`, path, body),
        delete: (path, options) => call('delete', path, options?.body ?? {}),
      },
      ...{ clock, signal: new AbortController().signal, pod: (key) => pods.get(key), hostIp: () => '10.0.0.7' },
      onRefused: (_gateway, strangers, count) => refused.push([strangers, count]),
      onTrouble: () => {},
    })
  })

  const settle = async () => {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
  }
  const item = (key: string, uid: string, phase: PodStatusItem['status']['phase'], gone = false): PodStatusItem => ({
    ...{ key, uid, gone },
    status: {
      phase,
      conditions: (['PodScheduled', 'Ready'] as const).map((type) => ({
        ...{ type, status: phase === 'Running' ? ('True' as const) : ('False' as const) },
        lastTransitionTime: '2026-01-01T00:00:00Z',
      })),
    },
  })

  it('go into the status of the pod, with its uid, and once', async () => {
    statuses.told('gw', [item('n/p', 'u1', 'Running')])
    await settle()
    statuses.told('gw', [item('n/p', 'u1', 'Running')])
    await clock.advance(5000)
    await settle()
    expect(calls).toHaveLength(1)
    expect(calls[0]).toMatchObject({
      ...{ what: 'patch strategic', path: '/api/v1/namespaces/n/pods/p/status' },
      body: { metadata: { uid: 'u1' }, status: { phase: 'Running', hostIP: '10.0.0.7', podIP: null, reason: null } },
    })
    // Since when a pod is scheduled is not the gateway's to say.
    expect(JSON.stringify(calls[0]?.body)).not.toContain('PodScheduled')
  })

  it("of another gateway's pod, or of one that had the name before, are refused and counted", async () => {
    statuses.told('gw', [item('n/q', 'u2', 'Failed'), item('n/p', 'u0', 'Failed'), item('n/gone', 'u9', 'Failed')])
    await settle()
    expect(calls).toEqual([])
    expect(refused).toEqual([[['n/q'], 2]])
  })

  it('take the object away when the pod was to end and nothing of it runs, and only then', async () => {
    statuses.told('gw', [item('n/p', 'u1', 'Succeeded', true)])
    await settle()
    expect(calls.map(({ what }) => what)).toEqual(['patch strategic'])
    const leaving = { ...pods.get('n/p')!, leaving: true }
    pods.set('n/p', leaving)
    statuses.podChanged(leaving)
    await settle()
    expect(calls.at(-1)).toMatchObject({
      ...{ what: 'delete', path: '/api/v1/namespaces/n/pods/p' },
      body: { gracePeriodSeconds: 0, preconditions: { uid: 'u1' } },
    })
  })

  it('are written when the API is back, in their newest state', async () => {
    answer = () => {
      throw new SluiceError('SLUICE_KUBE_UNREACHABLE', 'away')
    }
    statuses.told('gw', [item('n/p', 'u1', 'Pending')])
    await settle()
    statuses.told('gw', [item('n/p', 'u1', 'Running')])
    answer = () => {}
    await clock.advance(20_000)
    await settle()
    expect(calls.at(-1)).toMatchObject({ body: { status: { phase: 'Running' } } })
  })
})
