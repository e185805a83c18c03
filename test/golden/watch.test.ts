import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { WatchEvent } from './api-client.ts'
import type { TestServer } from './test-server.ts'
import { startTestServer } from './test-server.ts'

const MAPS = '/api/v1/namespaces/default/configmaps'
const MERGE = 'application/merge-patch+json'

describe('watching', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer({ compaction: { keepRevisions: 200 } })
  })

  afterAll(async () => {
    await server[Symbol.asyncDispose]()
  })

  const create = (name: string, labels: Record<string, string> = {}, data: Record<string, string> = {}) =>
    server.admin.json<WatchEvent['object']>({
      method: 'POST',
      path: MAPS,
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels }, data },
    })
  const patch = (name: string, body: unknown) =>
    server.admin.json<WatchEvent['object']>({ method: 'PATCH', path: `${MAPS}/${name}`, contentType: MERGE, body })
  const remove = (name: string) => server.admin.json({ method: 'DELETE', path: `${MAPS}/${name}` })
  const now = async () =>
    (await server.admin.json<{ metadata: { resourceVersion: string } }>({ path: `${MAPS}?limit=1` })).metadata
      .resourceVersion

  async function take(path: string, count: number): Promise<WatchEvent[]> {
    const events: WatchEvent[] = []
    if (count === 0) return events
    for await (const event of server.admin.watch(path)) {
      events.push(event)
      if (events.length === count) break
    }
    return events
  }

  const shown = (events: readonly WatchEvent[]) =>
    events.map((event) => `${event.type} ${event.object.metadata['name']}`)

  it('resumes exactly after the revision it is given', async () => {
    const from = await now()
    await create('r1')
    const { metadata } = await patch('r1', { data: { k: 'v' } })
    await remove('r1')
    expect(shown(await take(`${MAPS}?watch=1&resourceVersion=${from}`, 3))).toEqual([
      'ADDED r1',
      'MODIFIED r1',
      'DELETED r1',
    ])
    expect(shown(await take(`${MAPS}?watch=1&resourceVersion=${metadata['resourceVersion']}`, 1))).toEqual([
      'DELETED r1',
    ])
  })

  it('turns an object that leaves a selection into DELETED with its last matching state, and one that enters into ADDED', async () => {
    const from = await now()
    await create('s1', { team: 'x' })
    const left = await patch('s1', { metadata: { labels: { team: 'y' } } })
    await patch('s1', { metadata: { labels: { team: 'x' } } })
    await patch('s1', { data: { k: 'v' } })
    await remove('s1')
    const events = await take(`${MAPS}?watch=1&resourceVersion=${from}&labelSelector=team%3Dx`, 5)
    expect(shown(events)).toEqual(['ADDED s1', 'DELETED s1', 'ADDED s1', 'MODIFIED s1', 'DELETED s1'])
    expect(events[1]?.object.metadata).toMatchObject({
      labels: { team: 'x' },
      resourceVersion: left.metadata['resourceVersion'],
    })
  })

  it('does the same for a selection watch that reads from the file', async () => {
    const other = await startTestServer()
    try {
      const call = (method: string, path: string, body?: unknown) =>
        other.admin.json({ method, path, body, ...(method === 'PATCH' ? { contentType: MERGE } : {}) })
      const { metadata } = await other.admin.json<{ metadata: { resourceVersion: string } }>({ path: MAPS })
      await call('POST', MAPS, {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'old', labels: { team: 'x' } },
      })
      await call('PATCH', `${MAPS}/old`, { metadata: { labels: { team: 'y' } } })
      // Enough to push both out of memory.
      await Promise.all(
        Array.from({ length: 600 }, (_, index) => call('PATCH', `${MAPS}/old`, { data: { k: String(index) } })),
      )
      const events: string[] = []
      for await (const event of other.admin.watch(
        `${MAPS}?watch=1&resourceVersion=${metadata.resourceVersion}&labelSelector=team%3Dx`,
      )) {
        events.push(event.type)
        if (events.length === 2) break
      }
      expect(events).toEqual(['ADDED', 'DELETED'])
    } finally {
      await other[Symbol.asyncDispose]()
    }
  })

  it('sends the state and a bookmark that ends it when asked for initial events, then what follows', async () => {
    await create('i1')
    const events: string[] = []
    for await (const event of server.admin.watch(
      `${MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan`,
    )) {
      events.push(`${event.type} ${event.object.metadata['name'] ?? ''}`.trim())
      if (event.type === 'BOOKMARK') {
        expect(event.object.metadata['annotations']).toEqual({ 'k8s.io/initial-events-end': 'true' })
        await create('i2')
      }
      if (event.object.metadata['name'] === 'i2') break
    }
    expect(events.slice(-2)).toEqual(['BOOKMARK', 'ADDED i2'])
    expect(events).toContain('ADDED i1')
  })

  it('answers 410 inside the stream to a revision that was compacted, and 410 to a continue token of that time', async () => {
    const from = await now()
    for (let index = 0; index < 5; index++) await create(`page-${index}`)
    const first = await server.admin.json<{ metadata: { continue: string } }>({ path: `${MAPS}?limit=2` })
    for (let round = 0; round < 12; round++)
      await Promise.all(
        Array.from({ length: 100 }, (_, index) => patch(`page-${index % 5}`, { data: { k: `${round}-${index}` } })),
      )
    expect(await take(`${MAPS}?watch=1&resourceVersion=${from}`, 1)).toMatchObject([
      { type: 'ERROR', object: { code: 410, reason: 'Expired' } },
    ])
    expect(await server.admin.call({ path: `${MAPS}?limit=2&continue=${first.metadata.continue}` })).toMatchObject({
      status: 410,
    })
  })

  it('pages through a list that changes underneath as of the moment it began', async () => {
    const names: string[] = []
    let token = ''
    const versions = new Set<string>()
    for (let page = 0; ; page++) {
      const list = await server.admin.json<{
        items: WatchEvent['object'][]
        metadata: { continue?: string; resourceVersion: string }
      }>({ path: `${MAPS}?limit=2&continue=${token}` })
      names.push(...list.items.map((item) => String(item.metadata['name'])))
      versions.add(list.metadata.resourceVersion)
      if (page === 0) await create('page-00')
      token = list.metadata.continue ?? ''
      if (token === '') break
    }
    expect(versions.size).toBe(1)
    expect(names).not.toContain('page-00')
    expect(names).toEqual([...new Set(names)].sort())
  })

  it('misses nothing and repeats nothing while many write, for many watchers', async () => {
    const from = await now()
    await create('busy')
    const writes = 300
    const watchers = Array.from({ length: 8 }, () =>
      take(`${MAPS}?watch=1&resourceVersion=${from}&fieldSelector=metadata.name%3Dbusy`, writes + 1),
    )
    await Promise.all(Array.from({ length: writes }, (_, index) => patch('busy', { data: { [`k${index}`]: 'v' } })))
    for (const events of await Promise.all(watchers)) {
      const versions = events.map((event) => Number(event.object.metadata['resourceVersion']))
      expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b))
      expect(Object.keys(Object(events.at(-1)?.object['data']))).toHaveLength(writes)
    }
  })

  it('keeps no queue for a watcher that does not read: it is told 410 once history has passed it by', async () => {
    const from = await now()
    const stalled = await server.admin.open({ path: `${MAPS}?watch=1&resourceVersion=${from}` })
    stalled.pause()
    const big = 'x'.repeat(100_000)
    await create('big')
    for (let index = 0; index < 1200; index += 20)
      await Promise.all(Array.from({ length: 20 }, (_, part) => patch('big', { data: { k: `${big}${index + part}` } })))
    let text = ''
    for await (const chunk of stalled.setEncoding('utf8')) text = (text + chunk).slice(-2000)
    expect(text.trimEnd().split('\n').at(-1)).toContain('"type":"ERROR"')
  })
})
