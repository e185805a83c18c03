import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { ApiClient } from './api-client.ts'
import { startTestServer } from './test-server.ts'

const MAPS = '/api/v1/namespaces/default/configmaps'
const MERGE = 'application/merge-patch+json'
const MAIN = new URL('main.ts', import.meta.url).pathname
const ROUNDS = 4
const WRITERS = 8

interface Running extends AsyncDisposable {
  readonly client: ApiClient
  kill(): Promise<void>
}

describe('what was answered', () => {
  let dataDir: string

  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'sluice-kill-'))
  })

  afterEach(() => {
    rmSync(dataDir, { recursive: true, force: true })
  })

  async function start(): Promise<Running> {
    const child = spawn(process.execPath, [MAIN, '--data', dataDir], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(child, 'exit')
    const lines = createInterface({ input: child.stdout })
    await once(lines, 'line')
    const config = parse(readFileSync(join(dataDir, 'kubeconfig'), 'utf8'))
    const pem = (text: string) => Buffer.from(text, 'base64').toString('utf8')
    const { cluster } = config.clusters[0]
    const { user } = config.users[0]
    const client = new ApiClient(cluster.server, {
      ca: pem(cluster['certificate-authority-data']),
      cert: pem(user['client-certificate-data']),
      key: pem(user['client-key-data']),
    })
    const kill = async () => {
      child.kill('SIGKILL')
      await exited
      client.close()
    }
    return { client, kill, [Symbol.asyncDispose]: kill }
  }

  it(`is there after kill -9 at any moment (${ROUNDS} times), and revisions only grow`, async () => {
    const acknowledged = new Map<string, { value: number; rv: number }>()
    const asked = new Map<string, number>()
    let newest = 0
    for (let round = 0; round < ROUNDS; round++) {
      const running = await start()
      const { items } = await running.client.json<{
        items: { metadata: { name: string; resourceVersion: string }; data?: { value?: string } }[]
      }>({ path: MAPS })
      const found = new Map(
        items.map((item) => [
          item.metadata.name,
          { value: Number(item.data?.value), rv: Number(item.metadata.resourceVersion) },
        ]),
      )
      for (const [name, { value, rv }] of acknowledged) {
        const now = found.get(name)
        // The last write may have been stored without its answer getting out, never the other way round.
        expect([value, asked.get(name)]).toContain(now?.value)
        expect(now?.rv).toBeGreaterThanOrEqual(rv)
      }
      let writes = 0
      const killAfter = 40 + round * 17
      const writer = async (index: number): Promise<void> => {
        const name = `writer-${index}`
        for (let value = round * 10_000; ; value++) {
          asked.set(name, value)
          const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value: String(value) } }
          const exists = found.has(name) || acknowledged.has(name)
          const answer = await running.client
            .call(
              exists
                ? { method: 'PATCH', path: `${MAPS}/${name}`, contentType: MERGE, body }
                : { method: 'POST', path: MAPS, body },
            )
            .catch(() => undefined)
          if (answer === undefined || answer.status >= 300) return
          const rv = Number(JSON.parse(answer.text).metadata.resourceVersion)
          expect(rv).toBeGreaterThan(0)
          newest = Math.max(newest, rv)
          acknowledged.set(name, { value, rv })
          if (++writes === killAfter) void running.kill()
        }
      }
      await Promise.all(Array.from({ length: WRITERS }, (_, index) => writer(index)))
      await running.kill()
    }
    await using last = await start()
    const created = await last.client.json<{ metadata: { resourceVersion: string } }>({
      method: 'POST',
      path: MAPS,
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'after' } },
    })
    expect(Number(created.metadata.resourceVersion)).toBeGreaterThan(newest)
  })

  it('is there after an orderly stop too, with definitions, and a watch resumes across it', async () => {
    const definition = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'things.example.dev' },
      spec: {
        group: 'example.dev',
        scope: 'Namespaced',
        names: { plural: 'things', kind: 'Thing' },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
          },
        ],
      },
    }
    const THINGS = '/apis/example.dev/v1/namespaces/default/things'
    const thing = (name: string) => ({
      apiVersion: 'example.dev/v1',
      kind: 'Thing',
      metadata: { name },
      spec: { n: 1 },
    })
    let from = ''
    {
      await using first = await startTestServer({ dataDir })
      await first.admin.json({
        method: 'POST',
        path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
        body: definition,
      })
      const { metadata } = await first.admin.json<{ metadata: { resourceVersion: string } }>({
        method: 'POST',
        path: THINGS,
        body: thing('one'),
      })
      from = metadata.resourceVersion
      await first.admin.json({ method: 'POST', path: THINGS, body: thing('two') })
    }
    await using second = await startTestServer({ dataDir })
    for await (const event of second.admin.watch(`${THINGS}?watch=1&resourceVersion=${from}`)) {
      expect(`${event.type} ${event.object.metadata['name']}`).toBe('ADDED two')
      break
    }
  })
})
