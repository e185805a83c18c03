import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestServer } from './test-server.ts'
import { startTestServer } from './test-server.ts'

interface ConfigMap {
  readonly metadata: {
    readonly uid: string
    readonly name: string
    readonly resourceVersion: string
    readonly ownerReferences?: readonly unknown[]
    readonly finalizers?: readonly string[]
    readonly deletionTimestamp?: string
  }
}

const MAPS = '/api/v1/namespaces/default/configmaps'
const MERGE = 'application/merge-patch+json'

describe('the life of objects', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer()
  })

  afterAll(async () => {
    await server[Symbol.asyncDispose]()
  })

  const create = (name: string, metadata: Record<string, unknown> = {}) =>
    server.admin.json<ConfigMap>({
      method: 'POST',
      path: MAPS,
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...metadata } },
    })
  const ownedBy = (owner: ConfigMap, extra = {}) => ({
    ownerReferences: [
      { apiVersion: 'v1', kind: 'ConfigMap', name: owner.metadata.name, uid: owner.metadata.uid, ...extra },
    ],
  })
  const remove = (name: string, options: Record<string, unknown> = {}) =>
    server.admin.call({
      method: 'DELETE',
      path: `${MAPS}/${name}`,
      body: { kind: 'DeleteOptions', apiVersion: 'v1', ...options },
    })
  const get = (name: string) => server.admin.call({ path: `${MAPS}/${name}` })

  /** Resolves with the first event about an object that is of a type, from a revision on. */
  async function event(from: string, type: string, name: string): Promise<ConfigMap['metadata']> {
    for await (const { type: seen, object } of server.admin.watch(
      `${MAPS}?watch=1&resourceVersion=${from}&fieldSelector=metadata.name%3D${name}`,
    )) {
      if (seen === type) return JSON.parse(JSON.stringify(object.metadata))
    }
    throw new Error('the watch ended')
  }

  it('goes with the last owner', async () => {
    const [one, two] = [await create('owner-1'), await create('owner-2')]
    const both = await create('both', {
      ownerReferences: [...ownedBy(one).ownerReferences, ...ownedBy(two).ownerReferences],
    })
    await remove('owner-1')
    expect((await event(both.metadata.resourceVersion, 'MODIFIED', 'both')).ownerReferences).toHaveLength(1)
    await remove('owner-2')
    await event(both.metadata.resourceVersion, 'DELETED', 'both')
    expect((await get('both')).status).toBe(404)
  })

  it('goes at once when its owner never was', async () => {
    const stray = await create('stray', ownedBy({ metadata: { name: 'nobody', uid: 'none', resourceVersion: '' } }))
    await event(stray.metadata.resourceVersion, 'DELETED', 'stray')
  })

  it('waits for its dependents when deleted in the foreground', async () => {
    const owner = await create('fore')
    const child = await create('fore-child', {
      ...ownedBy(owner, { blockOwnerDeletion: true }),
      finalizers: ['example.dev/hold'],
    })
    const held: ConfigMap = JSON.parse((await remove('fore', { propagationPolicy: 'Foreground' })).text)
    expect(held.metadata.finalizers).toEqual(['foregroundDeletion'])
    await event(child.metadata.resourceVersion, 'MODIFIED', 'fore-child')
    expect((await get('fore')).status).toBe(200)
    await server.admin.json({
      method: 'PATCH',
      path: `${MAPS}/fore-child`,
      contentType: MERGE,
      body: { metadata: { finalizers: null } },
    })
    await event(held.metadata.resourceVersion, 'DELETED', 'fore')
  })

  it('leaves its dependents when told to orphan them', async () => {
    const owner = await create('parent')
    await create('orphan', ownedBy(owner))
    await remove('parent', { propagationPolicy: 'Orphan' })
    await event(owner.metadata.resourceVersion, 'DELETED', 'parent')
    const orphan: ConfigMap = JSON.parse((await get('orphan')).text)
    expect(orphan.metadata.ownerReferences).toBeUndefined()
  })

  it('ends with its namespace, which stays until its last object has gone and takes nothing new', async () => {
    const space = '/api/v1/namespaces/area/configmaps'
    await server.admin.json({
      method: 'POST',
      path: '/api/v1/namespaces',
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'area' } },
    })
    await server.admin.json({
      method: 'POST',
      path: space,
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'held', finalizers: ['example.dev/hold'] } },
    })
    for (let index = 0; index < 150; index++)
      await server.admin.json({
        method: 'POST',
        path: space,
        body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `m${index}` } },
      })
    const terminating = await server.admin.json<ConfigMap>({ method: 'DELETE', path: '/api/v1/namespaces/area' })
    const refused = await server.admin.call({
      method: 'POST',
      path: space,
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'late' } },
    })
    expect(refused.status).toBe(403)
    let left = 151
    for await (const { type } of server.admin.watch(
      `${space}?watch=1&resourceVersion=${terminating.metadata.resourceVersion}`,
    )) {
      if (type === 'DELETED' && --left === 1) break
    }
    await server.admin.json({
      method: 'PATCH',
      path: `${space}/held`,
      contentType: MERGE,
      body: { metadata: { finalizers: null } },
    })
    for await (const { type } of server.admin.watch(
      `/api/v1/namespaces?watch=1&resourceVersion=${terminating.metadata.resourceVersion}&fieldSelector=metadata.name%3Darea`,
    )) {
      if (type === 'DELETED') break
    }
    expect((await server.admin.call({ path: '/api/v1/namespaces/area' })).status).toBe(404)
  })

  it('is not touched by a dry run, whatever verb', async () => {
    const before = await create('dry')
    expect(
      (
        await server.admin.call({
          method: 'PATCH',
          path: `${MAPS}/dry?dryRun=All`,
          contentType: MERGE,
          body: { data: { k: 'v' } },
        })
      ).text,
    ).toContain('"k":"v"')
    expect((await server.admin.call({ method: 'DELETE', path: `${MAPS}/dry?dryRun=All` })).status).toBe(200)
    expect(JSON.parse((await get('dry')).text)).toEqual(before)
  })

  it('is deleted only as the version and identity that the client means', async () => {
    const object = await create('exact')
    expect((await remove('exact', { preconditions: { resourceVersion: '1' } })).status).toBe(409)
    expect((await remove('exact', { preconditions: { uid: 'other' } })).status).toBe(409)
    expect(
      (
        await remove('exact', {
          preconditions: { uid: object.metadata.uid, resourceVersion: object.metadata.resourceVersion },
        })
      ).status,
    ).toBe(200)
  })

  it('remembers who set which field, through merge patch, put and apply', async () => {
    await create('fields')
    await server.admin.json({
      method: 'PATCH',
      path: `${MAPS}/fields?fieldManager=console`,
      contentType: MERGE,
      body: { data: { a: '1', b: '1' } },
    })
    await server.admin.json({
      method: 'PUT',
      path: `${MAPS}/fields?fieldManager=script`,
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'fields' }, data: { a: '1', b: '2' } },
    })
    const apply = await server.admin.call({
      method: 'PATCH',
      path: `${MAPS}/fields?fieldManager=gitops&force=true`,
      contentType: 'application/apply-patch+yaml',
      body: 'apiVersion: v1\nkind: ConfigMap\ndata: {b: "3"}\n',
    })
    const { metadata } = JSON.parse(apply.text)
    const owners = Object.fromEntries(
      metadata.managedFields.map((entry: { manager: string; fieldsV1: { 'f:data'?: Record<string, unknown> } }) => [
        entry.manager,
        Object.keys(entry.fieldsV1['f:data'] ?? {}).filter((key) => key !== '.'),
      ]),
    )
    expect(owners).toEqual({ console: ['f:a'], gitops: ['f:b'] })
  })
})
