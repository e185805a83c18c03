import { mkdtempSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import type { SluiceError } from '../../api/errors.ts'
import { CertificateAuthority } from '../join/authority.ts'
import { KubeClient } from './client.ts'
import { LineSplitter } from './line-splitter.ts'
import { type Watch, type Watchable, watchResource } from './watch.ts'

/** A fast clock: back-off passes at once, so that no test waits. */
const hasty = { ...systemClock, after: (_: number, fn: () => void) => systemClock.after(1, fn) }

type Script = (request: IncomingMessage, response: ServerResponse, url: URL) => void

let tls: { key: string; cert: string; ca: string }
let server: Server
let client: KubeClient
let script: Script
let requests: URL[]
let stopping: AbortController

beforeAll(async () => {
  const authority = await CertificateAuthority.open(mkdtempSync(join(tmpdir(), 'sluice-kube-')), systemClock)
  const made = await authority.issueServer('api', { dns: ['localhost'], ips: ['127.0.0.1'] }, 1)
  tls = { key: made.keyPem, cert: made.certPem, ca: authority.caPem }
})

beforeEach(async () => {
  requests = []
  stopping = new AbortController()
  server = createServer(tls, (request, response) => {
    const url = new URL(request.url ?? '/', 'https://api')
    requests.push(url)
    script(request, response, url)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  client = new KubeClient({ server: `https://127.0.0.1:${port}`, caPem: tls.ca, namespace: 'default' })
})

afterEach(async () => {
  stopping.abort()
  await client[Symbol.asyncDispose]()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

const thing = (name: string, version: number, uid = name) => ({
  metadata: { name, uid, resourceVersion: String(version) },
})
const list = (response: ServerResponse, items: object[], version: number, token?: string) =>
  response.end(JSON.stringify({ metadata: { resourceVersion: String(version), continue: token }, items }))
const line = (type: string, object: object) => `${JSON.stringify({ type, object })}\n`

function follow(log: string[]): Watch<string> {
  return watchResource<Watchable, string>(
    client,
    '/things',
    {
      upsert: (object) => log.push(`+${object.metadata.name}@${object.metadata.resourceVersion}`),
      remove: (key) => log.push(`-${key}`),
      synced: (first) => log.push(first ? 'synced' : 'synced again'),
      trouble: (error) => log.push(error.code),
    },
    { clock: hasty, signal: stopping.signal, keep: (object) => object.metadata.uid ?? '', random: () => 0 },
  )
}

/** Resolves when the log holds the entry. */
async function until(log: string[], entry: string): Promise<void> {
  while (!log.includes(entry)) await new Promise((resolve) => setImmediate(resolve))
}

describe('watching a collection', () => {
  it('lists page by page and watches from where the list stood', async () => {
    script = (_, response, url) => {
      if (url.searchParams.has('watch')) response.write(line('ADDED', thing('c', 8)))
      else if (url.searchParams.has('continue')) list(response, [thing('b', 2)], 7)
      else list(response, [thing('a', 1)], 7, 'more')
    }
    const log: string[] = []
    const watch = follow(log)
    await until(log, '+c@8')
    expect(log).toEqual(['+a@1', '+b@2', 'synced', '+c@8'])
    expect([...watch.cache.keys()]).toEqual(['a', 'b', 'c'])
    expect(requests[2]?.searchParams.get('resourceVersion')).toBe('7')
    expect(requests[2]?.searchParams.get('allowWatchBookmarks')).toBe('true')
  })

  it('goes on from the last event, bookmarks included, when the connection is cut in the middle of a line', async () => {
    let watches = 0
    script = (_, response, url) => {
      if (!url.searchParams.has('watch')) list(response, [], 1)
      else if (++watches === 1) {
        response.write(line('ADDED', thing('a', 2)) + line('BOOKMARK', thing('', 5)))
        response.write('{"type":"ADDED","obj', () => response.destroy())
      } else response.write(line('ADDED', thing('b', 6)))
    }
    const log: string[] = []
    follow(log)
    await until(log, '+b@6')
    expect(requests.at(-1)?.searchParams.get('resourceVersion')).toBe('5')
    expect(log.filter((entry) => entry === 'synced again')).toEqual([])
  })

  it('lists anew after a compacted history and tells what was deleted meanwhile', async () => {
    let lists = 0
    script = (_, response, url) => {
      if (!url.searchParams.has('watch')) {
        if (++lists === 1) list(response, [thing('a', 1), thing('b', 2)], 2)
        else list(response, [thing('b', 9)], 9)
      } else if (lists === 1) response.end(line('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }))
      else response.flushHeaders()
    }
    const log: string[] = []
    const watch = follow(log)
    await until(log, 'synced again')
    expect(log).toEqual(['+a@1', '+b@2', 'synced', '+b@9', '-a', 'synced again'])
    expect([...watch.cache.keys()]).toEqual(['b'])
  })

  it('outlives an API that refuses, answers nonsense and hangs up, and ends with its signal', async () => {
    let turn = 0
    script = (_, response, url) => {
      turn++
      if (turn === 1) response.writeHead(503).end('no')
      else if (turn === 2) response.end('<html>')
      else if (turn === 3) response.destroy()
      else if (!url.searchParams.has('watch')) list(response, [thing('a', 1)], 1)
      else if (turn === 5) response.end('nonsense\n')
      else response.write(line('MODIFIED', thing('a', 2)))
    }
    const log: string[] = []
    const watch = follow(log)
    await until(log, '+a@2')
    expect(log.slice(0, 2)).toEqual(['SLUICE_KUBE_UNAVAILABLE', 'SLUICE_KUBE_BAD_ANSWER'])
    stopping.abort()
    await watch.done
  })
})

describe('the Kubernetes client', () => {
  it('turns refusals into typed errors', async () => {
    const codes: [number, object, string][] = [
      [404, {}, 'SLUICE_KUBE_NOT_FOUND'],
      [409, { reason: 'AlreadyExists' }, 'SLUICE_KUBE_EXISTS'],
      [409, { reason: 'Conflict' }, 'SLUICE_KUBE_CONFLICT'],
      [403, {}, 'SLUICE_KUBE_FORBIDDEN'],
      [422, { message: 'spec.model: Required' }, 'SLUICE_KUBE_REFUSED'],
      [500, {}, 'SLUICE_KUBE_UNAVAILABLE'],
    ]
    for (const [status, body, code] of codes) {
      script = (_, response) => response.writeHead(status).end(JSON.stringify(body))
      const thrown = await client.get('/x').catch((error: SluiceError) => error)
      expect(thrown).toMatchObject({ code })
    }
  })

  it('sends the length of a delete body, so that the connection stays usable', async () => {
    const lengths: (string | undefined)[] = []
    script = (request, response) => {
      lengths.push(request.headers['content-length'])
      request.resume().on('end', () => response.end('{}'))
    }
    await client.delete('/x', { body: { propagationPolicy: 'Background' } })
    await client.get('/y')
    expect(lengths).toEqual(['34', undefined])
  })
})

describe('splitting lines', () => {
  it('finds the same lines however the bytes are cut', () => {
    const lines = fc.array(fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\n') && text !== ''))
    fc.assert(
      fc.property(lines, fc.infiniteStream(fc.integer({ min: 1, max: 7 })), (texts, cuts) => {
        const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''))
        const splitter = new LineSplitter(1_000_000)
        const found: string[] = []
        for (let start = 0; start < bytes.length; ) {
          const end = start + (cuts.next().value ?? 1)
          found.push(...splitter.push(bytes.subarray(start, end)))
          start = end
        }
        expect(found).toEqual(texts)
      }),
    )
  })

  it('refuses a line beyond its bound', () => {
    const splitter = new LineSplitter(10)
    splitter.push(Buffer.from('12345'))
    expect(() => splitter.push(Buffer.from('678901'))).toThrowError(/larger than 10 bytes/)
  })
})
