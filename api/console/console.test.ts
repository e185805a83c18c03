import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../virtual-clock.ts'
import { AuditLog } from './audit-log.ts'
import { neededRole } from './roles.ts'
import { ConsoleSessions } from './sessions.ts'
import { isConsoleFile, serveConsoleFile } from './static-files.ts'

describe('sessions', () => {
  const ada = { name: 'ada', role: 'operator' } as const

  it('take a code once, however it is typed, and for five minutes only', async () => {
    const clock = new VirtualClock()
    const sessions = new ConsoleSessions(clock)
    const code = sessions.issueCode(ada)
    expect(code).toMatch(/^[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}$/)
    expect(sessions.redeem(code.toLowerCase().replaceAll('-', ' '))).toMatchObject(ada)
    expect(sessions.redeem(code)).toBeUndefined()
    const late = sessions.issueCode(ada)
    await clock.advance(5 * 60_000)
    expect(sessions.redeem(late)).toBeUndefined()
  })

  it('stop listening to whoever guesses', async () => {
    const clock = new VirtualClock()
    const sessions = new ConsoleSessions(clock)
    const code = sessions.issueCode(ada)
    for (let guess = 0; guess < 10; guess++) sessions.redeem('0000-0000-0000')
    expect(() => sessions.redeem(code)).toThrowError('Too many wrong codes')
    await clock.advance(60_000)
    expect(sessions.redeem(code)).toMatchObject(ada)
  })

  it('end after eight hours of nothing', async () => {
    const clock = new VirtualClock()
    const sessions = new ConsoleSessions(clock)
    const { secret } = sessions.start(ada)
    await clock.advance(7.9 * 3_600_000)
    expect(await sessions.find(secret)).toMatchObject(ada)
    await clock.advance(8.1 * 3_600_000)
    expect(await sessions.find(secret)).toBeUndefined()
  })

  it('end what stays open: at once when somebody signs out, else within half a minute, and never for being open alone', async () => {
    const clock = new VirtualClock()
    const sessions = new ConsoleSessions(clock)
    const ended: string[] = []
    const one = sessions.start(ada)
    using _one = sessions.follow(one.secret, () => ended.push('signed out'))
    sessions.end(one.secret)
    expect(ended).toEqual(['signed out'])
    const two = sessions.start(ada)
    using _two = sessions.follow(two.secret, () => ended.push('idle'))
    await clock.advance(8 * 3_600_000)
    expect(ended).toEqual(['signed out'])
    await clock.advance(30_000)
    expect(ended).toEqual(['signed out', 'idle'])
    const three = sessions.start({ ...ada, recheck: async () => undefined })
    const held = sessions.follow(three.secret, () => ended.push('withdrawn'))
    await clock.advance(90_000)
    expect(ended.at(-1)).toBe('withdrawn')
    held[Symbol.dispose]()
  })

  it('follow what somebody may do, and end when that is nothing any more', async () => {
    const clock = new VirtualClock()
    const sessions = new ConsoleSessions(clock)
    let role: 'viewer' | 'admin' | undefined = 'viewer'
    const { secret } = sessions.start({ name: 'bob', role: 'admin', recheck: async () => role })
    expect((await sessions.find(secret))?.role).toBe('admin')
    await clock.advance(60_000)
    expect((await sessions.find(secret))?.role).toBe('viewer')
    role = undefined
    await clock.advance(60_000)
    expect(await sessions.find(secret)).toBeUndefined()
  })
})

describe('roles', () => {
  it.each([
    ['GET', '/v1/devices', 'viewer'],
    ['GET', '/v1/tokens', 'admin'],
    ['GET', '/v1/audit', 'operator'],
    ['PUT', '/v1/devices/n/d/desired/p', 'operator'],
    ['POST', '/v1/discovered/n/d/approve', 'operator'],
    ['POST', '/v1/discovered', 'admin'],
    ['POST', '/v1/models', 'admin'],
    ['POST', '/v1/gateways/g/revoke', 'admin'],
    ['POST', '/v1/pods/n/p/offload', 'operator'],
    ['GET', '/v1/pods/n/p/logs', 'viewer'],
    ['GET', '/v1/pods/n/p/terminal', 'admin'],
    ['POST', '/v1/rollouts', 'admin'],
    ['POST', '/v1/rollouts/n/r', 'operator'],
    ['POST', '/v1/devices/n/d/poll', 'operator'],
    ['POST', '/v1/trial', 'operator'],
    ['DELETE', '/v1/whatever', 'admin'],
  ])('%s %s is for a %s', (method, path, role) => {
    expect(neededRole(method, path)).toBe(role)
  })
})

describe('files', () => {
  it('are the page and its assets, and nothing beside or above them', () => {
    expect(['/', '/assets/app-1.js'].every(isConsoleFile)).toBe(true)
    const others = ['/index.html', '/assets/', '/assets/../x', '/assets/a/b', '/assets/%2e%2e', '/v1/devices']
    expect(others.some(isConsoleFile)).toBe(false)
  })
})

describe('the page', () => {
  it('may have inline only the styles it came with, and its parts none at all', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-page-'))
    const styles = 'body{margin:0}'
    writeFileSync(join(folder, 'index.html'), `<style>${styles}</style><h1>Sluice</h1>`)
    mkdirSync(join(folder, 'assets'))
    writeFileSync(join(folder, 'assets', 'app-1.js'), '1')
    await using server = createServer((request, response) => {
      void serveConsoleFile(request, response, request.url ?? '/', folder)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const policy = async (path: string) => {
      const { port } = server.address() as AddressInfo
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { 'accept-encoding': 'identity' } })
      return answer.headers.get('content-security-policy')
    }
    const digest = createHash('sha256').update(styles).digest('base64')
    expect(await policy('/')).toContain(`style-src 'self' 'sha256-${digest}';`)
    expect(await policy('/assets/app-1.js')).toContain("style-src 'self';")
    expect(await policy('/')).not.toContain('unsafe')
    rmSync(folder, { recursive: true })
  })
})

describe('the audit log', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-audit-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))
  const entry = (target: string) => ({
    at: '2026-01-01T00:00:00Z',
    who: 'ada',
    from: '::1',
    action: 'PUT',
    target,
    status: 200,
  })
  const open = (maxBytes?: number) => {
    const path = join(folder, 'audit.jsonl')
    const onTrouble = (message: string) => expect.fail(message)
    return new AuditLog({ path, onTrouble, ...(maxBytes === undefined ? {} : { maxBytes }) })
  }

  it('is there after a restart, the newest first, readable by its owner alone', () => {
    using first = open()
    first.append(entry('a'))
    first.append(entry('b'))
    using second = open()
    expect(second.list().map(({ target }) => target)).toEqual(['b', 'a'])
    expect(statSync(join(folder, 'audit.jsonl')).mode & 0o777).toBe(0o600)
  })

  it('stays within two files, and cuts what is too long', () => {
    using log = open(2_000)
    for (let count = 0; count < 100; count++) log.append(entry(`${count} ${'x'.repeat(1_000)}`))
    expect(readFileSync(join(folder, 'audit.jsonl')).length).toBeLessThanOrEqual(2_000)
    expect(readFileSync(join(folder, 'audit.jsonl.1')).length).toBeLessThanOrEqual(2_000)
    expect(log.list()[0]!.target).toHaveLength(256)
  })
})
