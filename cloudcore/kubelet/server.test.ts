import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { startApiServer } from '../apiserver/server.ts'
import { CertificateAuthority } from '../join/authority.ts'
import { GATEWAY_GROUP, gatewayUser } from '../join/identity.ts'
import { KubeClient } from '../kube/client.ts'
import { StreamBroker } from '../streams/broker.ts'
import { readPath } from './request.ts'
import { type KubeletServer, startKubeletServer } from './server.ts'
import { StatsKeeper } from './stats-keeper.ts'

let folder: string
let face: KubeletServer
let authority: CertificateAuthority
const stack = new AsyncDisposableStack()

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-face-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  authority = await CertificateAuthority.open(join(folder, 'pki'), systemClock)
  const names = { dns: ['localhost'], ips: ['127.0.0.1'] }
  const server = await authority.issueServer('test', names, 2)
  const tls = { key: server.keyPem, cert: server.certPem, ca: authority.caPem }
  const tokens = new Map([
    ['admin-token', { user: 'ops', groups: ['system:masters'] }],
    ['plain-token', { user: 'reader', groups: [] }],
  ])
  const api = stack.use(await startApiServer({ dataDir: join(folder, 'api'), tls, tokens }))
  const admin = await authority.issueClient({ commonName: 'admin', organization: 'system:masters' }, 2)
  const client = stack.use(
    new KubeClient({
      namespace: 'default',
      server: api.url,
      caPem: authority.caPem,
      certPem: admin.certPem,
      keyPem: admin.keyPem,
    }),
  )
  await client.create('/api/v1/namespaces/default/pods', {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p' },
    spec: { nodeName: 'gw-1', containers: [{ name: 'main', image: 'x' }] },
  })
  const broker = new StreamBroker({ clock: systemClock, send: () => undefined })
  const stats = new StatsKeeper({ broker, clock: systemClock, gateways: () => ['gw-1', 'gw-2'] })
  face = stack.use(
    await startKubeletServer({
      ...{ host: '127.0.0.1', port: 0, client, broker, stats, clock: systemClock, onTrouble: () => {} },
      tls: { ...tls, ca: [authority.caPem] },
    }),
  )
})

afterAll(() => stack.disposeAsync())

interface Asked {
  readonly token?: string
  readonly certificate?: { readonly certPem: string; readonly keyPem: string }
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
}

function ask(path: string, { token, certificate, method = 'GET', headers }: Asked = {}) {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const call = request({
      ...{ host: '127.0.0.1', port: face.port, path, method, ca: authority.caPem, agent: false },
      ...(certificate === undefined ? {} : { cert: certificate.certPem, key: certificate.keyPem }),
      headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    })
    call.on('response', (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
    })
    call.on('upgrade', () => reject(new Error('it was upgraded')))
    call.on('error', reject)
    call.end()
  })
}

const SPDY = { connection: 'Upgrade', upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v4.channel.k8s.io' }
const EXEC = '/exec/default/p/main?command=id&output=1'

describe('the node face', () => {
  it('lets nobody in without a name: not to logs, commands, ports or figures', async () => {
    for (const path of ['/containerLogs/default/p/main', '/gateways/gw-1/pods', '/gateways/gw-1/stats/summary']) {
      expect(await ask(path)).toMatchObject({ status: 401 })
      expect(await ask(path, { token: 'guessed' })).toMatchObject({ status: 401 })
    }
    expect(await ask(EXEC, { method: 'POST', headers: SPDY })).toMatchObject({ status: 401 })
    const ports = { ...SPDY, 'x-stream-protocol-version': 'portforward.k8s.io' }
    expect(await ask('/portForward/default/p', { method: 'POST', headers: ports })).toMatchObject({ status: 401 })
    expect(await ask('/healthz')).toEqual({ status: 200, text: 'ok' })
  })

  it('refuses whom the cluster knows and does not allow, a gateway above all', async () => {
    const subject = { commonName: gatewayUser('gw-1'), organization: GATEWAY_GROUP }
    const certificate = await authority.issueClient(subject, 2)
    for (const who of [{ token: 'plain-token' }, { certificate }]) {
      const refused = await ask(EXEC, { ...who, method: 'POST', headers: SPDY })
      expect(refused).toMatchObject({ status: 403 })
      expect(refused.text).toContain('verb=create, resource=nodes, subresource=proxy, node=gw-1')
      expect(await ask('/containerLogs/default/p/main', who)).toMatchObject({ status: 403 })
      // What is not there is no more told than what is.
      expect(await ask('/containerLogs/default/nobody/main', who)).toMatchObject({ status: 403 })
    }
  })

  it('takes a certificate of a CA that it was not given for no name at all', async () => {
    const other = await CertificateAuthority.open(join(folder, 'other'), systemClock)
    const certificate = await other.issueClient({ commonName: 'admin', organization: 'system:masters' }, 2)
    expect(await ask('/containerLogs/default/p/main', { certificate })).toMatchObject({ status: 401 })
  })

  it('goes on to the gateway for an administrator, by token and by certificate', async () => {
    const certificate = await authority.issueClient({ commonName: 'api', organization: 'system:masters' }, 2)
    for (const who of [{ token: 'admin-token' }, { certificate }]) {
      const answer = await ask('/containerLogs/default/p/main', who)
      expect(answer).toEqual({
        status: 501,
        text: "the agent of gateway 'gw-1' opens no streams (Update the agent.)\n",
      })
      expect(await ask(EXEC, { ...who, method: 'POST', headers: SPDY })).toMatchObject({ status: 501 })
    }
  })

  it('says what is wrong with a request', async () => {
    const who = { token: 'admin-token' }
    expect(await ask('/nothing', who)).toMatchObject({ status: 404 })
    expect(await ask('/containerLogs/default/nobody/main', who)).toMatchObject({ status: 404 })
    expect(await ask('/containerLogs/default/p/nix', who)).toMatchObject({ status: 400 })
    expect(await ask('/containerLogs/default/p/main?tailLines=-1', who)).toMatchObject({ status: 400 })
    expect(await ask('/containerLogs/default/p/main', { ...who, method: 'POST' })).toMatchObject({ status: 405 })
    expect(await ask(EXEC, { ...who, method: 'POST' })).toMatchObject({ status: 400 })
    expect(await ask('/exec/default/p/main?output=1', { ...who, headers: SPDY })).toMatchObject({ status: 400 })
    expect(await ask('/exec/default/p/main?command=id', { ...who, headers: SPDY })).toMatchObject({ status: 400 })
    const old = { ...SPDY, 'x-stream-protocol-version': 'channel.k8s.io' }
    expect(await ask(EXEC, { ...who, headers: old })).toMatchObject({ status: 400 })
    const several = await ask('/stats/summary', who)
    expect(several).toMatchObject({ status: 404 })
    expect(several.text).toContain('/gateways/NAME/stats/summary')
  })

  it('lists the pods of a gateway', async () => {
    const { status, text } = await ask('/gateways/gw-1/pods', { token: 'admin-token' })
    expect(status).toBe(200)
    expect(JSON.parse(text)).toMatchObject({ kind: 'PodList', items: [{ metadata: { name: 'p' } }] })
  })

  it('any path is a request or a refusal', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom('exec', 'pods', 'gateways', '%', '..'))), (parts) => {
        try {
          expect(readPath(`/${parts.join('/')}`).t).toMatch(/^[a-zA-Z]+$/)
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'SLUICE_KUBELET_PATH' })
        }
      }),
    )
  })
})
