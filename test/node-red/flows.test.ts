import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildNodeRed } from '../../node-red/build.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { type Plant, startPlant } from './plant.ts'
import { type FlowNode, RedProcess, tell } from './red.ts'

const tab: FlowNode = { id: 'tab', type: 'tab', label: 'test' }
const node = (id: string, type: string, rest: object): FlowNode => ({ id, type, z: 'tab', x: 100, y: 100, ...rest })

const flowOf = (socket: string): FlowNode[] => [
  tab,
  { id: 'gw', type: 'sluice-gateway', name: '', target: 'agent', socket },
  node('in', 'sluice-twin-in', {
    gateway: 'gw',
    trigger: 'reported',
    device: 'default/drive-1',
    property: 'count',
    initial: false,
    wires: [['t-in']],
  }),
  tell('t-in', 'count'),
  node('states', 'sluice-twin-in', { gateway: 'gw', trigger: 'state', device: 'drive-1', wires: [['t-state']] }),
  tell('t-state', 'state'),
  node('set-in', 'inject', { props: [{ p: 'payload' }], wires: [['set']] }),
  node('set', 'sluice-twin-set', {
    gateway: 'gw',
    device: 'default/drive-1',
    property: 'speed',
    wait: '10s',
    wires: [['t-applied'], ['t-rejected'], ['t-late']],
  }),
  tell('t-applied', 'applied'),
  tell('t-rejected', 'rejected'),
  tell('t-late', 'timedOut'),
  node('run-in', 'inject', { props: [{ p: 'payload' }], wires: [['run']] }),
  node('run', 'sluice-method', {
    gateway: 'gw',
    device: 'drive-1',
    method: 'run',
    wires: [['t-run'], ['t-run-rejected'], []],
  }),
  tell('t-run', 'run'),
  tell('t-run-rejected', 'run-rejected'),
  node('get-in', 'inject', {
    props: [{ p: 'payload' }, { p: 'topic', v: 'drive-1/speed', vt: 'str' }],
    wires: [['get']],
  }),
  node('get', 'sluice-twin-get', { gateway: 'gw', device: '', property: '', wires: [['t-get']] }),
  tell('t-get', 'get'),
  node('gone', 'sluice-device-event', { gateway: 'gw', device: '', wires: [['t-gone']] }),
  tell('t-gone', 'device'),
  node('status-in', 'inject', { props: [{ p: 'payload' }], wires: [['status']] }),
  node('status', 'sluice-gateway-status', { gateway: 'gw', wires: [['t-status']] }),
  tell('t-status', 'gateway'),
  node('catch', 'catch', { scope: null, wires: [['t-catch']] }),
  tell('t-catch', 'caught'),
  node('shown', 'status', { scope: ['in'], wires: [['t-shown']] }),
  tell('t-shown', 'shown'),
]

let folder: Folder
let plant: Plant
beforeAll(async () => {
  await buildNodeRed(fileURLToPath(new URL('../../node-red/dist', import.meta.url)))
  folder = temporaryFolder('red')
  const data = join(folder.path, 'gateway')
  mkdirSync(data)
  plant = await startPlant(data)
}, 60_000)
afterAll(async () => {
  await plant?.[Symbol.asyncDispose]()
  folder?.[Symbol.dispose]()
})

const counts = (red: RedProcess) => red.told.filter(({ as }) => as === 'count').map(({ message }) => message['payload'])

describe.each(['node-red', 'node-red-4'])('the nodes in %s', { timeout: 90_000 }, (version) => {
  let red: RedProcess
  let own: string
  beforeAll(async () => {
    own = join(folder.path, version)
    mkdirSync(own)
    red = await RedProcess.start(own, flowOf(plant.socket), version)
  }, 90_000)
  afterAll(() => red?.[Symbol.asyncDispose]())

  it('hear the values of a real Modbus device, each with its unit and time', async () => {
    const { message } = await red.hear(({ as }) => as === 'count', 'a value')
    expect(message).toMatchObject({ topic: 'drive-1/count', twin: { device: 'drive-1', unit: 'rev', quality: 'good' } })
    expect(typeof message['payload']).toBe('number')
    const shown = await red.hear(({ as }) => as === 'shown', 'the status under the node')
    expect(shown.message['status']).toMatchObject({ fill: 'green', shape: 'dot', text: expect.stringMatching(/ rev$/) })
  })

  it('write a value to the device, and say why another is refused', async () => {
    const applied = red.hear(({ as }) => as === 'applied', 'the write applied')
    await red.inject('set-in', { payload: 1200 })
    expect((await applied).message['write']).toMatchObject({ value: 1200, end: 'applied' })
    expect(plant.far.unit(1).holding.get(0)).toBe(1200)
    const rejected = red.hear(({ as }) => as === 'rejected', 'the write rejected')
    await red.inject('set-in', { payload: 9999 })
    expect((await rejected).message['write']).toMatchObject({
      end: 'rejected',
      reason: expect.stringContaining('3000'),
    })
    expect(plant.far.unit(1).holding.get(0)).toBe(1200)
  })

  it('call a method, which sets what belongs together, and take no half of it', async () => {
    const ran = red.hear(({ as }) => as === 'run', 'the method ran')
    await red.inject('run-in', { payload: { speed: 800, ramp: 7 } })
    expect((await ran).message['write']).toMatchObject({ method: 'run', end: 'applied' })
    expect(plant.far.unit(1).holding.get(10)).toBe(7)
    const caught = red.hear(({ as }) => as === 'caught', 'half a method')
    await red.inject('run-in', { payload: { speed: 5 } })
    expect(JSON.stringify((await caught).message['error'])).toContain('misses ramp')
    expect(plant.far.unit(1).holding.get(0)).toBe(800)
  })

  it('answer with a twin on request, and tell a Catch node of a device that is not there', async () => {
    const got = red.hear(({ as }) => as === 'get', 'the twin')
    await red.inject('get-in')
    expect((await got).message).toMatchObject({ payload: 800, topic: 'drive-1/speed', twin: { unit: 'rpm' } })
    const caught = red.hear(({ as }) => as === 'caught', 'an unknown device')
    await red.inject('get-in', { topic: 'nobody/x' })
    expect(JSON.stringify((await caught).message['error'])).toContain('there is no device default/nobody')
  })

  it('show how the gateway is', async () => {
    const told = red.hear(({ as }) => as === 'gateway', 'the gateway')
    await red.inject('status-in')
    expect((await told).message).toMatchObject({ topic: 'gw-1', payload: { state: 'online', devices: { total: 1 } } })
  })

  it('lose nothing and repeat nothing when the flow is deployed anew', async () => {
    const flow = flowOf(plant.socket)
    await red.hear(({ as }) => as === 'count', 'a value before')
    for (const how of ['full', 'nodes', 'flows', 'reload'] as const) {
      // `nodes` restarts only what changed: here the node that listens.
      const changed = flow.map((one) => (one.id === 'in' ? { ...one, name: how } : one))
      await red.deploy(changed, how)
      await red.hear(({ as }) => as === 'count', 'a value after the deployment')
    }
    const seen = counts(red) as number[]
    expect(seen.length).toBeGreaterThan(5)
    expect(seen.every((value, index) => index === 0 || value === seen[index - 1]! + 1)).toBe(true)
  })

  it('say that the agent is gone, and go on with what it reports when it is back', async () => {
    const lost = red.hear(
      ({ as, message }) => as === 'shown' && (message['status'] as { shape?: string }).shape === 'ring',
      'a ring',
    )
    await plant.agent.kill()
    expect((await lost).message['status']).toMatchObject({ fill: 'red', shape: 'ring' })
    const caught = red.hear(({ as }) => as === 'caught', 'a write without a connection')
    await red.inject('set-in', { payload: 100 })
    expect(JSON.stringify((await caught).message['error'])).toMatch(/not connected|Nothing answers/)
    const back = red.hear(({ as }) => as === 'count', 'a value of the new agent', 40_000)
    await plant.agent.start()
    await back
  })

  it('go on at their cursor after Node-RED itself was stopped and started', async () => {
    await red.hear(({ as }) => as === 'count', 'a value')
    await red.stop()
    const before = counts(red).at(-1) as number
    await plant.far.afterReads(1, 5)
    red = await RedProcess.again(own, version)
    await red.hear(({ as }) => as === 'count', 'a value after the restart')
    const after = counts(red) as number[]
    expect(after[0]).toBe(before + 1)
    expect(after.every((value, index) => index === 0 || value === after[index - 1]! + 1)).toBe(true)
  })
})
