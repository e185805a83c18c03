import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ApiClient } from './api-client.ts'
import { startTestServer, type TestServer } from './test-server.ts'

const RBAC = '/apis/rbac.authorization.k8s.io/v1'
const MAPS = '/api/v1/namespaces/default/configmaps'

const missing = spawnSync('kubectl', ['version', '--client']).error !== undefined

describe('roles and bindings of the embedded API', () => {
  let server: TestServer
  let ada: ApiClient

  beforeAll(async () => {
    server = await startTestServer()
    ada = await server.as('ada', ['readers'])
  })
  afterAll(() => server[Symbol.asyncDispose]())

  const make = async (path: string, body: object) => {
    const answer = await server.admin.call({ method: 'POST', path, body })
    return { status: answer.status, body: JSON.parse(answer.text) as { message?: string } }
  }
  const role = (name: string, rules: readonly object[]) => ({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name },
    rules,
  })
  const binding = (name: string, roleName: string, subject: object, kind = 'ClusterRole') => ({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: roleName },
    subjects: [subject],
  })
  const get = async (client: ApiClient, path: string) => (await client.call({ path })).status

  it('give nobody anything before they are bound, and take it back with the binding', async () => {
    expect(await get(ada, MAPS)).toBe(403)
    await make(
      `${RBAC}/clusterroles`,
      role('map-reader', [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list'] }]),
    )
    expect(await get(ada, MAPS)).toBe(403)
    await make(`${RBAC}/clusterrolebindings`, binding('readers', 'map-reader', { kind: 'Group', name: 'readers' }))
    expect(await get(ada, MAPS)).toBe(200)
    expect((await ada.call({ method: 'DELETE', path: MAPS })).status).toBe(403)
    await server.admin.call({ method: 'DELETE', path: `${RBAC}/clusterrolebindings/readers` })
    expect(await get(ada, MAPS)).toBe(403)
  })

  it('hold a role binding to its namespace, and a rule to its names', async () => {
    await make('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'plant' } })
    await make(`${RBAC}/namespaces/plant/roles`, {
      ...role('one-map', [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get'], resourceNames: ['limits'] }]),
      kind: 'Role',
    })
    await make(
      `${RBAC}/namespaces/plant/rolebindings`,
      binding('ada', 'one-map', { kind: 'User', name: 'ada' }, 'Role'),
    )
    // 404 is an answer: what is allowed is not there.
    expect(await get(ada, '/api/v1/namespaces/plant/configmaps/limits')).toBe(404)
    expect(await get(ada, '/api/v1/namespaces/plant/configmaps/other')).toBe(403)
    expect(await get(ada, '/api/v1/namespaces/default/configmaps/limits')).toBe(403)
  })

  it('answer a review about somebody as they act', async () => {
    const review = async (user: string, groups: readonly string[], name: string) => {
      const answer = await server.admin.call({
        method: 'POST',
        path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
        body: {
          spec: { user, groups, resourceAttributes: { verb: 'get', resource: 'configmaps', namespace: 'plant', name } },
        },
      })
      return (JSON.parse(answer.text) as { status: { allowed: boolean } }).status.allowed
    }
    expect(await review('ada', [], 'limits')).toBe(true)
    expect(await review('ada', [], 'other')).toBe(false)
    expect(await review('bob', ['readers'], 'limits')).toBe(false)
  })

  it('never hand on the right to write roles and bindings, not even by *', async () => {
    await make(`${RBAC}/clusterroles`, role('everything', [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }]))
    await make(`${RBAC}/clusterrolebindings`, binding('eve', 'everything', { kind: 'User', name: 'eve' }))
    const eve = await server.as('eve')
    expect(await get(eve, MAPS)).toBe(200)
    expect(await get(eve, `${RBAC}/clusterroles`)).toBe(200)
    const mine = binding('me', 'everything', { kind: 'User', name: 'mallory' })
    expect((await eve.call({ method: 'POST', path: `${RBAC}/clusterrolebindings`, body: mine })).status).toBe(403)
  })

  it('are refused where they say nothing, or something that cannot be', async () => {
    const empty = await make(`${RBAC}/clusterroles`, role('empty', [{ verbs: ['get'], apiGroups: [''] }]))
    expect(empty).toMatchObject({ status: 422 })
    expect(empty.body.message).toContain('rules[0].resources: Required value')
    const strange = await make(`${RBAC}/clusterrolebindings`, binding('x', 'y', { kind: 'Robot', name: 'r2' }))
    expect(strange.body.message).toContain('subjects[0].kind: Unsupported value: "Robot"')
    await make(`${RBAC}/clusterrolebindings`, binding('fixed', 'map-reader', { kind: 'User', name: 'z' }))
    const changed = await server.admin.call({
      method: 'PATCH',
      path: `${RBAC}/clusterrolebindings/fixed`,
      body: { roleRef: { name: 'everything' } },
      contentType: 'application/merge-patch+json',
    })
    expect(changed.status).toBe(422)
    expect(changed.text).toContain('cannot change roleRef')
  })

  // A machine without kubectl may skip this; a CI run without it has to fail and say so.
  it.skipIf(missing && process.env['CI'] === undefined)('are made, shown and asked for by kubectl', async () => {
    const run = promisify(execFile)
    const kubectl = async (...argv: readonly string[]) =>
      (await run('kubectl', ['--kubeconfig', server.kubeconfig, ...argv], { timeout: 15_000 })).stdout
    expect(await kubectl('create', 'clusterrole', 'lister', '--verb=list', '--resource=configmaps')).toContain(
      'created',
    )
    const bound = [
      'create',
      'clusterrolebinding',
      'list-all',
      '--clusterrole=lister',
      '--serviceaccount=default:default',
    ]
    expect(await kubectl(...bound)).toContain('created')
    expect(await kubectl('get', 'clusterrolebindings', 'list-all')).toMatch(
      /NAME +ROLE +AGE\nlist-all +ClusterRole\/lister /,
    )
    expect(await kubectl('describe', 'clusterrole', 'lister')).toMatch(/configmaps +\[\] +\[\] +\[list\]/)
  })
})
