import { readdirSync, readFileSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { loadIdentity } from '../../agent/link/identity.ts'
import { parseJoinToken } from '../../api/link/join.ts'
import { runSluice, startSluice } from '../cli/run-sluice.ts'
import { counterModel } from '../harness/fleet.ts'
import { temporaryFolder } from '../harness/folder.ts'
import { Stack } from '../harness/stack.ts'
import { eventually } from '../harness/until.ts'

let stack: Stack
beforeAll(async () => {
  stack = await Stack.start()
  await stack.createModel('counter', counterModel)
  await stack.createDevice('drive', stack.counterDevice())
  await stack.devices.until('drive', (d) => d.status?.state === 'online', 'the drive is online')
}, 60_000)
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(() => stack.tellOnFailure())

const TOKEN = /sluice1?[._-][A-Za-z0-9_-]{80,}/

/** Command lines and environments of every process of this machine, but the environment of whoever asks. */
function visibleToOthers(): string {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8') + readFileSync(`/proc/${pid}/environ`, 'utf8')
      } catch {
        return ''
      }
    })
    .join('\n')
}

function* filesOf(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) yield join(entry.parentPath, entry.name)
  }
}

/** Nothing for a file that was there for a moment only: databases have such, and what is written beside and renamed. */
function contentOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return Buffer.alloc(0)
    throw thrown
  }
}

describe('secrets', { timeout: 60_000 }, () => {
  it('are in no command line, no environment, no log and no file but their own', () => {
    const text = readFileSync(join(stack.folder, 'token'), 'utf8')
    const { secret } = parseJoinToken(text)
    const { keyPem } = loadIdentity(stack.agentData)!
    const consoleToken = readFileSync(join(stack.cloudData, 'console-token'), 'utf8').trim()
    const localToken = readFileSync(join(stack.agentData, 'local-api.token'), 'utf8').trim()
    const key = keyPem.split('\n')[1]!
    const seen = visibleToOthers()
    for (const hidden of [text.trim(), secret, key, consoleToken, localToken]) {
      expect(hidden.length).toBeGreaterThan(20)
      expect(seen.includes(hidden)).toBe(false)
      expect(stack.logs().includes(hidden)).toBe(false)
    }
    const holding = (hidden: string) => {
      const folders = [stack.cloudData, stack.agentData]
      return folders.flatMap((folder) => [...filesOf(folder)].filter((file) => contentOf(file).includes(hidden)))
    }
    expect(holding(secret)).toEqual([])
    expect(holding(key)).toEqual([join(stack.agentData, 'identity.json')])
    expect(holding(consoleToken)).toEqual([join(stack.cloudData, 'console-token')])
    expect(holding(localToken)).toEqual([join(stack.agentData, 'local-api.token')])
  })

  it('stay out of sight while one command runs everything', async () => {
    using folder = temporaryFolder('up')
    const ports = ['--api-port', '0', '--hub-port', '0']
    const up = startSluice(['up', '--demo', '--for', '60s', '--json', '--data', folder.path, ...ports])
    let seen = ''
    const watching = setInterval(() => {
      seen += visibleToOthers()
    }, 50)
    await up.printed('has joined with a token of its own').finally(() => clearInterval(watching))
    up.child.kill('SIGINT')
    const { stdout, stderr } = await up.finished
    expect(seen).toContain(folder.path)
    for (const text of [seen, stdout, stderr]) {
      expect(TOKEN.exec(text)?.[0]).toBeUndefined()
      expect(text).not.toContain('PRIVATE KEY')
    }
  })

  it('are in files that only their owner reads', () => {
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)
    for (const file of ['identity.json', 'local-api.token']) expect(mode(join(stack.agentData, file))).toBe('600')
    expect(mode(join(stack.agentData, 'agent.sock'))).toBe('660')
    for (const file of ['pki/ca.key', 'kubeconfig', 'console-token', 'cloud.json']) {
      expect(mode(join(stack.cloudData, file))).toBe('600')
    }
    expect(mode(stack.cloudData)).toBe('700')
  })

  it('are made anew every time, readable for their owner, and never overwrite a file', async () => {
    const out = join(stack.folder, 'new.token')
    const create = () => runSluice('token', 'create', '-g', 'gw-x', '-o', out, '--data', stack.cloudData)
    const first = await create()
    expect(first.code).toBe(0)
    expect(first.stdout + first.stderr).not.toContain(readFileSync(out, 'utf8').trim())
    expect(statSync(out).mode & 0o777).toBe(0o600)
    expect((await create()).stderr).toContain('SLUICE_CLI_FILE')
  })
})

describe("the gateway's API on its loopback port", { timeout: 30_000 }, () => {
  const call = (method: string, path: string, headers: Record<string, string>, body?: string) =>
    new Promise<{ status: number; text: string; headers: object }>((resolve, reject) => {
      const port = Number(stack.agent.ready['port'])
      const sent = request({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text, headers: answer.headers }))
      })
      sent.on('error', reject)
      sent.end(body)
    })

  it('answers nobody who came by a foreign name', async () => {
    for (const host of [
      'evil.example',
      'evil.example:80',
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      '[::2]',
    ]) {
      const { status, text } = await call('GET', '/v1/devices', { host })
      expect([host, status]).toEqual([host, 403])
      expect(JSON.parse(text)).toMatchObject({ code: 'SLUICE_API_HOST' })
    }
    for (const host of ['127.0.0.1', 'localhost:8080', '[::1]:80']) {
      expect((await call('GET', '/v1/devices', { host })).status).toBe(200)
    }
  })

  it('gives no web page a way in', async () => {
    const { status, headers } = await call('GET', '/v1/devices', { host: 'localhost', origin: 'https://evil.example' })
    expect(status).toBe(200)
    expect(headers).not.toHaveProperty('access-control-allow-origin')
    const preflight = await call('OPTIONS', '/v1/devices', { host: 'localhost', origin: 'https://evil.example' })
    expect(preflight.headers).not.toHaveProperty('access-control-allow-origin')
  })

  it('lets only whoever has its token write', async () => {
    const path = `/v1/devices/${stack.namespace}/drive/desired/speed?wait=10s`
    const headers = { host: '127.0.0.1', 'content-type': 'application/json' }
    const body = JSON.stringify({ value: 33 })
    const put = (authorization?: string) =>
      call('PUT', path, authorization === undefined ? headers : { ...headers, authorization }, body)
    expect((await put()).status).toBe(401)
    expect((await put('Bearer wrong')).status).toBe(401)
    expect(stack.far.unit(1).written).toEqual([])
    const token = readFileSync(join(stack.agentData, 'local-api.token'), 'utf8').trim()
    const written = await put(`Bearer ${token}`)
    expect([written.status, JSON.parse(written.text)]).toMatchObject([
      200,
      { state: expect.stringMatching(/applied|synced/) },
    ])
    expect(stack.far.unit(1).holding.get(0)).toBe(33)
  })

  it('refuses bodies that are too large, no JSON, or for a device that is not there', async () => {
    const token = readFileSync(join(stack.agentData, 'local-api.token'), 'utf8').trim()
    const headers = { host: '127.0.0.1', authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const path = `/v1/devices/${stack.namespace}/drive/desired/speed`
    const huge = await call('PUT', path, headers, JSON.stringify({ value: 'x'.repeat(1024 * 1024) }))
    expect([huge.status, JSON.parse(huge.text)]).toMatchObject([413, { code: 'SLUICE_API_TOO_LARGE' }])
    expect((await call('PUT', path, headers, '{')).status).toBe(400)
    expect(
      (await call('PUT', `/v1/devices/${stack.namespace}/none/desired/speed`, headers, '{"value":1}')).status,
    ).toBe(404)
    expect((await call('GET', '/v1/devices/%zz/x', { host: '127.0.0.1' })).status).toBeLessThan(500)
    await eventually(async () => (await call('GET', '/healthz', { host: '127.0.0.1' })).status === 200, 'it is well')
  })
})
