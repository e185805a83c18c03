import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { systemClock } from '../api/clock.ts'
import type { LinkDevice } from '../api/link/messages.ts'
import type { Device } from '../api/resources.ts'
import { keptPort } from '../hil/kept-port.ts'
import { kubeconfigFor } from './apiserver/kubeconfig.ts'
import { type ApiServer, startApiServer } from './apiserver/server.ts'
import { type CloudCore, runCloudCore } from './core.ts'
import { CertificateAuthority } from './join/authority.ts'
import { KubeClient } from './kube/client.ts'
import { loadKubeconfig } from './kube/config.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, objectPath } from './kube/paths.ts'
import { joinAs, ScriptedAgent } from './testing/scripted-agent.ts'

const directory = mkdtempSync(join(tmpdir(), 'sluice-outage-'))
const kubeconfig = join(directory, 'other-kubeconfig')
let tls: { key: string; cert: string; ca: string }
let api: ApiServer
let core: CloudCore
let kube: KubeClient

/** Like a cluster of the user's own: an API in nobody's hands but its own, on a fixed port. */
const startApi = (port: number) =>
  // Nothing of the past is kept, so that every watch that was away finds its history compacted.
  startApiServer({ dataDir: join(directory, 'cluster'), port, tls, compaction: { keepRevisions: 1 } })

beforeAll(async () => {
  const authority = await CertificateAuthority.open(join(directory, 'cluster-pki'), systemClock)
  const server = await authority.issueServer('api', { dns: ['localhost'], ips: ['127.0.0.1'] }, 1)
  const admin = await authority.issueClient({ commonName: 'admin', organization: 'system:masters' }, 1)
  tls = { key: server.keyPem, cert: server.certPem, ca: authority.caPem }
  api = await startApi(await keptPort())
  const { certPem, keyPem } = admin
  writeFileSync(kubeconfig, kubeconfigFor({ url: api.url, caPem: authority.caPem, certPem, keyPem }))
  core = await runCloudCore({ dataDir: join(directory, 'data'), hubPort: 0, kubeconfig })
  kube = new KubeClient(loadKubeconfig(kubeconfig))
})

afterAll(async () => {
  await kube[Symbol.asyncDispose]()
  await core[Symbol.asyncDispose]()
  await api[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true, force: true })
})

it('takes and keeps what gateways report while the API is gone, and brings it up to date when it is back', async () => {
  await kube.create(collectionPath(DEVICE_MODELS, 'default'), {
    apiVersion: 'sluice.dev/v1alpha1',
    kind: 'DeviceModel',
    metadata: { name: 'm' },
    spec: { properties: [{ name: 'p', type: 'int', access: 'readwrite', modbus: { holding: 0, as: 'uint16' } }] },
  })
  const made = await kube.create<Device>(collectionPath(DEVICES, 'default'), {
    apiVersion: 'sluice.dev/v1alpha1',
    kind: 'Device',
    metadata: { name: 'd' },
    spec: { model: 'm', nodeName: 'gw', modbus: { tcp: { host: '192.0.2.1' }, unit: 1 } },
  })
  const caPem = readFileSync(join(directory, 'data/pki/ca.crt'), 'utf8')
  const { token } = await core.createToken({ gateway: 'gw' })
  const agent = await ScriptedAgent.open(await joinAs('gw', token, core.info.hubUrl, caPem))
  await agent.hello()
  await agent.object('Device', 'default/d')
  const uid = made.metadata.uid!
  const report = (value: number) => agent.batch({ d: [['default/d', uid]], r: [[0, 'p', value, Date.now()]] })
  await report(1)

  const port = api.port
  await api[Symbol.asyncDispose]()
  for (let value = 2; value <= 50; value++) await report(value)
  agent.cut()
  const again = await ScriptedAgent.open(agent.identity)
  for (const [id, object] of agent.objects) again.objects.set(id, object)
  await again.hello({ lastSeq: agent.seq })

  api = await startApi(port)
  await kube.patch(objectPath(DEVICES, 'd', 'default'), 'merge', { spec: { desired: { p: 7 } } })
  const desired = await again.object('Device', 'default/d', (o) => (o.object as LinkDevice).desired['p']?.value === 7)
  expect((desired.object as LinkDevice).uid).toBe(uid)
  for (;;) {
    const held = await kube.get<Device>(objectPath(DEVICES, 'd', 'default'))
    const twin = held.status?.twins?.find((candidate) => candidate.name === 'p')
    if (twin?.reported?.value === 50 && twin.state === 'pending') break
    await new Promise((resolve) => setImmediate(resolve))
  }
  again.cut()
}, 60_000)
