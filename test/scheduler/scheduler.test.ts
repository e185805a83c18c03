import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../api/clock.ts'
import { systemClock } from '../../api/clock.ts'
import type { EventNote } from '../../cloudcore/gateways/event-recorder.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import type { GatewayFacts } from '../../cloudcore/scheduler/gateway-facts.ts'
import type { MayMoveFrom } from '../../cloudcore/scheduler/lifecycle.ts'
import { MoveBook } from '../../cloudcore/scheduler/move-book.ts'
import { Scheduler } from '../../cloudcore/scheduler/scheduler.ts'
import { FakeKubelet } from '../../cloudcore/testing/fake-kubelet.ts'
import { startTestServer, type TestServer } from '../golden/test-server.ts'

/** A minute passes in a second: what is tested is what happens, not how long it takes. */
const FASTER = 60
function fastClock(): Clock {
  const startMs = systemClock.now()
  const zeroMs = systemClock.monotonic()
  return {
    now: () => startMs + (systemClock.monotonic() - zeroMs) * FASTER,
    monotonic: () => (systemClock.monotonic() - zeroMs) * FASTER,
    after: (delayMs, fn, unref) => systemClock.after(delayMs / FASTER, fn, unref),
  }
}

const onMains: GatewayFacts = { online: true, mode: 'autonomous', supply: 'mains' }
const dying: GatewayFacts = {
  ...onMains,
  supply: 'battery',
  battery: { state: 'discharging', percent: 6, leftS: 500, leftLowS: 400 },
}

interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string; readonly annotations?: Record<string, string> }
  readonly spec: { readonly nodeName?: string }
  readonly status?: {
    readonly phase?: string
    readonly conditions?: readonly { readonly type: string; readonly message?: string }[]
  }
}

class Site implements AsyncDisposable {
  readonly server: TestServer
  readonly client: KubeClient
  readonly gateways = new Map<string, GatewayFacts>()
  readonly notes: EventNote[] = []
  readonly db = new DatabaseSync(':memory:')
  readonly kubelet: FakeKubelet
  readonly #clock = fastClock()
  mayMoveFrom: MayMoveFrom = () => 'never'
  #stop = new AbortController()

  private constructor(server: TestServer) {
    this.server = server
    this.client = new KubeClient(loadKubeconfig(server.kubeconfig))
    this.kubelet = new FakeKubelet(this.client, {
      nodes: () => new Set([...this.gateways].filter(([, { online }]) => online).map(([name]) => name)),
    })
  }

  static async start(gateways: Readonly<Record<string, GatewayFacts>>): Promise<Site> {
    const site = new Site(await startTestServer())
    for (const [name, facts] of Object.entries(gateways)) {
      site.gateways.set(name, facts)
      await site.client.create('/api/v1/nodes', {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name, labels: { 'kubernetes.io/hostname': name } },
      })
      await site.ready(name, 'True')
    }
    site.schedule()
    return site
  }

  ready(name: string, status: string): Promise<unknown> {
    const body = { capacity: { cpu: '4', memory: '4Gi', pods: '50' }, conditions: [{ type: 'Ready', status }] }
    return this.client.patch(`/api/v1/nodes/${name}/status`, 'merge', { status: body })
  }

  schedule(): void {
    this.#stop = new AbortController()
    new Scheduler({
      ...{
        client: this.client,
        clock: this.#clock,
        signal: this.#stop.signal,
        book: new MoveBook(this.db),
        embedded: true,
      },
      gateway: (name) => this.gateways.get(name),
      devices: () => [],
      mayMoveFrom: (node) => this.mayMoveFrom(node),
      record: (note) => this.notes.push(note),
      onTrouble: () => {},
    })
  }

  /** The scheduler ends in the middle of whatever it does. */
  kill(): void {
    this.#stop.abort()
  }

  pod(name: string, annotations: Record<string, string> = {}): Promise<Pod> {
    return this.client.create(`/api/v1/namespaces/default/pods`, {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, annotations } },
      spec: { containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '100m' } } }] },
    })
  }

  async pods(): Promise<readonly Pod[]> {
    return (await this.client.list<Pod>('/api/v1/namespaces/default/pods')).items
  }

  async until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    for (let tries = 0; tries < 400; tries++) {
      const found = await look()
      if (found !== undefined && found !== false) return found
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    throw new Error(
      `it never came to this: ${what}; ${JSON.stringify((await this.pods()).map(({ metadata, spec, status }) => [metadata.name, spec.nodeName, status]))}; ${JSON.stringify(this.notes.slice(-6))}`,
    )
  }

  running(name: string, on: string): Promise<Pod> {
    return this.until(`${name} runs on ${on}`, async () =>
      (await this.pods()).find(
        ({ metadata, spec, status }) =>
          metadata.name.startsWith(name) && spec.nodeName === on && status?.phase === 'Running',
      ),
    )
  }

  told(reason: string): Promise<EventNote> {
    return this.until(reason, async () => this.notes.find((note) => note.reason === reason))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill()
    await this.kubelet[Symbol.asyncDispose]()
    await this.client[Symbol.asyncDispose]()
    await this.server[Symbol.asyncDispose]()
    this.db.close()
  }
}

describe('the scheduler beside an API', () => {
  let site: Site
  afterEach(() => site[Symbol.asyncDispose]())

  it('places pods, says why, and lets one with a typo wait with one Event', async () => {
    site = await Site.start({ 'gw-a': dying, 'gw-b': onMains })
    await site.pod('good', { 'fluidos-intent-battery': '40' })
    await site.pod('typo', { 'fluidos-intent-batery': '40' })
    const placed = await site.running('good', 'gw-b')
    expect(placed.metadata.annotations?.['sluice.dev/placed-because']).toContain('runs on mains')
    const note = await site.told('IntentInvalid')
    expect(note.message).toContain("Did you mean 'fluidos-intent-battery'?")
    expect(note.subject.name).toBe('typo')
    const typo = await site.until('its condition', async () =>
      (await site.pods()).find(
        ({ metadata, status }) => metadata.name === 'typo' && status?.conditions?.[0]?.type === 'PodScheduled',
      ),
    )
    expect(typo.spec.nodeName).toBeUndefined()
    expect(site.notes.filter(({ reason }) => reason === 'IntentInvalid')).toHaveLength(1)
  })

  it('leaves a dying gateway before it is empty: owned pods and lone ones, each once', async () => {
    site = await Site.start({ 'gw-a': onMains })
    const labels = { app: 'web' }
    await site.client.create('/apis/apps/v1/namespaces/default/deployments', {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } },
      spec: {
        replicas: 3,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'x' }] } },
      },
    })
    await site.pod('lone')
    await site.running('lone', 'gw-a')
    await site.client.create('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'gw-b' } })
    site.gateways.set('gw-b', onMains)
    await site.ready('gw-b', 'True')
    site.gateways.set('gw-a', dying)
    await site.running('lone', 'gw-b')
    const all = await site.until('all four over there', async () => {
      const pods = await site.pods()
      return (
        pods.length === 4 &&
        pods.every(({ spec, status }) => spec.nodeName === 'gw-b' && status?.phase === 'Running') &&
        pods
      )
    })
    expect(new Set(all.map(({ metadata }) => metadata.name)).size).toBe(4)
    expect(site.notes.find(({ reason }) => reason === 'Moving')?.message).toContain('the battery of gw-a is empty in')
    const starts = site.kubelet.started.map(({ uid }) => uid)
    expect(new Set(starts).size).toBe(starts.length)
    expect(site.kubelet.started.filter(({ name }) => name === 'lone').map(({ node }) => node)).toEqual(['gw-a', 'gw-b'])
  })

  it('takes what a Deployment itself says for its pods, beneath what its template says, and tells a typo there', async () => {
    site = await Site.start({ 'gw-a': { ...onMains, roundTripMs: 90 }, 'gw-b': { ...onMains, roundTripMs: 5 } })
    const deploy = (name: string, annotations: object, own: object) => {
      const metadata = { labels: { app: name }, annotations: own }
      return site.client.create('/apis/apps/v1/namespaces/default/deployments', {
        ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, annotations } },
        spec: {
          replicas: 2,
          selector: { matchLabels: { app: name } },
          template: { metadata, spec: { containers: [{ name: 'c', image: 'x' }] } },
        },
      })
    }
    await deploy('near', { 'fluidos-intent-latency': '20', 'example.com/mine': 'x' }, {})
    await deploy('nearer', { 'fluidos-intent-latency': '1' }, { 'fluidos-intent-latency': '20' })
    await deploy('typo', { 'fluidos-intent-latenzy': '20' }, {})
    for (const name of ['near', 'nearer']) {
      const both = await site.until(`${name} runs`, async () => {
        const found = (await site.pods()).filter(({ metadata }) => metadata.name.startsWith(`${name}-`))
        return found.length === 2 && found.every(({ status }) => status?.phase === 'Running') && found
      })
      expect(both.map(({ spec }) => spec.nodeName)).toEqual(['gw-b', 'gw-b'])
      // It is the pod's own from now on: whoever looks after it at run time reads it there.
      for (const { metadata } of both) {
        expect(metadata.annotations).toMatchObject({ 'fluidos-intent-latency': '20' })
        expect(metadata.annotations).not.toHaveProperty(['example.com/mine'])
      }
    }
    expect((await site.told('IntentInvalid')).message).toContain("Did you mean 'fluidos-intent-latency'?")
    const waiting = (await site.pods()).filter(({ metadata }) => metadata.name.startsWith('typo-'))
    expect(waiting.map(({ spec }) => spec.nodeName)).toEqual([undefined, undefined])
  })

  it('lets only pods of a namespace that says so onto a tainted gateway', async () => {
    site = await Site.start({ 'gw-a': onMains })
    // It is to know the taint before it sees a pod.
    site.kill()
    const taints = [{ key: 'fleet', value: 'robots', effect: 'NoSchedule' }]
    await site.client.patch('/api/v1/nodes/gw-a', 'merge', { spec: { taints } })
    site.schedule()
    const key = 'scheduler.alpha.kubernetes.io/defaultTolerations'
    const annotations = { [key]: JSON.stringify([{ key: 'fleet', operator: 'Exists' }]) }
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'robots', annotations } }
    await site.client.create('/api/v1/namespaces', namespace)
    await site.pod('outsider')
    expect((await site.told('FailedScheduling')).message).toContain('untolerated taint {fleet: robots}')
    await site.client.create('/api/v1/namespaces/robots/pods', {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'robot' } },
      spec: { containers: [{ name: 'c', image: 'x' }] },
    })
    await site.until('the one of the namespace is placed', async () => {
      const { items } = await site.client.list<Pod>('/api/v1/namespaces/robots/pods')
      return items[0]?.spec.nodeName === 'gw-a'
    })
    expect((await site.pods())[0]?.spec.nodeName).toBeUndefined()
  })

  it('moves a pod by hand, refuses a place that is none, and loses none when it is killed in between', async () => {
    site = await Site.start({ 'gw-a': onMains, 'gw-b': onMains })
    await site.pod('p', { 'sluice.dev/offload-to': 'gw-a' })
    await site.running('p', 'gw-a')
    const move = (to: string) =>
      site.client.patch(objectPath(PODS, 'p', 'default'), 'merge', {
        metadata: { annotations: { 'sluice.dev/offload-to': to } },
      })
    await move('gw-x')
    expect((await site.told('OffloadRefused')).message).toContain('there is no gateway gw-x')
    // The gateway does not end the pod while it is away: the scheduler dies meanwhile.
    site.gateways.set('gw-a', { ...onMains, online: false })
    await move('gw-b')
    await site.until(
      'the old one is to end',
      async () =>
        (await site.client.get<{ metadata: { deletionTimestamp?: string } }>(objectPath(PODS, 'p', 'default'))).metadata
          .deletionTimestamp !== undefined && true,
    )
    site.kill()
    await site.client.delete(objectPath(PODS, 'p', 'default'), { body: { gracePeriodSeconds: 0 } })
    site.gateways.set('gw-a', onMains)
    expect(await site.pods()).toEqual([])
    site.schedule()
    await site.running('p', 'gw-b')
    expect(await site.pods()).toHaveLength(1)
  })

  it('begins elsewhere, once, what a gateway gave back, and waits with its reason where nobody else takes it', async () => {
    site = await Site.start({ 'gw-a': onMains })
    await site.pod('lone', { 'sluice.dev/near': 'meter' })
    const first = await site.running('lone', 'gw-a')
    const refuses = 'stage saving (battery 12 % below 20 %)'
    site.gateways.set('gw-a', { ...onMains, refuses })
    await site.client.patch(objectPath(PODS, 'lone', 'default', 'status'), 'merge', {
      status: { phase: 'Failed', reason: 'HandedBack', message: `HandedBack: ${refuses}` },
    })
    const waiting = await site.until('another one waits', async () =>
      (await site.pods()).find(({ metadata }) => metadata.uid !== first.metadata.uid),
    )
    expect(waiting.metadata.name).toBe('lone')
    expect(waiting.metadata.annotations).toMatchObject({ 'sluice.dev/near': 'meter' })
    await site.until('why it waits', async () =>
      site.notes.some(({ message }) => message.includes(`the gateway takes no more pods: ${refuses}`)),
    )
    await site.client.create('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'gw-b' } })
    site.gateways.set('gw-b', onMains)
    await site.ready('gw-b', 'True')
    const second = await site.running('lone', 'gw-b')
    expect(second.metadata.uid).toBe(waiting.metadata.uid)
    expect(second.metadata.annotations?.['sluice.dev/placed-because']).toContain('moved from gw-a: HandedBack')
    expect(await site.pods()).toHaveLength(1)
    expect(site.kubelet.started.map(({ node }) => node)).toEqual(['gw-a', 'gw-b'])
  })

  it('makes room for what is more important, and for nothing else', async () => {
    site = await Site.start({ 'gw-a': onMains })
    const classes = '/apis/scheduling.k8s.io/v1/priorityclasses'
    const kind = { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass' }
    await site.client.create(classes, { ...kind, metadata: { name: 'rescue' }, value: 1000 })
    await site.client.create(classes, {
      ...{ ...kind, metadata: { name: 'patient' }, value: 900, preemptionPolicy: 'Never' },
    })
    const big = (name: string, cpu: string, priorityClassName?: string) =>
      site.client.create('/api/v1/namespaces/default/pods', {
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name } },
        spec: {
          ...(priorityClassName === undefined ? {} : { priorityClassName }),
          containers: [{ name: 'c', image: 'x', resources: { requests: { cpu } } }],
        },
      })
    await expect(big('odd', '1', 'recsue')).rejects.toThrow('no PriorityClass with name recsue was found')
    await big('small', '500m')
    await big('large', '3')
    await site.running('small', 'gw-a')
    await site.running('large', 'gw-a')
    await big('waits', '1', 'patient')
    await site.told('FailedScheduling')
    expect((await site.pods()).map(({ metadata }) => metadata.name).sort()).toEqual(['large', 'small', 'waits'])
    await big('rescuer', '2', 'rescue')
    await site.running('rescuer', 'gw-a')
    // The large one had to go; the small one has room beside it.
    expect((await site.told('Preempted')).message).toBe('Preempted by default/rescuer on node gw-a')
    await site.running('small', 'gw-a')
    expect((await site.pods()).map(({ metadata }) => metadata.name).sort()).toEqual(['rescuer', 'small', 'waits'])
    expect(site.notes.filter(({ reason }) => reason === 'Preempted').map(({ subject }) => subject.name)).toEqual([
      'large',
    ])
  })

  it('leaves the pods of a silent autonomous gateway, and starts those of a tethered one elsewhere when it may', async () => {
    site = await Site.start({ 'gw-a': onMains })
    const labels = { app: 'web' }
    const tolerations = [
      { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 1 },
    ]
    await site.client.create('/apis/apps/v1/namespaces/default/deployments', {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { tolerations, containers: [{ name: 'c', image: 'x' }] } },
      },
    })
    await site.running('web', 'gw-a')
    await site.client.create('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'gw-b' } })
    site.gateways.set('gw-b', onMains)
    await site.ready('gw-b', 'True')
    site.gateways.set('gw-a', { ...onMains, online: false })
    await site.ready('gw-a', 'Unknown')
    await site.until('the taint', async () =>
      JSON.stringify(await site.client.get('/api/v1/nodes/gw-a')).includes('node.kubernetes.io/unreachable'),
    )
    // Some looks later: it is still where it was.
    await site.pod('marker')
    await site.running('marker', 'gw-b')
    expect((await site.pods()).filter(({ metadata }) => metadata.name.startsWith('web'))).toHaveLength(1)
    site.mayMoveFrom = () => 0
    await site.running('web', 'gw-b')
  })
})
