import { execFile } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { busyboxImage, type MadeImage, missingForPods } from '../../agent/pods/images/busybox.test-helper.ts'
import { boxesGone } from '../harness/boxes-gone.ts'
import { temporaryFolder } from '../harness/folder.ts'
import { Stack } from '../harness/stack.ts'
import { eventually } from '../harness/until.ts'

const sluice = fileURLToPath(new URL('../../bin/sluice.mjs', import.meta.url))
const execute = promisify(execFile)
const missing = missingForPods()
// A machine without them may skip this; a CI run without them has to fail and say so.
const skipped = missing !== undefined && process.env['CI'] === undefined

/** A stage that a gateway with a hub is in at once: every round trip takes longer than nothing. */
const STAGES = [{ name: 'saver', when: [{ roundTripAboveMs: 0 }], after: '1s', hold: '1s', pause: ['deferrable'] }]

describe.skipIf(skipped)(`a stage of the policy and pods ${missing ?? ''}`, { timeout: 90_000 }, () => {
  let stack: Stack
  let image: MadeImage
  let folder: ReturnType<typeof temporaryFolder>

  beforeAll(async () => {
    image = busyboxImage({ name: 'test/busybox:1' })
    folder = temporaryFolder('policy-pods')
    // Pods are users of their own, who have to get through to their images.
    chmodSync(folder.path, 0o711)
    mkdirSync(join(folder.path, 'import'), { mode: 0o700 })
    copyFileSync(image.archive, join(folder.path, 'import', 'busybox.tar'))
    stack = await Stack.start({ agentFlags: ['--pods', 'process', '--pods-dir', folder.path] })
  }, 60_000)
  afterAll(async () => {
    await stack.kubectl('delete', 'pods', '--all', '--wait', '--timeout=40s')
    await boxesGone(folder.path)
    await stack[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
    image[Symbol.dispose]()
  }, 60_000)
  beforeEach(() => stack.tellOnFailure())

  const run = async (name: string, annotations: Readonly<Record<string, string>>) => {
    const command = ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done']
    const containers = [{ name: 'main', image: 'test/busybox:1', command }]
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, annotations },
      spec: { terminationGracePeriodSeconds: 1, nodeName: stack.gateway, containers },
    }
    expect(await stack.kubectlWith(JSON.stringify(pod), 'apply', '-f', '-')).toMatchObject({ code: 0 })
    await counted(name, 1)
  }
  const count = async (name: string): Promise<number> => {
    const { stdout } = await stack.kubectl('logs', name, '--tail=1')
    return Number(stdout.trim() || 0)
  }
  const counted = (name: string, atLeast: number) =>
    eventually(async () => ((await count(name)) >= atLeast ? true : undefined), `${name} at ${atLeast}`, 40_000)
  const told = (name: string, reason: string) =>
    eventually(
      async () => {
        const { stdout } = await stack.kubectl('get', 'events', '-o', 'json')
        const events = JSON.parse(stdout) as {
          items: { reason: string; message: string; involvedObject: { name: string } }[]
        }
        return events.items.find((event) => event.reason === reason && event.involvedObject.name === name)?.message
      },
      `the Event ${reason} of ${name}`,
      40_000,
    )
  const policy = (stages: unknown) =>
    stack.kubectl(
      'patch',
      'gateway',
      stack.gateway,
      '--type',
      'merge',
      '-p',
      JSON.stringify({ spec: { policy: stages } }),
    )

  it('stand still while it lasts where they are deferrable, which is shown before and told when it is so', async () => {
    await run('report', { 'sluice.dev/importance': 'deferrable' })
    await run('control', {})
    await policy({ stages: [{ ...STAGES[0], after: '1h' }] })
    await eventually(async () => {
      const { stdout } = await execute(process.execPath, [sluice, 'policy', 'explain', '--data', stack.agentData])
      return /report +deferrable +stands still/.test(stdout) && !/control/.test(stdout) ? true : undefined
    }, 'the plan')
    await policy({ stages: STAGES })
    expect(await told('report', 'Frozen')).toMatch(/^stage saver/)
    const still = await count('report')
    // The other pod is the clock: three seconds of it are thirty steps that this one does not take.
    await counted('control', (await count('control')) + 30)
    expect(await count('report')).toBeLessThanOrEqual(still + 1)
    await policy(null)
    expect(await told('report', 'Thawed')).toMatch(/is over$/)
    await counted('report', still + 5)
  })
})
