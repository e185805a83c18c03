import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Device, DiscoveredDevice, DiscoveryPolicy } from '../../api/resources.ts'
import { runCommand } from '../../cli/main.ts'
import { discoveredName } from '../../cloudcore/discovery/name.ts'
import {
  collectionPath,
  DEVICES,
  DISCOVERED_DEVICES,
  DISCOVERY_POLICIES,
  EVENTS,
  objectPath,
} from '../../cloudcore/kube/paths.ts'
import type { DeviceBinding, GatewayHost, Mapper, Protocol } from '../../mappers/sdk/mapper.ts'
import { Assembly } from '../harness/assembly.ts'
import { counterModel } from '../harness/fleet.ts'
import { eventually } from '../harness/until.ts'

/** Speaks to nobody; the test says what it sees. */
class Lookout implements Mapper {
  host: GatewayHost | undefined
  devices: readonly DeviceBinding[] = []
  readonly protocol: Protocol = {
    name: 'modbus',
    schema: async () => (await import('../../mappers/modbus/schema.ts')).modbusSchema,
    lint: async () => () => [],
    explain: async () => (await import('../../mappers/modbus/explain.ts')).explainBinding,
    load: async () => (host) => {
      this.host = host
      return this
    },
  }
  configure(devices: readonly DeviceBinding[]) {
    this.devices = devices
  }
  write(): Promise<never> {
    return Promise.reject(new Error('nothing is written here'))
  }
  links = () => []
  explain = () => undefined
  async [Symbol.asyncDispose]() {}
}

async function sluice(...argv: string[]) {
  let stdout = ''
  let stderr = ''
  const code = await runCommand(argv, {
    stdout: { write: (text) => (stdout += text), columns: 160 },
    stderr: { write: (text) => (stderr += text) },
    env: {},
    signal: new AbortController().signal,
  })
  return { code, stdout, stderr }
}

let house: Assembly
beforeAll(async () => {
  house = await Assembly.start({ cloud: { heartbeatMs: 300 } })
  await house.createModel('counter', counterModel)
}, 60_000)
afterAll(() => house?.[Symbol.asyncDispose]())
beforeEach(() => house.tellOnFailure())

describe('discovery', { timeout: 60_000 }, () => {
  it('goes from a sighting at a gateway to an object, by approval to a device, and from there to the gateway', async () => {
    const lookout = new Lookout()
    const address = (unit: number) => ({ tcp: { host: '127.0.0.1', port: 5020 }, unit })
    const known: Device['spec'] = { model: 'counter', nodeName: house.gateway, modbus: address(1) }
    await house.createDevice('known', known)
    await using agent = await house.startAgent({}, { protocols: [lookout.protocol] })
    const cloud = () => sluice('discover', '--cloud', '--data', house.cloudData)
    const host = await eventually(() => lookout.devices.length === 1 && lookout.host, 'the protocol with its device')
    const seen = (unit: number) => ({
      id: `unit-${unit}`,
      address: address(unit),
      name: 'Meter',
      candidates: [{ model: 'counter', score: 0.8, why: 'it says so' }],
      facts: { vendor: 'Acme' },
      atMs: Date.now(),
    })
    host.sighted([seen(1), seen(2)])
    expect(agent.core.sightings.list().map(({ id }) => id)).toEqual(['unit-2'])

    const path = objectPath(DISCOVERED_DEVICES, discoveredName(house.gateway, 'modbus', 'unit-2'), 'default')
    const look = (state: string) => async () => {
      const object = await house.kube.get<DiscoveredDevice>(path).catch(() => undefined)
      return object?.status?.state === state && object
    }
    const found = await eventually(look('new'), 'the discovered device')
    expect(found).toMatchObject({
      metadata: { labels: { 'sluice.dev/gateway': house.gateway } },
      spec: { protocol: 'modbus', id: 'unit-2', gateway: house.gateway, name: 'Meter', address: address(2) },
      status: { resembles: 'counter', sightings: 1 },
    })
    const { items } = await house.kube.list<DiscoveredDevice>(collectionPath(DISCOVERED_DEVICES))
    expect(items).toHaveLength(1)
    const [atGateway, inCloud] = [await sluice('discover', '--data', join(house.folder, 'gateway')), await cloud()]
    expect(atGateway.stdout).toMatch(/unit-2 +modbus +Meter +counter 80 %/)
    expect(inCloud.stdout).toMatch(/unit-2 +modbus +gw-1 +Meter +counter 80 %/)

    const approve = ['discover', 'approve', 'unit-2', '--name', 'meter-2', '-n', house.namespace]
    const refused = await sluice(...approve, '--model', 'nothing', '--data', house.cloudData)
    expect(refused).toMatchObject({ code: 4, stderr: expect.stringContaining("no DeviceModel 'nothing'") })
    const event = await eventually(async () => {
      const events = await house.kube.list<{ reason: string; message: string }>(collectionPath(EVENTS, 'default'))
      return events.items.find(({ reason }) => reason === 'ModelNotFound')
    }, 'the event')
    expect(event.message).toContain("no DeviceModel 'nothing'")

    const made = await sluice(...approve, '--model', 'counter', '--data', house.cloudData)
    expect(made).toMatchObject({ code: 0, stdout: `✓ device ${house.namespace}/meter-2 is there\n` })
    const approved = await eventually(look('approved'), 'the approval')
    expect(approved.status?.device).toBe(`${house.namespace}/meter-2`)
    const device = await house.kube.get<Device>(objectPath(DEVICES, 'meter-2', house.namespace))
    expect(device.spec).toMatchObject({ model: 'counter', nodeName: house.gateway, modbus: address(2) })
    await eventually(() => lookout.devices.length === 2, 'the gateway serves it')
    expect(agent.core.sightings.list()).toEqual([])
    expect((await cloud()).stderr).toContain('Nothing new')

    // A scan is told to the agent, and so comes to the cloud, too.
    const where = `127.0.0.1:${house.far.port}`
    const scan = await sluice(
      'discover',
      'modbus',
      '--host',
      where,
      '--units',
      '9',
      '--data',
      join(house.folder, 'gateway'),
    )
    expect(scan).toMatchObject({ code: 0, stdout: expect.stringContaining(`tcp://${where} unit 9`) })
    await house.createDevice('far', { ...house.counterDevice(9), nodeName: 'nobody' })
    const order = await sluice('discover', 'order', `${house.namespace}/far`, 'count', '--data', house.cloudData)
    expect(order).toMatchObject({ code: 0, stderr: '' })
    expect(order.stdout).toMatch(/uint32 +big +1 +as the model says/)
    expect(order.stdout).toMatch(/uint32 +big-swap +65536\n/)
    await eventually(async () => (await cloud()).stdout.includes(`${where}:9`), 'what the scan found')
  })

  it('is adopted by a policy as a person would approve it, once the policy is not suspended any more', async () => {
    const lookout = new Lookout()
    const address = (unit: number) => ({ tcp: { host: '127.0.0.1', port: 5030 }, unit })
    await house.createDevice('served', { model: 'counter', nodeName: house.gateway, modbus: address(1) })
    await using _agent = await house.startAgent({}, { protocols: [lookout.protocol] })
    const host = await eventually(() => lookout.host, 'the protocol')
    const policies = collectionPath(DISCOVERY_POLICIES, house.namespace)
    const policy = (match: object) => ({
      ...{ apiVersion: 'sluice.dev/v1alpha1', kind: 'DiscoveryPolicy', metadata: { name: 'counters' } },
      spec: { match, name: 'auto-{id}', suspend: true },
    })
    await expect(house.kube.create(policies, policy({ protocols: ['modbus'] }))).rejects.toThrow(
      /give models or idPrefixes/,
    )
    await house.kube.create(policies, policy({ models: ['counter'], gateways: [house.gateway] }))
    const candidates = [{ model: 'counter', score: 0.9, why: 'it says so' }]
    const seen = { id: 'Unit 77', address: address(77), candidates, facts: {}, atMs: Date.now() }
    host.sighted([seen, { ...seen, id: 'Unit 78', address: address(78), candidates: [] }])
    const explain = () => sluice('discover', 'policy', 'explain', 'counters', '--data', house.cloudData)
    await eventually(async () => (await explain()).stdout.includes('Unit 78'), 'both discoveries')
    const { stdout } = await explain()
    expect(stdout).toMatch(new RegExp(`Unit 77 .*suspended.* ${house.namespace}/auto-unit-77, a counter`))
    expect(stdout).toMatch(/Unit 78 .*it resembles no model/)
    const path = objectPath(DISCOVERY_POLICIES, 'counters', house.namespace)
    await house.kube.patch(path, 'merge', { spec: { suspend: false } })
    const devicePath = objectPath(DEVICES, 'auto-unit-77', house.namespace)
    const device = await eventually(() => house.kube.get<Device>(devicePath).catch(() => undefined), 'the device')
    expect(device.spec).toMatchObject({ model: 'counter', nodeName: house.gateway, modbus: address(77) })
    const told = await eventually(async () => {
      const object = await house.kube.get<DiscoveryPolicy>(path)
      return object.status?.adopted === 1 && object
    }, 'the status of the policy')
    expect(told.status?.lastDevice).toBe(`${house.namespace}/auto-unit-77`)
  })
})
