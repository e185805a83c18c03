import { DatabaseSync } from 'node:sqlite'
import { type Clock, systemClock } from '../../api/clock.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import type { GatewayFacts } from '../../cloudcore/scheduler/gateway-facts.ts'
import { MoveBook } from '../../cloudcore/scheduler/move-book.ts'
import { Scheduler } from '../../cloudcore/scheduler/scheduler.ts'
import { FakeKubelet } from '../../cloudcore/testing/fake-kubelet.ts'
import { startTestServer } from '../../test/golden/test-server.ts'
import { eventually } from '../../test/harness/until.ts'

interface Pod {
  readonly metadata: { readonly name: string }
  readonly spec: { readonly nodeName?: string }
  readonly status?: { readonly phase?: string }
}

const healthy: GatewayFacts = { online: true, mode: 'autonomous', supply: 'mains' }
const dying: GatewayFacts = {
  ...{ online: true, mode: 'autonomous', supply: 'battery' },
  battery: { state: 'discharging', percent: 4, leftS: 300, leftLowS: 240 },
}

/**
 * Twenty pods that nobody owns leave a dying gateway: the scheduler, the embedded API and whatever ends and starts pods, which
 * here takes no time. From the first eviction until the last successor runs, ms.
 */
export async function evacuate(pods: number): Promise<{ readonly ms: number; readonly startedTwice: number }> {
  await using server = await startTestServer()
  await using client = new KubeClient(loadKubeconfig(server.kubeconfig))
  using db = new DatabaseSync(':memory:')
  const stop = new AbortController()
  const gateways = new Map<string, GatewayFacts>([['gw-0', healthy]])
  await using kubelet = new FakeKubelet(client)
  // Only what has to pass before a pod may be moved is skipped; everything else is in real time.
  let skippedMs = 0
  const clock: Clock = {
    now: () => systemClock.now() + skippedMs,
    monotonic: () => systemClock.monotonic() + skippedMs,
    after: (delayMs, fn, unref) => systemClock.after(delayMs, fn, unref),
  }
  let firstMs: number | undefined
  const scheduler = new Scheduler({
    ...{ client, clock, signal: stop.signal, book: new MoveBook(db), embedded: true },
    ...{ gateway: (name) => gateways.get(name), devices: () => [], mayMoveFrom: () => 'never', onTrouble: () => {} },
    record: ({ reason }) => {
      if (reason === 'Moving') firstMs ??= performance.now()
    },
  })
  const addNode = async (name: string) => {
    const metadata = { name, labels: { 'kubernetes.io/hostname': name } }
    await client.create('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata })
    const status = {
      capacity: { cpu: '4', memory: '4Gi', pods: '50' },
      conditions: [{ type: 'Ready', status: 'True' }],
    }
    await client.patch(`/api/v1/nodes/${name}/status`, 'merge', { status })
  }
  const running = async (on: (node: string) => boolean) => {
    const { items } = await client.list<Pod>('/api/v1/namespaces/default/pods')
    const there = items.filter(({ spec, status }) => status?.phase === 'Running' && on(spec.nodeName ?? ''))
    return items.length === pods && there.length === pods
  }
  try {
    await addNode('gw-0')
    for (let index = 0; index < pods; index++) {
      await client.create('/api/v1/namespaces/default/pods', {
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: `pod-${index}` } },
        spec: { containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '50m', memory: '16Mi' } } }] },
      })
    }
    await eventually(() => running((node) => node === 'gw-0'), 'all run on the first gateway', 60_000)
    for (const name of ['gw-1', 'gw-2', 'gw-3']) {
      gateways.set(name, healthy)
      await addNode(name)
    }
    gateways.set('gw-0', dying)
    scheduler.gatewayChanged('gw-0')
    // Seen dying once, and for longer than anybody is in doubt.
    await new Promise((resolve) => setTimeout(resolve, 6_000))
    skippedMs = 120_000
    await eventually(() => running((node) => node !== 'gw-0'), 'all run elsewhere', 60_000)
    const ms = performance.now() - (firstMs ?? Number.NaN)
    const uids = kubelet.started.map(({ uid }) => uid)
    return { ms, startedTwice: uids.length - new Set(uids).size }
  } finally {
    stop.abort()
  }
}
