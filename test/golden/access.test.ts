import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startApiServer } from '../../cloudcore/apiserver/server.ts'
import { ApiClient } from './api-client.ts'
import { makeAuthority } from './certificates.ts'
import type { TestServer } from './test-server.ts'
import { startTestServer } from './test-server.ts'

const MAPS = '/api/v1/namespaces/default/configmaps'

describe('access to the embedded API', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer({
      maxWatches: 2,
      tokens: new Map([['s3cret-token', { user: 'robot', groups: ['system:masters'] }]]),
    })
  })

  afterAll(async () => {
    await server[Symbol.asyncDispose]()
  })

  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

  it('lets an administrator in by certificate and by token', async () => {
    expect((await server.admin.call({ path: MAPS })).status).toBe(200)
    const client = new ApiClient(server.api.url, { ca: server.authority.ca })
    expect((await client.call({ path: MAPS, headers: bearer('s3cret-token') })).status).toBe(200)
    expect(
      JSON.parse(
        (
          await client.call({
            method: 'POST',
            path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
            body: {},
            headers: bearer('s3cret-token'),
          })
        ).text,
      ),
    ).toMatchObject({
      status: { userInfo: { username: 'robot', groups: ['system:masters', 'system:authenticated'] } },
    })
    client.close()
  })

  it('refuses a wrong token, no identity, and a certificate of another authority with 401', async () => {
    const stranger = await (await makeAuthority('another CA')).client('admin', ['system:masters'])
    for (const [client, headers] of [
      [new ApiClient(server.api.url, { ca: server.authority.ca }), {}],
      [new ApiClient(server.api.url, { ca: server.authority.ca }), bearer('wrong')],
      [new ApiClient(server.api.url, { ca: server.authority.ca, ...stranger }), {}],
    ] as const) {
      const answer = await client.call({ path: MAPS, headers })
      expect(answer.status).toBe(401)
      expect(JSON.parse(answer.text)).toMatchObject({ kind: 'Status', reason: 'Unauthorized' })
      client.close()
    }
  })

  it('shows somebody without rights discovery, and answers everything else with 403 that says what was refused', async () => {
    const guest = await server.as('guest', ['visitors'])
    expect((await guest.call({ path: '/apis' })).status).toBe(200)
    expect((await guest.call({ path: '/openapi/v3' })).status).toBe(200)
    const refused = await guest.call({ method: 'DELETE', path: `${MAPS}/x` })
    expect(refused.status).toBe(403)
    expect(JSON.parse(refused.text).message).toBe(
      'configmaps "x" is forbidden: User "guest" cannot delete resource "configmaps" in API group "" in the namespace "default"',
    )
    expect((await guest.call({ path: `${MAPS}?watch=1` })).status).toBe(403)
    const review = { spec: { resourceAttributes: { verb: 'create', resource: 'pods' } } }
    expect(
      JSON.parse(
        (
          await guest.call({
            method: 'POST',
            path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
            body: review,
          })
        ).text,
      ).status,
    ).toEqual({ allowed: false })
  })

  it('trusts the cloud core fully', async () => {
    const core = await server.as('sluice:cloudcore')
    expect((await core.call({ path: MAPS })).status).toBe(200)
  })

  it('bounds bodies, depth, watches and options', async () => {
    expect(
      (await server.admin.call({ method: 'POST', path: MAPS, body: `{"x":"${'y'.repeat(3 * 1024 * 1024)}"}` })).status,
    ).toBe(413)
    expect((await server.admin.call({ method: 'POST', path: MAPS, body: '['.repeat(100_000) })).status).toBe(400)
    expect((await server.admin.call({ path: `${MAPS}?limit=-1` })).status).toBe(400)
    expect((await server.admin.call({ path: `${MAPS}?resourceVersion=abc` })).status).toBe(400)
    const open = [
      await server.admin.open({ path: `${MAPS}?watch=1` }),
      await server.admin.open({ path: `${MAPS}?watch=1` }),
    ]
    expect((await server.admin.call({ path: `${MAPS}?watch=1` })).status).toBe(429)
    for (const response of open) response.destroy()
  })

  it('never lets a body reach a prototype', async () => {
    const body =
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"proto","annotations":{"__proto__":"x"}},"data":{"__proto__":"y"},"__proto__":{"polluted":true},"\\u005f_proto__":{"polluted":true}}'
    expect((await server.admin.call({ method: 'POST', path: MAPS, body })).status).toBe(201)
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false)
    expect(JSON.parse((await server.admin.call({ path: `${MAPS}/proto` })).text).data).toEqual({})
  })

  it('drops what is no TLS, and goes on', async () => {
    const socket = connect(server.api.port, '127.0.0.1')
    socket.end('GET / HTTP/1.1\r\n\r\n')
    socket.resume()
    await once(socket, 'close')
    expect((await server.admin.call({ path: '/healthz' })).text).toBe('ok')
  })

  it('says which port is busy, and which key is no key', async () => {
    const identity = await server.authority.server()
    const options = { dataDir: `${server.dataDir}/other`, tls: { ...identity, ca: server.authority.ca } }
    await expect(startApiServer({ ...options, port: server.api.port })).rejects.toMatchObject({
      code: 'SLUICE_API_PORT_BUSY',
    })
    await expect(startApiServer({ ...options, tls: { ...options.tls, key: 'no key' } })).rejects.toMatchObject({
      code: 'SLUICE_API_TLS',
    })
    await expect(startApiServer({ ...options, dataDir: server.dataDir })).rejects.toMatchObject({
      code: 'SLUICE_API_STORAGE_OPEN',
    })
  })
})
