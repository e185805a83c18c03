import { createSign, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import { join } from 'node:path'
import { Provider } from 'oidc-provider'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CloudCore, runCloudCore } from '../../cloudcore/core.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { buildConsole } from '../../console/build.ts'
import { makeAuthority } from '../golden/certificates.ts'
import { noBrowser, startBrowser } from '../harness/browser.ts'
import { temporaryFolder } from '../harness/folder.ts'

type Claims = Record<string, unknown>

const keyPair = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const encoded = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')

/** The provider's own ID token with other claims, signed again. */
function forged(token: string, key: ReturnType<typeof keyPair>, change: (claims: Claims) => Claims): string {
  const [head = '', body = ''] = token.split('.')
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Claims
  const signed = `${head}.${encoded(change(claims))}`
  return `${signed}.${createSign('RSA-SHA256').update(signed).sign(key, 'base64url')}`
}

/** What the provider answers as JSON, changed on its way out. */
function changeAnswer(response: ServerResponse, change: (answer: Claims) => Claims): void {
  const end = response.end.bind(response)
  response.end = (chunk: unknown) => {
    const text = JSON.stringify(change(JSON.parse(String(chunk)) as Claims))
    response.setHeader('content-length', Buffer.byteLength(text))
    return end(text)
  }
}

/** A certified OpenID provider that is not ours, over TLS, with its own pages to sign in. */
async function startProvider(stack: AsyncDisposableStack) {
  const authority = await makeAuthority('a company')
  const { key, cert } = await authority.server()
  const server: Server = createServer({ key, cert }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  stack.defer(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  const issuer = `https://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  const key256 = keyPair()
  let forge: ((token: string) => string) | undefined
  const open = (redirectUri: string) => {
    const provider = new Provider(issuer, {
      clients: [{ client_id: 'sluice', client_secret: 'keep-me-well', redirect_uris: [redirectUri] }],
      jwks: { keys: [{ ...key256.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'one' }] },
      cookies: { keys: ['only for this test'] },
      claims: { openid: ['sub'], profile: [], email: ['email', 'email_verified'], groups: ['groups'] },
      scopes: ['openid', 'profile', 'email', 'groups'],
      conformIdTokenClaims: false,
      pkce: { required: () => true },
      findAccount: (_context: unknown, id: string) => ({
        accountId: id,
        claims: () => ({
          sub: id,
          email: `${id}@plant.example`,
          email_verified: id !== 'liar',
          groups: id === 'ada' ? ['technicians', 'system:masters'] : ['system:masters'],
        }),
      }),
    })
    const answer = provider.callback()
    server.on('request', (request, response) => {
      const now = forge
      if (now !== undefined && request.url === '/token')
        changeAnswer(response, (body) => ({ ...body, id_token: now(String(body['id_token'])) }))
      void answer(request, response)
    })
  }
  return {
    ...{ issuer, ca: authority.ca, open },
    /** Until the next call, ID tokens say something else; `key`: signed by somebody else. */
    forge(change?: (claims: Claims) => Claims, key = key256) {
      forge = change === undefined ? undefined : (token) => forged(token, key, change)
    },
  }
}

describe.skipIf(noBrowser)('signing in by a foreign OpenID provider', { timeout: 60_000 }, () => {
  const stack = new AsyncDisposableStack()
  let browser: Browser
  let core: CloudCore
  let kube: KubeClient
  let folder: string
  let provider: Awaited<ReturnType<typeof startProvider>>

  beforeAll(async () => {
    await buildConsole(join(import.meta.dirname, '../../console/dist'))
    provider = await startProvider(stack)
    folder = stack.use(temporaryFolder('oidc')).path
    core = await runCloudCore({
      dataDir: folder,
      hubPort: 0,
      apiPort: 0,
      kubeletPort: 0,
      oidc: {
        issuer: provider.issuer,
        clientId: 'sluice',
        clientSecret: 'keep-me-well',
        usernameClaim: 'email',
        usernamePrefix: '',
        groupsClaim: 'groups',
        groupsPrefix: '',
        caPem: provider.ca,
      },
    })
    stack.use(core)
    provider.open(`${core.info.consoleUrl}/v1/session/oidc/back`)
    kube = stack.use(new KubeClient(loadKubeconfig(core.info.kubeconfig)))
    browser = await startBrowser()
    stack.defer(() => browser.close())
  }, 60_000)
  afterAll(() => stack.disposeAsync())

  const bind = (name: string, role: string, subject: object) =>
    kube.create('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
      subjects: [subject],
    })

  const visit = async (): Promise<Page> => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB' })
    const page = await context.newPage()
    await page.goto(core.info.consoleUrl)
    return page
  }
  const beginWith = async (page: Page, who: string) => {
    await page.getByRole('link', { name: /^Sign in with 127\.0\.0\.1/ }).click()
    await page.locator('input[name=login]').fill(who)
    await page.locator('input[name=password]').fill('anything')
    await page.getByRole('button', { name: 'Sign-in' }).click()
    await page.getByRole('button', { name: 'Continue' }).waitFor()
  }
  const signIn = async (page: Page, who: string) => {
    await beginWith(page, who)
    await page.getByRole('button', { name: 'Continue' }).click()
  }
  const session = (page: Page) =>
    page.evaluate(async () => (await fetch('/v1/session')).json() as Promise<{ name?: string; role?: string }>)

  it('lets nobody in who has no role, and says so', async () => {
    const page = await visit()
    await signIn(page, 'ada')
    await expect.poll(() => page.getByRole('alert').textContent()).toContain('nobody gave you a role')
    expect(await session(page)).not.toHaveProperty('name')
    await page.context().close()
  })

  it('gives the role that the Kubernetes API gives that person, and takes the cookies it needs', async () => {
    await bind('technicians', 'sluice-operator', { kind: 'Group', name: 'technicians' })
    const page = await visit()
    await signIn(page, 'ada')
    await page.waitForURL(`${core.info.consoleUrl}/**`)
    await expect.poll(() => page.getByRole('navigation').count()).toBeGreaterThan(0)
    expect(await session(page)).toMatchObject({ name: 'ada@plant.example', role: 'operator' })
    const cookies = await page.context().cookies(core.info.consoleUrl)
    expect(
      cookies.map(({ name, httpOnly, secure, sameSite }) => ({ name, httpOnly, secure, sameSite })),
    ).toContainEqual({
      ...{ name: '__Host-sluice-console', httpOnly: true, secure: true },
      sameSite: 'Strict',
    })
    expect(cookies.map(({ name }) => name)).not.toContain('__Host-sluice-console-flight')
    // The provider still knows who it was; whoever comes next is asked all the same.
    await page.getByRole('button', { name: 'Sign out' }).click()
    await beginWith(page, 'mallory')
    await page.context().close()
  })

  it('takes no group that Kubernetes keeps to itself, and no address that was not verified', async () => {
    for (const who of ['mallory', 'liar']) {
      const page = await visit()
      await signIn(page, who)
      await page.getByRole('alert').waitFor()
      expect(await session(page)).not.toHaveProperty('name')
      await page.context().close()
    }
  })

  it('takes no ID token for somebody else, of another question, too old, or signed by nobody it knows', async () => {
    const page = await visit()
    const foreign: [(claims: Claims) => Claims, ReturnType<typeof keyPair>?][] = [
      [(claims) => ({ ...claims, aud: 'another application' })],
      [(claims) => ({ ...claims, nonce: 'of another question' })],
      [(claims) => ({ ...claims, exp: Math.floor(Date.now() / 1000) - 3_600 })],
      [(claims) => ({ ...claims, iss: 'https://elsewhere.example' })],
      [(claims) => claims, keyPair()],
    ]
    for (const [at, [change, key]] of foreign.entries()) {
      provider.forge(change, key)
      if (at === 0) await signIn(page, 'ada')
      // The provider knows them by now, and sends them back at once.
      else {
        await page.goto('about:blank')
        await page.goto(core.info.consoleUrl)
        await page.getByRole('link', { name: /^Sign in with/ }).click()
      }
      await expect.poll(() => page.getByRole('alert').textContent()).toContain('not confirmed')
      expect(await session(page)).not.toHaveProperty('name')
    }
    provider.forge((claims) => claims)
    await page.goto('about:blank')
    await page.goto(core.info.consoleUrl)
    await page.getByRole('link', { name: /^Sign in with/ }).click()
    await page.getByRole('navigation').waitFor()
    provider.forge()
    await page.context().close()
  })

  it('takes an answer only in the browser that asked', async () => {
    const page = await visit()
    await beginWith(page, 'ada')
    // As if the address of the answer had come to somebody else's browser.
    await page.context().clearCookies({ name: '__Host-sluice-console-flight' })
    await page.getByRole('button', { name: 'Continue' }).click()
    await expect.poll(() => page.getByRole('alert').textContent()).toContain('not confirmed')
    expect(await session(page)).not.toHaveProperty('name')
    await page.context().close()
  })

  it('has every sign-in in the audit log, and no secret in any file', () => {
    const audit = readFileSync(join(folder, 'cloud-audit.jsonl'), 'utf8')
    expect(audit).toMatch(/"who":"ada@plant\.example","role":"operator".*"action":"SIGN-IN"/)
    expect(audit).toMatch(/"who":"unknown".*"action":"SIGN-IN".*"status":401/)
    expect(audit).not.toContain('keep-me-well')
    expect(audit).not.toContain('code=')
  })
})

describe('the flags of an OpenID provider', () => {
  it('are checked before anything starts', async () => {
    const { readOidcFlags } = await import('../../cloudcore/console-api/oidc/config.ts')
    using held = temporaryFolder('oidc-flags')
    const secret = join(held.path, 'secret')
    writeFileSync(secret, 'abc\n', { mode: 0o600 })
    expect(readOidcFlags({})).toBeUndefined()
    const whole = { 'oidc-issuer': 'https://id.example', 'oidc-client-id': 'c', 'oidc-client-secret-file': secret }
    expect(readOidcFlags(whole)).toMatchObject({
      ...{ clientSecret: 'abc', usernameClaim: 'sub', usernamePrefix: 'https://id.example#', groupsClaim: 'groups' },
    })
    for (const [flags, words] of [
      [{ 'oidc-client-id': 'c' }, 'says nothing without --oidc-issuer'],
      [{ 'oidc-issuer': 'http://id.example', 'oidc-client-id': 'c' }, 'https://'],
      [{ 'oidc-issuer': 'https://id.example' }, '--oidc-client-id'],
      [{ ...whole, 'oidc-ca-file': join(held.path, 'nothing') }, 'cannot be read'],
    ] as const) {
      expect(() => readOidcFlags(flags)).toThrow(words)
    }
  })
})
