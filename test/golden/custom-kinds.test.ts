import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestServer } from './test-server.ts'
import { startTestServer } from './test-server.ts'

const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const POOLS = '/apis/example.dev/v1/namespaces/default/pools'

const definition = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'pools.example.dev' },
  spec: {
    group: 'example.dev',
    scope: 'Namespaced',
    names: { plural: 'pools', singular: 'pool', kind: 'Pool' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: { type: 'object', properties: { size: { type: 'integer', minimum: 0, maximum: 9 } } },
              status: {
                type: 'object',
                properties: { size: { type: 'integer' }, selector: { type: 'string' } },
              },
            },
          },
        },
        subresources: {
          status: {},
          scale: {
            specReplicasPath: '.spec.size',
            statusReplicasPath: '.status.size',
            labelSelectorPath: '.status.selector',
          },
        },
      },
    ],
  },
}

interface Scale {
  readonly metadata: { readonly resourceVersion: string; readonly uid: string }
  readonly spec: { readonly replicas?: number }
  readonly status: { readonly replicas: number; readonly selector?: string }
}

describe('a custom kind', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer()
    await server.admin.json({ method: 'POST', path: CRDS, body: definition })
    await server.admin.json({
      method: 'POST',
      path: POOLS,
      body: { apiVersion: 'example.dev/v1', kind: 'Pool', metadata: { name: 'a' }, spec: { size: 2 } },
    })
    await server.admin.json({
      method: 'PATCH',
      path: `${POOLS}/a/status`,
      contentType: 'application/merge-patch+json',
      body: { status: { size: 1, selector: 'app=a' } },
    })
  })

  afterAll(async () => {
    await server[Symbol.asyncDispose]()
  })

  const scale = (method: string, body?: unknown) =>
    server.admin.call({
      method,
      path: `${POOLS}/a/scale`,
      ...(method === 'PATCH' ? { contentType: 'application/merge-patch+json' } : {}),
      ...(body === undefined ? {} : { body }),
    })
  const size = async () => (await server.admin.json<{ spec: { size: number } }>({ path: `${POOLS}/a` })).spec.size

  it('with a scale subresource shows and takes its number of replicas there', async () => {
    const shown: Scale = JSON.parse((await scale('GET')).text)
    expect(shown).toMatchObject({ kind: 'Scale', apiVersion: 'autoscaling/v1', metadata: { name: 'a' } })
    expect(shown).toMatchObject({ spec: { replicas: 2 }, status: { replicas: 1, selector: 'app=a' } })
    expect((await scale('PATCH', { spec: { replicas: 5 } })).status).toBe(200)
    expect(await size()).toBe(5)
    const stale = await scale('PUT', { ...shown, spec: { replicas: 7 } })
    expect([stale.status, await size()]).toEqual([409, 5])
    const { resourceVersion: _old, ...metadata } = shown.metadata
    const put: Scale = JSON.parse((await scale('PUT', { ...shown, metadata, spec: { replicas: 7 } })).text)
    expect([put.spec.replicas, await size()]).toEqual([7, 7])
  })

  it.each([[-1], [1.5], ['many'], [10]])('refuses %j replicas and stays as it was', async (replicas) => {
    const before = await size()
    expect((await scale('PATCH', { spec: { replicas } })).status).toBe(422)
    expect(await size()).toBe(before)
  })

  it('ends its watches when its definition is deleted, after the last of its objects', async () => {
    const seen: string[] = []
    const watching = (async () => {
      for await (const { type } of server.admin.watch(`${POOLS}?watch=1`)) {
        seen.push(type)
        if (type === 'ADDED') await server.admin.call({ method: 'DELETE', path: `${CRDS}/pools.example.dev` })
      }
    })()
    await watching
    expect(seen.at(-1)).toBe('DELETED')
    expect((await server.admin.call({ path: POOLS })).status).toBe(404)
  })
})

describe('a namespace', () => {
  it('has a default service account, at once and again after that was deleted', async () => {
    await using server = await startTestServer()
    const { admin } = server
    const account = (namespace: string) => `/api/v1/namespaces/${namespace}/serviceaccounts/default`
    expect((await admin.call({ path: account('default') })).status).toBe(200)
    const { metadata } = await admin.json<{ metadata: { resourceVersion: string } }>({
      method: 'POST',
      path: '/api/v1/namespaces',
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'plant' } },
    })
    const accounts = `/api/v1/namespaces/plant/serviceaccounts?watch=1&resourceVersion=${metadata.resourceVersion}`
    const types: string[] = []
    for await (const { type } of admin.watch(accounts)) {
      types.push(type)
      if (types.length === 1) await admin.call({ method: 'DELETE', path: account('plant') })
      if (types.length === 3) await admin.call({ method: 'DELETE', path: '/api/v1/namespaces/plant' })
      if (types.length === 4) break
    }
    expect(types).toEqual(['ADDED', 'DELETED', 'ADDED', 'DELETED'])
  })
})
