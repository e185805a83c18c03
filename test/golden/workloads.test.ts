import { execFile, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { FakeKubelet } from '../../cloudcore/testing/fake-kubelet.ts'
import type { TestServer } from './test-server.ts'
import { startTestServer } from './test-server.ts'

const run = promisify(execFile)
const missing = spawnSync('kubectl', ['version', '--client']).error !== undefined

describe.skipIf(missing && process.env['CI'] === undefined)('kubectl and the kinds that make pods', () => {
  let server: TestServer
  let client: KubeClient
  let kubelet: FakeKubelet

  beforeAll(async () => {
    server = await startTestServer()
    client = new KubeClient(loadKubeconfig(server.kubeconfig))
    kubelet = new FakeKubelet(client, {
      bindTo: ({ spec }) => (JSON.stringify(spec.affinity ?? '').includes('"n2"') ? 'n2' : 'n1'),
      outcome: ({ metadata, spec }) => {
        if (spec.containers[0]?.image === 'broken') return undefined
        if (metadata.name.startsWith('done')) return 'Succeeded'
        return metadata.name.startsWith('fails') ? 'Failed' : 'Running'
      },
    })
    for (const name of ['n1', 'n2']) {
      const metadata = { name, labels: { 'kubernetes.io/hostname': name } }
      await client.create('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata, spec: { taints: [] } })
    }
  })

  afterAll(async () => {
    await kubelet[Symbol.asyncDispose]()
    await client[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })

  async function kubectl(...args: readonly string[]): Promise<string> {
    const env = { ...process.env, KUBECONFIG: server.kubeconfig, HOME: server.dataDir }
    const { stdout, stderr } = await run('kubectl', args, { env, timeout: 20_000 })
    return stdout + stderr
  }

  function file(name: string, object: object): string {
    const path = join(server.dataDir, name)
    writeFileSync(path, JSON.stringify(object))
    return path
  }

  it('creates a deployment, rolls it out, back, and scales it', async () => {
    expect(await kubectl('create', 'deployment', 'web', '--image=web:1', '--replicas=3')).toBe(
      'deployment.apps/web created\n',
    )
    expect(await kubectl('rollout', 'status', 'deployment/web', '--timeout=15s')).toContain('successfully rolled out')
    expect(await kubectl('get', 'deploy', 'web')).toMatch(/web\s+3\/3\s+3\s+3/)
    await kubectl('set', 'image', 'deployment/web', 'web=web:2')
    expect(await kubectl('rollout', 'status', 'deployment/web', '--timeout=15s')).toContain('successfully rolled out')
    expect(
      await kubectl('get', 'pods', '-l', 'app=web', '-o', 'jsonpath={.items[*].spec.containers[0].image}'),
    ).toMatch(/^web:2( web:2)+/)
    expect(await kubectl('rollout', 'history', 'deployment/web')).toMatch(/1\s+<none>\n2\s+<none>/)
    await kubectl('rollout', 'undo', 'deployment/web')
    expect(await kubectl('rollout', 'status', 'deployment/web', '--timeout=15s')).toContain('successfully rolled out')
    expect(await kubectl('get', 'deploy', 'web', '-o', 'jsonpath={.spec.template.spec.containers[0].image}')).toBe(
      'web:1',
    )
    expect(await kubectl('rollout', 'history', 'deployment/web')).toMatch(/2\s+<none>\n3\s+<none>/)
    await kubectl('scale', 'deployment/web', '--replicas=1')
    expect(await kubectl('wait', '--for=jsonpath={.status.replicas}=1', 'deployment/web', '--timeout=10s')).toContain(
      'condition met',
    )
    expect(await kubectl('get', 'rs', '-l', 'app=web', '-o', 'jsonpath={.items[*].spec.replicas}')).toMatch(
      /^(1 0|0 1)$/,
    )
    expect(await kubectl('describe', 'deployment', 'web')).toMatch(/Scaled down replica set/)
    await kubectl('delete', 'deployment', 'web')
    await kubectl('wait', '--for=delete', 'pods', '-l', 'app=web', '--timeout=10s')
  })

  it('never takes more pods away than may be missing while a new image does not start', async () => {
    await kubectl('create', 'deployment', 'keep', '--image=web:1', '--replicas=4')
    await kubectl('rollout', 'status', 'deployment/keep', '--timeout=15s')
    await kubectl('set', 'image', 'deployment/keep', 'web=broken')
    const held = await kubectl('wait', '--for=jsonpath={.status.updatedReplicas}=2', 'deployment/keep', '--timeout=10s')
    expect(held).toContain('condition met')
    expect(await kubectl('get', 'deploy', 'keep', '-o', 'jsonpath={.status.availableReplicas}')).toBe('3')
    await kubectl('delete', 'deployment', 'keep')
  })

  it('keeps a pod on every node with a DaemonSet, and replaces it', async () => {
    const labels = { app: 'agent' }
    const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'a:1' }] } }
    const body = {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'agent' },
      spec: { selector: { matchLabels: labels }, template },
    }
    await kubectl('apply', '-f', file('ds.json', body))
    expect(await kubectl('rollout', 'status', 'ds/agent', '--timeout=15s')).toContain('successfully rolled out')
    expect(await kubectl('get', 'ds', 'agent')).toMatch(/agent\s+2\s+2\s+2\s+2\s+2/)
    await kubectl('set', 'image', 'ds/agent', 'c=a:2')
    expect(await kubectl('rollout', 'status', 'ds/agent', '--timeout=15s')).toContain('successfully rolled out')
    await kubectl('rollout', 'undo', 'ds/agent')
    expect(await kubectl('rollout', 'status', 'ds/agent', '--timeout=15s')).toContain('successfully rolled out')
    expect(await kubectl('get', 'pods', '-l', 'app=agent', '-o', 'jsonpath={.items[*].spec.containers[0].image}')).toBe(
      'a:1 a:1',
    )
    await kubectl('delete', 'ds', 'agent')
  })

  it('runs jobs to their end: completions, failures, and forgets them in time', async () => {
    await kubectl('create', 'job', 'done', '--image=x', '--', 'true')
    expect(await kubectl('wait', '--for=condition=Complete', 'job/done', '--timeout=10s')).toContain('condition met')
    expect(await kubectl('get', 'job', 'done')).toMatch(/done\s+Complete\s+1\/1/)
    const job = (name: string, more: object) =>
      file(`${name}.json`, {
        ...{ apiVersion: 'batch/v1', kind: 'Job', metadata: { name } },
        spec: { ...more, template: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'x' }] } } },
      })
    await kubectl('create', '-f', job('done-five', { completions: 5, parallelism: 2, completionMode: 'Indexed' }))
    await kubectl('wait', '--for=condition=Complete', 'job/done-five', '--timeout=10s')
    expect(
      await kubectl('get', 'job', 'done-five', '-o', 'jsonpath={.status.succeeded} {.status.completedIndexes}'),
    ).toBe('5 0-4')
    await kubectl('create', '-f', job('fails', { backoffLimit: 0 }))
    expect(await kubectl('wait', '--for=condition=Failed', 'job/fails', '--timeout=10s')).toContain('condition met')
    await kubectl('create', '-f', job('done-gone', { ttlSecondsAfterFinished: 0 }))
    await kubectl('wait', '--for=delete', 'job/done-gone', '--timeout=10s')
  })

  it('drains a node as far as a disruption budget allows', async () => {
    await kubectl('create', 'deployment', 'vital', '--image=v:1', '--replicas=2')
    await kubectl('rollout', 'status', 'deployment/vital', '--timeout=15s')
    await kubectl('create', 'pdb', 'vital', '--selector=app=vital', '--min-available=2')
    await kubectl('wait', '--for=jsonpath={.status.currentHealthy}=2', 'pdb/vital', '--timeout=10s')
    const pod = await kubectl('get', 'pods', '-l', 'app=vital', '-o', 'jsonpath={.items[0].metadata.name}')
    const evict = () =>
      client.create(`/api/v1/namespaces/default/pods/${pod}/eviction`, {
        ...{ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace: 'default' } },
      })
    await expect(evict()).rejects.toThrow(/disruption budget/)
    await kubectl('patch', 'pdb', 'vital', '--type=merge', '-p', '{"spec":{"minAvailable":1}}')
    await kubectl('wait', '--for=jsonpath={.status.disruptionsAllowed}=1', 'pdb/vital', '--timeout=10s')
    await evict()
    await kubectl('wait', '--for=delete', `pod/${pod}`, '--timeout=10s')
    await kubectl('rollout', 'status', 'deployment/vital', '--timeout=15s')
  })

  it('lets nobody bind a pod twice', async () => {
    await client.create('/api/v1/namespaces/default/pods', {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'one' } },
      spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'x' }] },
    })
    const target = { kind: 'Node', name: 'n2' }
    const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { name: 'one' }, target }
    await expect(client.create('/api/v1/namespaces/default/pods/one/binding', binding)).rejects.toThrow(
      /already assigned to node "n1"/,
    )
  })
})
