import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { answers, converse, differences, exempt, steps } from './conversation.ts'
import type { TestServer } from './test-server.ts'
import { startTestServer } from './test-server.ts'

describe('the embedded API answers as a recorded kube-apiserver v1.32 did', () => {
  let server: TestServer
  let heard: Awaited<ReturnType<typeof converse>>

  beforeAll(async () => {
    server = await startTestServer()
    heard = await converse(server.admin)
  })

  afterAll(async () => {
    await server[Symbol.asyncDispose]()
  })

  it('has an answer recorded for every step, and exempts only steps about a Pod', () => {
    expect(steps.map((step) => step.id)).toEqual(Object.keys(answers))
    expect(exempt.filter(({ step }) => !step.startsWith('pod-'))).toEqual([])
  })

  it.each(
    steps
      .filter(({ id }) => !exempt.some(({ step }) => step === id))
      .map(({ id, method = 'GET', path }) => ({ id, method, path })),
  )('$id: $method $path', ({ id }) => {
    expect(differences(id, heard[id])).toEqual([])
  })
})
