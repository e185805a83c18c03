import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { MachineFacts } from '../../api/link/machine.ts'
import { POD_KINDS } from '../../api/link/messages.ts'
import type { PodStatusItem } from '../../api/link/pods.ts'
import type { Gateway } from '../../api/resources.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { GATEWAYS, NODES, objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import { ScriptedAgent } from '../../cloudcore/testing/scripted-agent.ts'
import { Assembly } from '../harness/assembly.ts'
import { eventually } from '../harness/until.ts'

const MACHINE: MachineFacts = {
  ...{ runtime: 'process://1', cpuMillis: 4000, memoryBytes: 2 ** 32, allocatableMemoryBytes: 2 ** 31, pods: 20 },
  ...{ architecture: 'arm64', kernel: '6.1', osImage: 'Debian', hostIp: '10.0.0.7' },
}

interface Pod {
  readonly metadata: { readonly uid: string; readonly name: string }
  readonly status: { readonly phase: string; readonly podIP?: string }
}

interface Node {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> }
  readonly spec: { readonly taints?: readonly { readonly key: string }[] }
  readonly status: {
    readonly allocatable?: Readonly<Record<string, string>>
    readonly conditions: readonly { readonly type: string; readonly status: string }[]
  }
}

let house: Assembly
let thief: ScriptedAgent
let owner: ScriptedAgent
/** The API, asked with the thief's own certificate. */
let direct: KubeClient
let pod: Pod

beforeAll(async () => {
  house = await Assembly.start()
  owner = await ScriptedAgent.open(await house.joinScripted('gw-owner'))
  const identity = await house.joinScripted('gw-thief')
  thief = await ScriptedAgent.open(identity)
  const { certPem, keyPem, caPem } = identity
  direct = new KubeClient({ server: house.core.info.apiUrl, certPem, keyPem, caPem, namespace: 'default' })
  await owner.hello({ kinds: POD_KINDS, machine: MACHINE })
  await thief.hello({ kinds: POD_KINDS, machine: MACHINE })
  const { namespace } = house
  await house.kube.create(`/api/v1/namespaces/${namespace}/secrets`, {
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'key' }, stringData: { word: 'sesame' } },
  })
  pod = await house.kube.create(`/api/v1/namespaces/${namespace}/pods`, {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'work' } },
    spec: {
      nodeName: 'gw-owner',
      containers: [{ name: 'c', image: 'x', envFrom: [{ secretRef: { name: 'key' } }] }],
    },
  })
  await owner.object('Pod', `${namespace}/work`)
}, 60_000)
afterAll(async () => {
  owner?.cut()
  thief?.cut()
  await direct?.[Symbol.asyncDispose]()
  await house?.[Symbol.asyncDispose]()
})
beforeEach(() => house.tellOnFailure())

const inSpace = (path: string) => `/api/v1/namespaces/${house.namespace}/${path}`
const lease = (name: string) => `/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${name}`

describe('what a gateway may write by itself, with its own certificate at the API', { timeout: 30_000 }, () => {
  const patches: readonly (readonly [string, () => string, object])[] = [
    ['its own Node', () => objectPath(NODES, 'gw-thief'), { metadata: { labels: { a: 'b' } } }],
    [
      'a restricted label of its Node',
      () => objectPath(NODES, 'gw-thief'),
      { metadata: { labels: { 'node-restriction.kubernetes.io/zone': 'secret' } } },
    ],
    ['taints of its Node', () => objectPath(NODES, 'gw-thief'), { spec: { taints: [] } }],
    [
      'its own status',
      () => objectPath(NODES, 'gw-thief', undefined, 'status'),
      { status: { capacity: { cpu: '99' } } },
    ],
    ["another's Node", () => objectPath(NODES, 'gw-owner'), { spec: { unschedulable: true } }],
    ["another's status", () => objectPath(NODES, 'gw-owner', undefined, 'status'), { status: {} }],
    ['its own Lease', () => lease('gw-thief'), { spec: { holderIdentity: 'x' } }],
    ["another's Lease", () => lease('gw-owner'), { spec: { holderIdentity: 'x' } }],
    ['its Gateway', () => objectPath(GATEWAYS, 'gw-thief'), { spec: { mode: 'autonomous' } }],
    ["another's pod", () => inSpace('pods/work'), { metadata: { labels: { a: 'b' } } }],
    ["the status of another's pod", () => inSpace('pods/work/status'), { status: { phase: 'Failed' } }],
  ]
  it.each(patches)('%s: nothing', async (_, path, body) => {
    await expect(direct.patch(path(), 'merge', body)).rejects.toMatchObject({ code: 'SLUICE_KUBE_FORBIDDEN' })
  })

  const creates: readonly (readonly [string, () => string, object])[] = [
    ['a Node', () => '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'gw-new' } }],
    [
      'a pod for itself',
      () => inSpace('pods'),
      {
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'mirror' } },
        spec: { nodeName: 'gw-thief', containers: [{ name: 'c', image: 'x' }] },
      },
    ],
    [
      'a binding',
      () => inSpace('pods/work/binding'),
      { apiVersion: 'v1', kind: 'Binding', metadata: { name: 'work' }, target: { kind: 'Node', name: 'gw-thief' } },
    ],
    [
      'an eviction',
      () => inSpace('pods/work/eviction'),
      { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'work' } },
    ],
    [
      'a review of a token',
      () => '/apis/authentication.k8s.io/v1/tokenreviews',
      { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token: 'guess' } },
    ],
    [
      'an Event',
      () => inSpace('events'),
      {
        ...{ apiVersion: 'v1', kind: 'Event', metadata: { name: 'lie' }, reason: 'Lie', message: 'lie' },
        involvedObject: { kind: 'Pod', name: 'work', namespace: 'x' },
      },
    ],
  ]
  it.each(creates)('%s: none', async (_, path, body) => {
    await expect(direct.create(path(), body)).rejects.toMatchObject({ code: 'SLUICE_KUBE_FORBIDDEN' })
  })

  it('reads no Secret, no pod and no Node, deletes nothing, and may ask what it may', async () => {
    for (const path of [inSpace('secrets/key'), inSpace('secrets'), inSpace('pods/work'), '/api/v1/nodes']) {
      await expect(direct.get(path)).rejects.toMatchObject({ code: 'SLUICE_KUBE_FORBIDDEN' })
    }
    await expect(direct.delete(inSpace('pods/work'))).rejects.toMatchObject({ code: 'SLUICE_KUBE_FORBIDDEN' })
    const asked = await direct.create<{ status: { allowed: boolean } }>(
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      {
        ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview' },
        spec: { resourceAttributes: { verb: 'patch', resource: 'nodes', name: 'gw-thief' } },
      },
    )
    expect(asked.status.allowed).toBe(false)
  })
})

describe('what the hub writes for a gateway, by its word', { timeout: 30_000 }, () => {
  const item = (phase: 'Running' | 'Failed', podIP: string, uid: string, gone = false): PodStatusItem => ({
    ...{ key: `${house.namespace}/work`, uid, gone },
    status: { phase, podIP, qosClass: 'BestEffort', conditions: [], containerStatuses: [] },
  })
  const held = () => house.kube.get<Pod>(objectPath(PODS, 'work', house.namespace))

  it('is the status of pods bound to it, and of no other; the lie is counted and an Event', async () => {
    const { uid } = pod.metadata
    thief.send({ t: 'pods', items: [item('Failed', '6.6.6.6', uid, true)] })
    owner.send({ t: 'pods', items: [item('Failed', '6.6.6.6', 'another-uid', true)] })
    owner.send({ t: 'pods', items: [item('Running', '10.1.1.1', uid)] })
    await eventually(async () => (await held()).status.podIP === '10.1.1.1', 'the owner is heard')
    expect((await held()).status.phase).toBe('Running')
    await eventually(async () => (await house.reasonsFor('gw-thief')).includes('LinkNotOwned'), 'an Event')
    // Gone is only what was to go: nobody deletes by saying that nothing runs.
    owner.send({ t: 'pods', items: [item('Failed', '10.1.1.2', uid, true)] })
    await eventually(async () => (await held()).status.podIP === '10.1.1.2', 'the owner again')
    expect((await held()).metadata.uid).toBe(uid)
  })

  it('brings it the Secrets that its own pods name, and no others', async () => {
    await owner.object('Secret', `${house.namespace}/key`)
    expect([...thief.objects.keys()].filter((key) => !key.startsWith('Gateway '))).toEqual([])
  })

  it('gives its Node no label, taint or condition of its choice, and no room that cannot be', async () => {
    const conditions = ['Connected', 'Ready', 'node-restriction.kubernetes.io/x'].map((type) => ({
      ...{ type, status: 'True' as const, reason: 'Lie', message: 'lie' },
      lastTransitionTime: new Date().toISOString(),
    }))
    const lie = {
      labels: { 'node-restriction.kubernetes.io/zone': 'secret' },
      ...{ taints: [], tether: { state: 'led' as const }, state: 'online' as const, conditions },
      power: { watts: 1, source: 'measured' as const, by: 'x', supply: 'mains' as const, at: new Date().toISOString() },
    }
    thief.send({ t: 'status', status: lie })
    const node = await eventually(async () => {
      const found = await house.kube.get<Node>(objectPath(NODES, 'gw-thief'))
      return found.metadata.labels['sluice.dev/power-source'] === 'mains' && found
    }, 'what it may say is there')
    expect(Object.keys(node.metadata.labels).sort()).toEqual(
      [
        ...['kubernetes.io/arch', 'kubernetes.io/hostname', 'kubernetes.io/os', 'node-role.kubernetes.io/edge'],
        ...['sluice.dev/gateway', 'sluice.dev/power-source'],
      ].sort(),
    )
    expect(node.status.conditions.map(({ type }) => type)).toEqual(['Ready'])
    expect(node.status.allocatable).toMatchObject({ cpu: '4000m', pods: '20' })
    // The Gateway is written by somebody else than the Node, before or after it.
    const status = await eventually(async () => {
      const found = await house.kube.get<Gateway>(objectPath(GATEWAYS, 'gw-thief'))
      return found.status?.power !== undefined && found.status
    }, 'what the Gateway is told')
    expect(status?.tether).toEqual({ state: 'autonomous' })
    expect(status?.conditions?.filter(({ message }) => message === 'lie' && message !== undefined)).toHaveLength(2)
    expect(status?.conditions?.find(({ type }) => type === 'Connected')?.reason).toBe('LinkUp')
  })

  it.each([
    { ...MACHINE, architecture: 'node-restriction.kubernetes.io/x' },
    { ...MACHINE, cpuMillis: -1 },
    { ...MACHINE, allocatableMemoryBytes: 2 ** 40 },
    { ...MACHINE, pods: 1e9 },
    { ...MACHINE, osImage: 'a\nb' },
  ])('is nothing of a machine that cannot be (%#)', async (machine) => {
    using liar = await ScriptedAgent.open(await house.joinScripted('gw-liar'))
    await liar.hello({ kinds: POD_KINDS, machine }).catch(() => {})
    await expect(house.kube.get(objectPath(NODES, 'gw-liar'))).rejects.toMatchObject({ code: 'SLUICE_KUBE_NOT_FOUND' })
  })

  it("is no Event of another's pod or Node", async () => {
    const notice = { type: 'Warning' as const, reason: 'Lie', message: 'it burns', count: 1, firstMs: 1, lastMs: 2 }
    thief.send({ t: 'events', items: [{ ...notice, id: 'e1', about: `${house.namespace}/work`, pod: true }] })
    await eventually(async () => (await house.reasonsFor('gw-thief')).includes('Lie'), 'it is about itself')
    expect(await house.reasonsFor('work')).not.toContain('Lie')
  })
})
