import type { KubernetesObject } from '@kubernetes/client-node'
import { CustomObjectsApi, KubeConfig, makeInformer } from '@kubernetes/client-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { steps } from './conversation.ts'
import type { TestServer } from './test-server.ts'
import { startTestServer } from './test-server.ts'

const GROUP = { group: 'golden.example.dev', version: 'v1', namespace: 'default', plural: 'widgets' }
const PATH = '/apis/golden.example.dev/v1/namespaces/default/widgets'

describe('an informer of @kubernetes/client-node', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer()
    await server.admin.json({
      method: 'POST',
      path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
      body: steps.find((step) => step.id === 'crd-create')?.body,
    })
  })

  afterAll(async () => {
    await server[Symbol.asyncDispose]()
  })

  it('lists what is there and follows every change', async () => {
    const config = new KubeConfig()
    config.loadFromFile(server.kubeconfig)
    const custom = config.makeApiClient(CustomObjectsApi)
    const create = (name: string) =>
      custom.createNamespacedCustomObject({
        ...GROUP,
        body: { apiVersion: 'golden.example.dev/v1', kind: 'Widget', metadata: { name }, spec: { size: 1 } },
      })
    await create('first')

    const seen: string[] = []
    const awaited = new Map<string, () => void>()
    const note = (what: string) => (object: KubernetesObject) => {
      const line = `${what} ${object.metadata?.name}`
      seen.push(line)
      awaited.get(line)?.()
    }
    const until = (line: string) =>
      new Promise<void>((resolve) => void (seen.includes(line) ? resolve() : awaited.set(line, resolve)))

    const informer = makeInformer<KubernetesObject>(
      config,
      PATH,
      async () => await custom.listNamespacedCustomObject(GROUP),
    )
    informer.on('add', note('add'))
    informer.on('update', note('update'))
    informer.on('delete', note('delete'))
    await informer.start()
    try {
      await until('add first')
      await create('second')
      await until('add second')
      await server.admin.json({
        method: 'PATCH',
        path: `${PATH}/second/status`,
        contentType: 'application/merge-patch+json',
        body: { status: { phase: 'Ready' } },
      })
      await until('update second')
      await custom.deleteNamespacedCustomObject({ ...GROUP, name: 'first' })
      await until('delete first')
      expect(informer.list().map((object) => object.metadata?.name)).toEqual(['second'])
    } finally {
      await informer.stop()
    }
  })
})
