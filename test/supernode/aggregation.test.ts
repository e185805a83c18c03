import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { MachineFacts } from '../../api/link/machine.ts'
import { POD_KINDS } from '../../api/link/messages.ts'
import type { Gateway } from '../../api/resources.ts'
import { openUplink, type Uplink } from '../../cli/uplink/uplink.ts'
import { GATEWAYS, NODES, objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import { FakeKubelet } from '../../cloudcore/testing/fake-kubelet.ts'
import { ScriptedAgent } from '../../cloudcore/testing/scripted-agent.ts'
import { Assembly } from '../harness/assembly.ts'
import { eventually } from '../harness/until.ts'

const machine = (cpuMillis: number): MachineFacts => ({
  ...{ runtime: 'process://1', cpuMillis, memoryBytes: 2 ** 32, allocatableMemoryBytes: 2 ** 31, pods: 10 },
  ...{ architecture: 'arm64', kernel: '6.1', osImage: 'Debian', hostIp: '10.0.0.7' },
})

interface Pod {
  readonly metadata: { readonly uid: string; readonly name: string; readonly deletionTimestamp?: string }
  readonly spec: { readonly nodeName?: string; readonly containers: readonly unknown[] }
  readonly status: { readonly phase: string; readonly reason?: string }
}

interface Node {
  readonly status: {
    readonly allocatable?: Readonly<Record<string, string>>
    readonly nodeInfo: { readonly osImage: string }
  }
}

/** Three supernodes; the gateways are only at the lowest. */
describe('a supernode beneath another', { timeout: 60_000 }, () => {
  const stack = new AsyncDisposableStack()
  let top: Assembly
  let middle: Assembly
  let bottom: Assembly
  let kubelet: FakeKubelet
  const agents: ScriptedAgent[] = []

  beforeAll(async () => {
    top = stack.use(await Assembly.start())
    middle = stack.use(await Assembly.start())
    bottom = stack.use(await Assembly.start())
    for (const [name, cpu] of [
      ['gw-1', 4000],
      ['gw-2', 2000],
    ] as const) {
      const agent = await ScriptedAgent.open(await bottom.joinScripted(name))
      await agent.hello({ kinds: POD_KINDS, machine: machine(cpu) })
      agents.push(agent)
    }
    kubelet = stack.use(new FakeKubelet(bottom.kube, { nodes: () => new Set(['gw-1', 'gw-2']) }))
    await join_(bottom, middle, 'bottom')
    await join_(middle, top, 'middle')
  }, 90_000)
  afterAll(async () => {
    for (const agent of agents) agent.cut()
    await stack.disposeAsync()
  }, 60_000)

  /** `below` joins `above` as a gateway. */
  async function join_(below: Assembly, above: Assembly, gateway: string): Promise<Uplink> {
    const { token } = await above.core.createToken({ gateway })
    const joinTokenFile = join(below.folder, `${gateway}.token`)
    writeFileSync(joinTokenFile, token, { mode: 0o600 })
    const log = (level: string, message: string, fields?: object) =>
      void below.log.push({ ...fields, level: `uplink ${level}`, message })
    const options = { kube: below.kube, dataDir: join(below.folder, `uplink-${gateway}`), joinTokenFile }
    return stack.use(await openUplink(options, { log, sayAgainMs: 200 }))
  }

  const node = (of: Assembly, name: string) => of.kube.get<Node>(objectPath(NODES, name))
  const pods = async (of: Assembly, namespace: string) =>
    (await of.kube.list<Pod>(`/api/v1/namespaces/${namespace}/pods`)).items

  it('is one node that has what its gateways have, through any number of levels', async () => {
    for (const [of, name] of [
      [middle, 'bottom'],
      [top, 'middle'],
    ] as const) {
      await eventually(
        async () => {
          const { cpu, memory, pods: most } = (await node(of, name)).status.allocatable ?? {}
          return cpu === '6000m' && memory === `${2 ** 22}Ki` && most === '20'
        },
        `${name} is as large as both gateways`,
        40_000,
      )
    }
    expect((await node(middle, 'bottom')).status.nodeInfo.osImage).toBe('2 gateways')
    // The Gateway is written by somebody else than the Node, before or after it.
    await eventually(async () => {
      const { status } = await top.kube.get<Gateway>(objectPath(GATEWAYS, 'middle'))
      return status?.supernodes?.length === 2
    }, 'both supernodes are told to the top')
  })

  it('runs what is placed on it, once, and tells what becomes of it; what is deleted above ends beneath', async () => {
    await top.kube.create(`/api/v1/namespaces/${top.namespace}/configmaps`, {
      ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'words' }, data: { greeting: 'hello' } },
    })
    const made = await top.kube.create<Pod>(`/api/v1/namespaces/${top.namespace}/pods`, {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'work', labels: { app: 'work' } } },
      spec: {
        nodeSelector: { 'kubernetes.io/hostname': 'middle' },
        containers: [
          {
            ...{ name: 'c', image: 'x', envFrom: [{ configMapRef: { name: 'words' } }] },
            resources: { requests: { cpu: '3', memory: '16Mi' } },
          },
        ],
      },
    })
    const above = () => top.kube.get<Pod>(objectPath(PODS, 'work', top.namespace))
    await eventually(async () => (await above()).status.phase === 'Running', 'it runs, as told to the top', 40_000)
    expect((await above()).spec.nodeName).toBe('middle')
    const [below] = await pods(bottom, top.namespace)
    // Only the larger one has three cores.
    expect(below?.spec.nodeName).toBe('gw-1')
    expect(kubelet.started.map(({ name }) => name)).toEqual(['work'])
    const words = await bottom.kube.get<{ data: object }>(`/api/v1/namespaces/${top.namespace}/configmaps/words`)
    expect(words.data).toEqual({ greeting: 'hello' })
    await top.kube.delete(objectPath(PODS, 'work', top.namespace))
    await eventually(
      async () =>
        (await pods(top, top.namespace)).length === 0 &&
        (await pods(middle, top.namespace)).length === 0 &&
        (await pods(bottom, top.namespace)).length === 0,
      'nothing of it is left anywhere',
      40_000,
    )
    expect(made.metadata.uid).not.toBe(below?.metadata.uid)
  })

  it('shrinks by what its own pods take, and by gateways that take none', async () => {
    await bottom.kube.create(`/api/v1/namespaces/${bottom.namespace}/pods`, {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'own' } },
      spec: { containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '500m' } } }] },
    })
    await eventually(
      async () => (await node(top, 'middle')).status.allocatable?.['cpu'] === '5500m',
      'half a core less, at the top',
      40_000,
    )
    await bottom.kube.patch(objectPath(NODES, 'gw-2'), 'merge', { spec: { unschedulable: true } })
    await eventually(
      async () => Number.parseInt((await node(middle, 'bottom')).status.allocatable?.['cpu'] ?? '', 10) <= 4000,
      'without the second gateway',
      40_000,
    )
  })

  it('is refused where it would close a circle, and nothing else is disturbed', async () => {
    await using _circle = await join_(top, bottom, 'top')
    await eventually(
      () => top.log.some(({ message }) => message.includes('has this one beneath it')),
      'it is told why',
      40_000,
    )
    const refused = await bottom.kube.get<Gateway>(objectPath(GATEWAYS, 'top'))
    expect(refused.status?.state ?? 'neverJoined').toBe('neverJoined')
    const nodes = await bottom.kube.list<{ metadata: { name: string } }>('/api/v1/nodes')
    expect(nodes.items.map(({ metadata }) => metadata.name)).not.toContain('top')
    await eventually(
      async () => bottom.log.some(({ code }) => code === 'SLUICE_LINK_LOOP'),
      'the one that refused says so',
    )
    expect((await node(top, 'middle')).status.allocatable).toBeDefined()
  })
})
