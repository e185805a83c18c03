import { once } from 'node:events'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import { CertificateAuthority } from '../../cloudcore/join/authority.ts'
import { ADMIN_GROUP, GATEWAY_GROUP, gatewayUser } from '../../cloudcore/join/identity.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { type AgentIdentity, httpsCall, ScriptedAgent } from '../../cloudcore/testing/scripted-agent.ts'
import { runSluice } from '../cli/run-sluice.ts'
import { Assembly } from '../harness/assembly.ts'
import { eventually } from '../harness/until.ts'

let house: Assembly
beforeAll(async () => {
  house = await Assembly.start()
}, 60_000)
afterAll(() => house?.[Symbol.asyncDispose]())
beforeEach(() => house.tellOnFailure())

const token = async (gateway: string, ttlMs?: number): Promise<string> =>
  (await house.core.createToken({ gateway, ...(ttlMs === undefined ? {} : { ttlMs }) })).token

/** The command a person types on the gateway; the token comes in a file. */
const joinWith = (text: string, name: string) => {
  const file = join(house.folder, `${name}.token`)
  writeFileSync(file, text, { mode: 0o600 })
  return runSluice('join', '--token-file', file, '--data', join(house.folder, name))
}

/** The token with one field of its content changed. */
function forged(text: string, change: Readonly<Record<string, string>>): string {
  const dot = text.search(/[A-Za-z0-9_-]+$/)
  const content = JSON.parse(Buffer.from(text.slice(dot), 'base64url').toString()) as Record<string, string>
  return text.slice(0, dot) + Buffer.from(JSON.stringify({ ...content, ...change })).toString('base64url')
}

describe('a join token', { timeout: 30_000 }, () => {
  it('works once: whoever replays it is refused, told why, and seen', async () => {
    const text = await token('gw-once')
    const first = await joinWith(text, 'once')
    expect(first.stdout).toContain('Joined as gateway gw-once')
    const second = await joinWith(text, 'twice')
    expect(second.code).not.toBe(0)
    expect(second.stderr).toContain('SLUICE_JOIN_TOKEN_USED')
    expect(house.logged('SLUICE_JOIN_TOKEN_USED')).toMatchObject({ level: 'warn', gateway: 'gw-once' })
    await eventually(
      async () => (await house.reasonsFor('gw-once')).some((reason) => /Join/.test(reason)),
      'an Event on the Gateway',
    )
  })

  it('is refused when it has expired, is for another name, or was never given out', async () => {
    const short = await token('gw-short', 1_000)
    await eventually(async () => {
      const { stderr } = await joinWith(short, `short-${Math.random()}`.replace('.', ''))
      return stderr.includes('SLUICE_JOIN_TOKEN_EXPIRED') || stderr.includes('SLUICE_JOIN_TOKEN_USED')
    }, 'it expires')
    const mine = await token('gw-mine')
    const other = await joinWith(forged(mine, { g: 'gw-once' }), 'other')
    expect(other.stderr).toContain('SLUICE_JOIN_TOKEN_OTHER_GATEWAY')
    const unknown = await joinWith(forged(mine, { s: 'A'.repeat(43) }), 'unknown')
    expect(unknown.stderr).toContain('SLUICE_JOIN_TOKEN_UNKNOWN')
    // None of that used it up.
    expect((await joinWith(mine, 'mine')).code).toBe(0)
  })

  it('is refused before anything is sent when it is malformed or leads to somebody else', async () => {
    const text = await token('gw-led')
    const before = house.log.length
    for (const wrong of [
      '',
      'hello',
      text.slice(0, -20),
      `${text.slice(0, 30)}~${text.slice(31)}`,
      'x'.repeat(20_000),
    ]) {
      const { code, stderr } = await joinWith(wrong, 'malformed')
      expect(code).toBe(2)
      expect(stderr).toContain('SLUICE_JOIN_TOKEN_MALFORMED')
    }
    const led = await joinWith(forged(text, { p: 'ab'.repeat(32) }), 'led')
    expect(led.stderr).toContain('SLUICE_JOIN_PIN')
    expect(house.log.slice(before)).toEqual([])
    expect((await joinWith(text, 'led')).code).toBe(0)
  })

  it('still lets the gateway in when the answer got lost on the way', async () => {
    const text = await token('gw-lost')
    const authority = await CertificateAuthority.open(join(house.cloudData, 'pki'), systemClock)
    const { keyPem, certPem } = await authority.issueServer('between', { dns: ['localhost'], ips: ['127.0.0.1'] }, 1)
    const answers: number[] = []
    const between = createServer({ key: keyPem, cert: certPem, ca: authority.caPem }, (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', async () => {
        const body: unknown = JSON.parse(Buffer.concat(chunks).toString())
        const answer = await httpsCall(house.core.info.hubUrl + request.url, {
          method: 'POST',
          caPem: authority.caPem,
          body,
        })
        answers.push(answer.status)
        // The hub has certified the key, and nobody hears of it.
        if (answers.length === 1) request.socket.destroy()
        else response.writeHead(answer.status).end(answer.body)
      })
    })
    between.listen(0, '127.0.0.1')
    await once(between, 'listening')
    try {
      const { port } = between.address() as AddressInfo
      const file = join(house.folder, 'lost.token')
      writeFileSync(file, forged(text, { u: `https://127.0.0.1:${port}` }), { mode: 0o600 })
      const dataDir = join(house.folder, 'lost')
      await using agent = await house.startAgent({ dataDir, gateway: 'gw-lost', joinTokenFile: file })
      await eventually(() => agent.link?.status.connected, 'it has joined at the second attempt')
      expect(answers).toEqual([200, 200])
    } finally {
      between.closeAllConnections()
      between.close()
    }
  })

  it('leaves keys that only their owner can read', () => {
    const mode = (path: string) => statSync(join(house.folder, path)).mode & 0o777
    expect(mode('once/identity.json')).toBe(0o600)
    expect(mode('cloud')).toBe(0o700)
    expect(mode('cloud/pki')).toBe(0o700)
    for (const file of ['pki/ca.key', 'kubeconfig', 'cloud.json', 'console-token'])
      expect(mode(`cloud/${file}`)).toBe(0o600)
  })
})

describe('a certificate', { timeout: 30_000 }, () => {
  const opening = (identity: AgentIdentity) =>
    ScriptedAgent.open(identity).then(
      (agent) => {
        agent.cut()
        return 'open'
      },
      (error: { code?: string; message: string }) => error.code ?? error.message,
    )

  it('of another gateway does not make anybody that gateway', async () => {
    const [mine, theirs] = [await house.joinScripted('gw-a'), await house.joinScripted('gw-b')]
    using agent = await ScriptedAgent.open(mine)
    const said = await agent.hello({ gateway: theirs.gateway }).catch(toSluiceError)
    expect(said).toMatchObject({ message: 'SLUICE_LINK_WRONG_GATEWAY' })
    expect(await opening(theirs)).toBe('open')
  })

  it('that is none, an administrator’s, a server’s, a stranger’s or not in the register opens no link', async () => {
    const identity = await house.joinScripted('gw-c')
    const own = await CertificateAuthority.open(join(house.cloudData, 'pki'), systemClock)
    const foreign = await CertificateAuthority.open(join(house.folder, 'foreign'), systemClock)
    const with_ = ({ certPem, keyPem }: { certPem: string; keyPem: string }) =>
      opening({ ...identity, certPem, keyPem })
    const subject = { commonName: gatewayUser('gw-c'), organization: GATEWAY_GROUP }
    expect(await with_(await own.issueClient({ commonName: 'admin', organization: ADMIN_GROUP }, 1))).toBe(
      'SLUICE_LINK_CERT_REFUSED',
    )
    expect(await with_(await own.issueServer('gw-c', { dns: [], ips: [] }, 1))).toBe('SLUICE_LINK_CERT_REFUSED')
    expect(await with_(await foreign.issueClient(subject, 1))).toBe('SLUICE_LINK_CERT_REFUSED')
    // Signed by the right authority, but nobody remembers that it was given out.
    expect(await with_(await own.issueClient(subject, 1))).toBe('SLUICE_JOIN_CERT_UNKNOWN')
    const { certPem: _, keyPem: __, ...bare } = identity
    const nobody = await httpsCall(`${house.core.info.hubUrl}/link`, {
      caPem: bare.caPem,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      },
    })
    expect([nobody.status, JSON.parse(nobody.body).code]).toEqual([403, 'SLUICE_LINK_NO_CERT'])
    expect(await opening(identity)).toBe('open')
  })

  it('that was revoked ends its link at once, cannot be renewed, and new hardware takes the name over', async () => {
    const dataDir = join(house.folder, 'gw-r')
    const file = join(house.folder, 'gw-r.token')
    writeFileSync(file, await token('gw-r'), { mode: 0o600 })
    await using agent = await house.startAgent({ dataDir, gateway: 'gw-r' })
    await eventually(() => agent.link?.status.connected, 'it is connected')
    const revoked = await runSluice('gateway', 'revoke', 'gw-r', '--data', house.cloudData)
    expect(revoked.stdout).toContain('1 certificate revoked')
    await eventually(() => agent.link?.status.connected === false, 'it is cut')
    await eventually(
      () => house.log.filter(({ code }) => code === 'SLUICE_JOIN_CERT_REVOKED').length > 1,
      'and refused',
    )
    const old: AgentIdentity = JSON.parse(readFileSync(join(dataDir, 'identity.json'), 'utf8'))
    const { renew } = await import('../../agent/link/enrol.ts')
    await expect(renew(old, Date.now())).rejects.toMatchObject({
      message: expect.stringContaining('SLUICE_JOIN_CERT_REVOKED'),
    })
    expect((await joinWith(readFileSync(file, 'utf8'), 'gw-r-new')).code).toBe(0)
    const renewed: AgentIdentity = JSON.parse(readFileSync(join(house.folder, 'gw-r-new', 'identity.json'), 'utf8'))
    expect(await opening(renewed)).toBe('open')
    expect(await opening(old)).toBe('SLUICE_JOIN_CERT_REVOKED')
  })

  it('of a gateway is no key to the APIs', async () => {
    const { certPem, keyPem, caPem } = await house.joinScripted('gw-d')
    const console_ = house.core.info.consoleUrl
    for (const [method, path] of [
      ['GET', '/v1/devices'],
      ['GET', '/v1/events'],
      ['GET', '/v1/gateways'],
      ['GET', '/metrics'],
      ['POST', '/v1/tokens'],
      ['POST', '/v1/gateways/gw-a/revoke'],
      ['PUT', '/v1/devices/default/x/desired/y'],
    ] as const) {
      const body = method === 'GET' ? {} : { body: { gateway: 'gw-d', value: 1 } }
      const call = (more: object) => httpsCall(console_ + path, { method, caPem, ...body, ...more })
      expect((await call({})).status).toBe(401)
      expect((await call({ headers: { authorization: 'Bearer wrong' } })).status).toBe(401)
      expect(
        (await call({ headers: { authorization: `Basic ${Buffer.from('admin:admin').toString('base64')}` } })).status,
      ).toBe(401)
      expect((await call({ certPem, keyPem })).status).toBe(403)
    }
    expect((await httpsCall(`${console_}/healthz`, { caPem })).status).toBe(200)
    for (const path of ['/join', '/renew']) {
      const huge = await httpsCall(console_ + path, { method: 'POST', caPem, body: { csrPem: 'x'.repeat(2_000_000) } })
      expect([huge.status, JSON.parse(huge.body).code]).toEqual([413, 'SLUICE_API_TOO_LARGE'])
    }
    const api = loadKubeconfig(house.kubeconfig).server
    for (const path of ['/api/v1/secrets', '/api/v1/namespaces', '/apis/sluice.dev/v1alpha1/devices']) {
      expect((await httpsCall(api + path, { caPem })).status).toBe(401)
      expect((await httpsCall(api + path, { caPem, certPem, keyPem })).status).toBe(403)
    }
  })
})
