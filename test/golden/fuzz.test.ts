import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { steps } from './conversation.ts'
import type { TestServer } from './test-server.ts'
import { startTestServer } from './test-server.ts'

const RUNS = 300

describe('whatever is sent', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer({ compaction: { keepRevisions: 100 } })
    await server.admin.json({
      method: 'POST',
      path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
      body: steps.find((step) => step.id === 'crd-create')?.body,
    })
  })

  afterAll(async () => {
    await server[Symbol.asyncDispose]()
  })

  const word = fc.oneof(
    fc.constantFrom(
      'api',
      'apis',
      'v1',
      'namespaces',
      'default',
      'pods',
      'nodes',
      'configmaps',
      'golden.example.dev',
      'widgets',
      'status',
      'x',
      'openapi',
      'v3',
      '',
      '..',
      '%00',
      '%',
      'customresourcedefinitions',
      'apiextensions.k8s.io',
    ),
    fc.string({ maxLength: 12 }).map(encodeURIComponent),
  )
  const query = fc.array(
    fc.tuple(
      fc.constantFrom(
        'labelSelector',
        'fieldSelector',
        'limit',
        'continue',
        'resourceVersion',
        'resourceVersionMatch',
        'dryRun',
        'fieldManager',
        'fieldValidation',
        'includeObject',
        'force',
      ),
      fc.oneof(
        fc.constantFrom('All', '0', '1', 'a=b', 'a in (b,c)', '!a', 'metadata.name=x', 'Strict', 'Exact', 'true'),
        fc.string({ maxLength: 20 }),
      ),
    ),
    { maxLength: 3 },
  )
  const method = fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')
  const media = fc.constantFrom(
    'application/json',
    'application/yaml',
    'application/merge-patch+json',
    'application/json-patch+json',
    'application/strategic-merge-patch+json',
    'application/apply-patch+yaml',
    'application/vnd.kubernetes.protobuf',
    'text/plain',
  )
  const accept = fc.constantFrom(
    'application/json',
    'application/json;as=Table;v=v1;g=meta.k8s.io',
    'application/yaml',
    '*/*',
    'x',
  )
  const body = fc.oneof(
    fc.jsonValue().map((value) => JSON.stringify(value)),
    fc.string(),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.concat([Buffer.from('k8s\0', 'latin1'), bytes])),
    fc
      .record({ spec: fc.jsonValue(), metadata: fc.jsonValue(), status: fc.jsonValue() })
      .map((value) => JSON.stringify({ apiVersion: 'golden.example.dev/v1', kind: 'Widget', ...value })),
  )

  it('is answered, never with a crash and never with a 500 (property)', async () => {
    await fc.assert(
      fc.asyncProperty(
        method,
        fc.array(word, { maxLength: 7 }),
        query,
        media,
        accept,
        body,
        async (verb, parts, terms, type, wants, text) => {
          const path = `/${parts.join('/')}?${new URLSearchParams(terms)}`
          const answer = await server.admin.call({
            method: verb,
            path,
            contentType: type,
            accept: wants,
            ...(verb === 'GET' ? {} : { body: text }),
          })
          expect(answer.status, `${verb} ${path} ${text}: ${answer.text}`).not.toBe(500)
        },
      ),
      { numRuns: RUNS },
    )
    expect((await server.admin.call({ path: '/readyz' })).text).toBe('ok')
  })

  it('as a patch of a real object leaves an object that is still valid (property)', async () => {
    const path = '/apis/golden.example.dev/v1/namespaces/default/widgets'
    await server.admin.json({
      method: 'POST',
      path,
      body: {
        apiVersion: 'golden.example.dev/v1',
        kind: 'Widget',
        metadata: { name: 'w' },
        spec: { size: 3, parts: [{ name: 'p' }] },
      },
    })
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(null, 5, 'red', [{ name: 'p' }, { name: 'q', count: 2 }], ['a', 'b'], {}),
    )
    const fields = fc.dictionary(
      fc.constantFrom('size', 'note', 'color', 'tags', 'parts', 'free', 'mode', 'odd'),
      value,
      { maxKeys: 4 },
    )
    const patch = fc.oneof(
      fields.map((spec) => ['application/merge-patch+json', { spec }] as const),
      fc
        .tuple(fields, fc.boolean())
        .map(
          ([spec]) =>
            ['application/apply-patch+yaml', { apiVersion: 'golden.example.dev/v1', kind: 'Widget', spec }] as const,
        ),
      fc
        .array(
          fc.record({
            op: fc.constantFrom('add', 'remove', 'replace', 'test', 'move', 'copy'),
            path: fc.constantFrom(
              '/spec/parts/0',
              '/spec/parts/-',
              '/spec/note',
              '/spec/tags',
              '/metadata/labels',
              '/spec',
            ),
            from: fc.constantFrom('/spec/parts/0', '/spec/note'),
            value,
          }),
          { maxLength: 3 },
        )
        .map((operations) => ['application/json-patch+json', operations] as const),
    )
    await fc.assert(
      fc.asyncProperty(patch, fc.constantFrom('ann', 'bob'), async ([contentType, change], manager) => {
        const answer = await server.admin.call({
          method: 'PATCH',
          path: `${path}/w?fieldManager=${manager}&force=true`,
          contentType,
          body: change,
        })
        expect([200, 400, 409, 415, 422], answer.text).toContain(answer.status)
        const { spec, metadata } = await server.admin.json<{
          spec: { size: unknown; color: unknown }
          metadata: { managedFields: unknown[] }
        }>({ path: `${path}/w` })
        expect(spec.size).toBeTypeOf('number')
        expect(['red', 'green']).toContain(spec.color)
        expect(metadata.managedFields.length).toBeLessThan(15)
      }),
      { numRuns: RUNS },
    )
  })
})
