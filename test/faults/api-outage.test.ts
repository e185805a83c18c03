import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Device } from '../../api/resources.ts'
import { twinOf } from '../harness/devices.ts'
import { counterModel } from '../harness/fleet.ts'
import { Stack } from '../harness/stack.ts'
import { isReported, readStream } from '../harness/stream.ts'
import { eventually } from '../harness/until.ts'

/** So few that what happens while nobody watches is more. */
const KEEP_REVISIONS = 20
/** The outage ends after that many values have been served: at 20 ms each, 8 s. */
const VALUES_MEANWHILE = 400

let stack: Stack
beforeAll(async () => {
  stack = await Stack.start({ apart: true, keepRevisions: KEEP_REVISIONS })
  await stack.createModel('counter', counterModel)
  for (let unit = 1; unit <= 3; unit++) await stack.createDevice(`drive-${unit}`, stack.counterDevice(unit, '20ms'))
}, 60_000)
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(() => stack.tellOnFailure())

const names = ['drive-1', 'drive-2', 'drive-3']

const path = (plural: string, name?: string): string => {
  const group = plural === 'configmaps' ? '/api/v1' : '/apis/sluice.dev/v1alpha1'
  return `${group}/namespaces/${stack.namespace}/${plural}${name === undefined ? '' : `/${name}`}`
}

/** Changes enough of something else that every revision of the devices before is forgotten. */
async function compactHistory(): Promise<void> {
  const made = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'noise' } }
  await stack.kube.create(path('configmaps'), made).catch(() => {})
  for (let n = 0; n < 3 * KEEP_REVISIONS; n++) {
    await stack.kube.patch(path('configmaps', 'noise'), 'merge', { data: { n: `${Date.now()} ${n}` } })
  }
}

describe('a Kubernetes API that is away', { timeout: 90_000 }, () => {
  it('costs no value, no status and no wish, though it comes back without the history of meanwhile', async () => {
    await using stream = readStream(stack.cloudEndpoint, { property: 'count' })
    await stream.until(isReported, 'values')
    for (const name of names) await stack.devices.until(name, (d) => d.status?.state === 'online', `${name} is online`)
    await stack.patchDevice('drive-1', { spec: { desired: { speed: 11 } } })
    await stack.devices.until('drive-1', (d) => twinOf(d, 'speed')?.state === 'synced', 'speed is written')

    stack.apiWire.unplugged = true
    const from = stack.far.unit(2).served.length
    await stack.far.afterReads(2, VALUES_MEANWHILE)
    const to = stack.far.unit(2).served.length
    // The cloud core goes on without it: the stream is live, its own API answers.
    await stream.until(
      (e) => isReported(e) && e.device.endsWith('/drive-2') && Number(e.value) >= to,
      'live all the time',
    )
    const view = await stack.cloudApi.device(`${stack.namespace}/drive-2`, AbortSignal.timeout(5_000))
    expect(view.state).toBe('online')
    const stale = await stack.kube.get<Device>(path('devices', 'drive-2'))
    expect(Number(twinOf(stale, 'count')?.reported?.value)).toBeLessThan(to)

    await stack.patchDevice('drive-1', { spec: { desired: { speed: 12 } } })
    await stack.kube.delete(path('devices', 'drive-3'))
    await compactHistory()
    await stack.api!.kill()
    await stack.api!.start()
    stack.apiWire.unplugged = false

    await stack.devices.until('drive-1', (d) => twinOf(d, 'speed')?.reported?.value === 12, 'the wish of meanwhile')
    for (const name of ['drive-1', 'drive-2']) {
      await stack.devices.until(name, (d) => Number(twinOf(d, 'count')?.reported?.value) > to, `${name} has its status`)
    }
    // Only a list made anew can tell that somebody is gone.
    const held = await eventually(async () => {
      const items = await stack.agentApi.devices(AbortSignal.timeout(5_000))
      return items.length === 2 && items.map(({ name }) => name).toSorted()
    }, 'the gateway forgot the deleted device')
    expect(held).toEqual(['drive-1', 'drive-2'])
    const counts = new Set(
      stream.events
        .filter(isReported)
        .filter(({ device }) => device.endsWith('/drive-2'))
        .map(({ value }) => Number(value)),
    )
    for (let value = from; value <= to; value++) expect(counts.has(value)).toBe(true)
    expect(stack.devices.wentBack).toEqual([])
    expect(stack.cloud.starts).toBe(1)
  })

  it('answers a version that it has forgotten with 410', async () => {
    await compactHistory()
    const query = { watch: true, resourceVersion: '2' }
    const said = await stack.kube.stream(path('configmaps'), query, AbortSignal.timeout(10_000)).then(
      async (answer) => {
        let text = ''
        for await (const chunk of answer as AsyncIterable<Buffer>) text += chunk.toString()
        return text
      },
      (error: unknown) => String(error),
    )
    expect(said).toMatch(/410|Expired|too old/i)
  })

  it('does not keep a cloud core from saying what it waits for when it starts without one', async () => {
    await stack.cloud.stop()
    stack.apiWire.unplugged = true
    const starting = stack.cloud.start()
    starting.catch(() => {})
    await stack.far.afterReads(1, 50)
    stack.apiWire.unplugged = false
    // It either waits for the API or ends with a typed error, and whoever supervises it starts it again.
    const code = await starting.then(
      () => undefined,
      (error: unknown) => String(error),
    )
    if (code !== undefined) {
      expect(code).toMatch(/SLUICE_KUBE_UNREACHABLE/)
      await stack.cloud.start()
    }
    await stack.patchDevice('drive-2', { spec: { desired: { ramp: 23 } } })
    await stack.devices.until('drive-2', (d) => twinOf(d, 'ramp')?.reported?.value === 23, 'it works again')
  })
})
