import { CustomObjectsApi, KubeConfig, type KubernetesObject, makeInformer } from '@kubernetes/client-node'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Device } from '../../api/resources.ts'
import { DEVICE_MODELS, DEVICES, objectPath } from '../../cloudcore/kube/paths.ts'
import { runSluice } from '../cli/run-sluice.ts'
import { conditionOf, twinOf } from '../harness/devices.ts'
import { Stack } from '../harness/stack.ts'
import { isReported, isWrite, readStream } from '../harness/stream.ts'
import { eventually } from '../harness/until.ts'

/** What a person does in the first hour, with real processes, the real kubectl and devices that are not ours. */
let stack!: Stack
beforeAll(async () => {
  stack = await Stack.start({ between: 'bytes' })
}, 60_000)
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(() => stack.tellOnFailure())

const manifests = () => `
apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: { name: drive }
spec:
  properties:
    - { name: count, type: int, modbus: { input: 0, as: uint32 } }
    - { name: speed, type: int, unit: 1/min, access: readwrite, min: 0, max: 3000, modbus: { holding: 0 }, write: { deadline: 2s } }
    - { name: ramp, type: int, unit: s, access: readwrite, min: 0, max: 3000, modbus: { holding: 10 }, write: { deadline: 2s } }
---
apiVersion: sluice.dev/v1alpha1
kind: Device
metadata: { name: drive-1 }
spec:
  model: drive
  nodeName: ${stack.gateway}
  modbus: { tcp: { host: 127.0.0.1, port: ${stack.far.port} }, unit: 1, timeout: 5s }
  poll: { every: 50ms }
`

const wish = (name: string, desired: object) =>
  stack.kubectl('patch', 'device', name, '--type', 'merge', '-p', JSON.stringify({ spec: { desired } }))

const sluice = (...args: string[]) => runSluice(...args, '--data', stack.agentData)

const ended = (name: string, property: string, value: number, state: string, timeoutMs?: number) =>
  stack.devices.until(
    name,
    (device) => twinOf(device, property)?.desired?.value === value && twinOf(device, property)?.state === state,
    `${property} = ${value} is ${state}`,
    timeoutMs,
  )

/** How long this process itself was kept from running. */
function standstills(): Disposable & { readonly longestMs: number } {
  const everyMs = 20
  let longestMs = 0
  let lastMs = performance.now()
  const timer = setInterval(() => {
    const nowMs = performance.now()
    longestMs = Math.max(longestMs, nowMs - lastMs - everyMs)
    lastMs = nowMs
  }, everyMs)
  return {
    get longestMs() {
      return longestMs
    },
    [Symbol.dispose]: () => clearInterval(timer),
  }
}

describe('the first hour with Sluice', { timeout: 60_000 }, () => {
  it('makes a twin of a model and a device that kubectl can list, describe and wait for', async () => {
    const applied = await stack.kubectlWith(manifests(), 'apply', '-f', '-')
    expect(applied.stderr).toBe('')
    expect(applied.stdout).toContain('device.sluice.dev/drive-1 created')
    const waited = await stack.kubectl(
      'wait',
      'device/drive-1',
      '--for=jsonpath={.status.state}=online',
      '--timeout=20s',
    )
    expect(waited.stdout).toContain('condition met')
    await stack.devices.until('drive-1', (d) => Number(twinOf(d, 'count')?.reported?.value) > 5, 'values')
    const listed = await stack.kubectl('get', 'devices')
    expect(listed.stdout).toMatch(/NAME\s+MODEL\s+GATEWAY\s+STATE/)
    expect(listed.stdout).toMatch(/drive-1\s+drive\s+gw-\w+\s+online\s+count \d+/)
    const described = await stack.kubectl('describe', 'device', 'drive-1')
    for (const word of ['Reported:', 'Quality:', 'Reachable', 'ModelValid']) expect(described.stdout).toContain(word)
    const gateway = await stack.kubectl('get', 'gateway', stack.gateway, '-o', 'jsonpath={.status.devices}')
    expect(gateway.code).toBe(0)
  })

  it('writes what kubectl wishes, and says when the device has it', async () => {
    expect((await wish('drive-1', { speed: 1200 })).code).toBe(0)
    const device = await ended('drive-1', 'speed', 1200, 'synced')
    expect(stack.far.unit(1).holding.get(0)).toBe(1200)
    expect(twinOf(device, 'speed')?.desired).toMatchObject({ by: 'kubectl-patch' })
    expect(twinOf(device, 'speed')?.stateVersion).toBe(twinOf(device, 'speed')?.desired?.version)
  })

  it('shows the same changes at the gateway and in the cloud', async () => {
    const watch = (data: string) =>
      runSluice('device', 'watch', `${stack.namespace}/drive-1`, 'count', '--count', '3', '--json', '--data', data)
    const watched = await Promise.all([watch(stack.agentData), watch(stack.cloudData)])
    for (const { code, stdout, stderr } of watched) {
      expect(stderr).toBe('')
      const lines = stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(lines).toHaveLength(3)
      for (const line of lines) expect(line).toMatchObject({ kind: 'reported', property: 'count', quality: 'good' })
      expect(code).toBe(0)
    }
  })

  it('refuses what the limits forbid before the wire, and tells what the device refused', async () => {
    const { written, refused } = stack.far.unit(1)
    const before = written.length
    expect((await wish('drive-1', { speed: 9999 })).code).toBe(0)
    const limited = await ended('drive-1', 'speed', 9999, 'rejected')
    expect(twinOf(limited, 'speed')?.reason).toMatch(/3000/)
    expect(written.length).toBe(before)
    refused.add(0)
    await wish('drive-1', { speed: 1300 })
    const answered = await ended('drive-1', 'speed', 1300, 'rejected')
    expect(twinOf(answered, 'speed')?.reason).toMatch(/exception|address/i)
    refused.delete(0)
    const events = await eventually(async () => {
      const { stdout } = await stack.kubectl('get', 'events', '--field-selector', 'involvedObject.name=drive-1')
      return stdout.includes('WriteRejected') && stdout
    }, 'an Event about the rejected write')
    expect(events).toContain('Warning')
  })

  it('notices a pulled cable, ends a write that cannot be done in time, and never does it later', async () => {
    const { holding, written } = stack.far.unit(1)
    stack.far.wire.unplugged = true
    const waited = await stack.kubectl(
      'wait',
      'device/drive-1',
      '--for=jsonpath={.status.state}=offline',
      '--timeout=20s',
    )
    expect(waited.stdout).toContain('condition met')
    await wish('drive-1', { ramp: 77 })
    const late = await ended('drive-1', 'ramp', 77, 'timedOut')
    expect(twinOf(late, 'ramp')?.reason).toBeTruthy()
    stack.far.wire.unplugged = false
    await stack.devices.until('drive-1', (d) => d.status?.state === 'online', 'online again')
    await stack.far.afterReads(1, 10)
    expect(holding.get(10)).toBeUndefined()
    expect(written.some(({ value }) => value === 77)).toBe(false)
    await wish('drive-1', { ramp: 78 })
    await ended('drive-1', 'ramp', 78, 'synced')
  })

  it('works on at the gateway while the cloud is away; both sides agree afterwards and nothing is missing', async () => {
    await using stream = readStream(stack.cloudEndpoint)
    await stream.until(isReported, 'a live value')
    const { served, holding } = stack.far.unit(1)
    stack.bytes.unplugged = true
    const cutAt = served.length
    await stack.far.afterReads(1, 20)
    const ls = await sluice('device', 'ls', '--json')
    expect(JSON.parse(ls.stdout)).toMatchObject({
      items: [{ name: 'drive-1', gateway: stack.gateway, state: 'online' }],
    })
    const key = `${stack.namespace}/drive-1`
    const set = await sluice('device', 'set', key, 'ramp=7')
    expect(set.stdout).toMatch(/ramp = 7 {2}(applied|synced)/)
    expect(holding.get(10)).toBe(7)
    expect((await sluice('device', 'get', key, 'ramp')).stdout.trim()).toBe('7')
    expect((await sluice('device', 'set', key, 'ramp=5000')).stderr).toContain('SLUICE_TWIN_VALUE_REFUSED')
    await wish('drive-1', { speed: 700 })
    await stack.far.afterReads(1, 10)
    expect(holding.get(0)).not.toBe(700)
    const backAt = served.length
    stack.bytes.unplugged = false
    await ended('drive-1', 'speed', 700, 'synced')
    const agreed = await ended('drive-1', 'ramp', 7, 'synced')
    expect(agreed.spec.desired).toMatchObject({ ramp: 7, speed: 700 })
    expect(twinOf(agreed, 'ramp')?.desired?.by).toBe(`sluice-gateway-${stack.gateway}`)
    expect([holding.get(0), holding.get(10)]).toEqual([700, 7])
    const counts = () => stream.events.filter(isReported).filter((e) => e.property === 'count' && e.quality === 'good')
    const during = await eventually(() => {
      const values = counts().map(({ value }) => Number(value))
      return (
        Array.from({ length: backAt - cutAt }, (_, i) => cutAt + i + 1).every((n) => values.includes(n)) && counts()
      )
    }, 'every value of the outage is in the stream')
    const late = during.filter(({ backfill }) => backfill === true).map(({ value }) => Number(value))
    expect(late.length).toBeGreaterThan(20)
    expect(late).toEqual(late.toSorted((a, b) => a - b))
    expect(new Set(during.map(({ value }) => value)).size).toBe(during.length)
    const writes = stream.events.filter(isWrite).map(({ property, version }) => `${property} ${version}`)
    expect(new Set(writes).size).toBe(writes.length)
  })

  it('does not bring a deleted device back, nor its wishes into a new one of the same name', async () => {
    const { holding, written } = stack.far.unit(1)
    stack.bytes.unplugged = true
    await wish('drive-1', { speed: 2500 })
    expect((await stack.kubectl('delete', 'device', 'drive-1')).code).toBe(0)
    await stack.devices.untilGone('drive-1')
    await stack.kubectlWith(manifests(), 'apply', '-f', '-')
    const fresh = await stack.devices.until('drive-1', () => true, 'the new device')
    stack.bytes.unplugged = false
    const held = await stack.devices.until('drive-1', (d) => twinOf(d, 'count')?.reported !== undefined, 'its values')
    expect(held.metadata.uid).toBe(fresh.metadata.uid)
    expect(held.spec.desired).toBeUndefined()
    await stack.far.afterReads(1, 10)
    expect(written.some(({ value }) => value === 2500)).toBe(false)
    expect([holding.get(0), holding.get(10)]).toEqual([700, 7])
    const now = await stack.devices.until('drive-1', (d) => twinOf(d, 'speed')?.reported?.value === 700, 'the speed')
    for (const property of ['speed', 'ramp']) expect(twinOf(now, property)?.desired).toBeUndefined()
    const local = JSON.parse((await sluice('device', 'get', `${stack.namespace}/drive-1`, '--json')).stdout)
    expect(local.twins.filter((twin: { desired?: unknown }) => twin.desired !== undefined)).toEqual([])
  })

  it('takes an edited model while running, and other devices do not miss a poll', async () => {
    await stack.createModel('fan', { properties: [{ name: 'count', type: 'int', modbus: { input: 0, as: 'uint32' } }] })
    const modbus = { tcp: { host: '127.0.0.1', port: stack.far.port }, unit: 2, timeout: '5s' }
    await stack.createDevice('fan-1', { model: 'fan', poll: { every: '50ms' }, modbus })
    await stack.devices.until('fan-1', (d) => twinOf(d, 'count')?.reported !== undefined, 'the fan turns')
    await using stream = readStream(stack.cloudEndpoint, { device: `${stack.namespace}/drive-1`, property: 'count' })
    await stream.until(isReported, 'the drive counts')
    const polled = stack.far.unit(1).served.length
    const connections = stack.far.wire.accepted
    using machine = standstills()
    await stack.kube.patch(objectPath(DEVICE_MODELS, 'fan', stack.namespace), 'merge', {
      spec: {
        properties: [
          { name: 'count', type: 'int', modbus: { input: 0, as: 'uint32' } },
          { name: 'level', type: 'int', access: 'readwrite', modbus: { holding: 3 } },
        ],
      },
    })
    await stack.devices.until('fan-1', (d) => twinOf(d, 'level')?.reported?.value === 0, 'the new property')
    await stack.far.afterReads(1, 5)
    const last = stack.far.unit(1).served.length
    await stream.until((e) => isReported(e) && Number(e.value) >= last, 'the drive counts on')
    const values = stream.events.filter(isReported)
    expect(values.filter(({ quality }) => quality !== 'good')).toEqual([])
    const counted = new Set(values.map(({ value }) => Number(value)))
    for (let value = polled + 1; value <= last; value++) expect(counted.has(value)).toBe(true)
    const gaps = stack.far
      .unit(1)
      .served.slice(polled, last)
      .map(({ atMs }, i, all) => atMs - (all[i - 1]?.atMs ?? atMs))
    expect(stack.far.wire.accepted).toBe(connections)
    // Twenty polls in a row would have to be missed, beyond what this machine kept everybody waiting.
    expect(Math.max(...gaps)).toBeLessThan(1_000 + 4 * machine.longestMs)
  })

  it('keeps the last good model when the new one is invalid, and says so', async () => {
    const path = objectPath(DEVICE_MODELS, 'fan', stack.namespace)
    const wrong = { name: 'speed', type: 'int', access: 'readwrite', modbus: { input: 7 } }
    const count = { name: 'count', type: 'int', modbus: { input: 0, as: 'uint32' } }
    await stack.kube.patch(path, 'merge', { spec: { properties: [count, wrong] } })
    const said = await stack.devices.until(
      'fan-1',
      (d) => conditionOf(d, 'ModelValid')?.status === 'False',
      'the verdict',
    )
    expect(conditionOf(said, 'ModelValid')?.message).toMatch(/input/)
    const before = Number(twinOf(said, 'count')?.reported?.value)
    const on = await stack.devices.until(
      'fan-1',
      (d) => Number(twinOf(d, 'count')?.reported?.value) > before,
      'it counts on',
    )
    expect(twinOf(on, 'count')?.reported?.quality).toBe('good')
    await stack.kube.patch(path, 'merge', { spec: { properties: [count] } })
    await stack.devices.until('fan-1', (d) => conditionOf(d, 'ModelValid')?.status === 'True', 'it is valid again')
  })

  it('refuses a manifest with a wrong field or value with one clear error and applies nothing of it', async () => {
    const unknown = manifests().replace('drive-1', 'drive-9').replace('unit: 1,', 'unit: 1, colour: red,')
    const strict = await stack.kubectlWith(unknown.split('---')[1]!, 'create', '-f', '-')
    expect(strict.stderr).toMatch(/unknown field "spec\.modbus\.colour"/)
    const far = await stack.kubectlWith(
      manifests().split('---')[0]!.replace('name: drive', 'name: broken').replace('holding: 10', 'holding: 70000'),
      ...['create', '-f', '-'],
    )
    expect(far.stderr).toMatch(/65536/)
    expect((await stack.kubectl('get', 'device', 'drive-9')).stderr).toContain('NotFound')
    expect((await stack.kubectl('get', 'devicemodel', 'broken')).stderr).toContain('NotFound')
    await stack.createDevice('orphan', { model: 'nowhere', modbus: { tcp: { host: '127.0.0.1' }, unit: 1 } })
    const orphan = await stack.devices.until('orphan', (d) => d.status?.state === 'invalid', 'a device without a model')
    expect(conditionOf(orphan, 'ModelValid')).toMatchObject({ reason: 'ModelNotFound' })
    await stack.kube.delete(objectPath(DEVICES, 'orphan', stack.namespace))
  })

  it('shows every change to an informer of @kubernetes/client-node', async () => {
    const config = new KubeConfig()
    config.loadFromFile(stack.kubeconfig)
    const where = { group: 'sluice.dev', version: 'v1alpha1', namespace: stack.namespace, plural: 'devices' }
    const custom = config.makeApiClient(CustomObjectsApi)
    const path = `/apis/sluice.dev/v1alpha1/namespaces/${stack.namespace}/devices`
    const informer = makeInformer<Device & KubernetesObject>(config, path, () =>
      custom.listNamespacedCustomObject(where),
    )
    const counts: number[] = []
    const gone = new Promise<void>((resolve) =>
      informer.on('delete', ({ metadata }) => void (metadata?.name === 'fan-1' && resolve())),
    )
    const counting = new Promise<void>((resolve) => {
      const note = (object: Device) => {
        if (object.metadata?.name !== 'drive-1') return
        counts.push(Number(twinOf(object, 'count')?.reported?.value))
        if (counts.length > 2) resolve()
      }
      informer.on('add', note)
      informer.on('update', note)
    })
    await informer.start()
    try {
      await counting
      expect(counts).toEqual(counts.toSorted((a, b) => a - b))
      await stack.kubectl('delete', 'device', 'fan-1')
      await gone
    } finally {
      await informer.stop()
    }
  })
})
