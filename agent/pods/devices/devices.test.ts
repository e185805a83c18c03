import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readlinkSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import type { Json } from '../../../api/resources.ts'
import type { DeviceView, TwinView } from '../../../api/views.ts'
import { busyboxImage, type MadeImage, missingForPods } from '../images/busybox.test-helper.ts'
import { hostProgram } from '../life/host-programs.test-helper.ts'
import { isRunning, PodHouse } from '../life/pod-house.test-helper.ts'
import { PodDevices } from './pod-devices.ts'
import { deviceRequests } from './requests.ts'
import type { TwinAccess } from './twin-socket.ts'

const missing = missingForPods()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

const DIALOUT = 20
const signal = AbortSignal.timeout(120_000)

/** Twins of a gateway, without the gateway: what is desired is reported at once. */
class Twins implements TwinAccess {
  readonly clock = systemClock
  readonly values = new Map<string, Json>([
    ['plant/pump', 1],
    ['plant/meter', 2],
    ['other/secret', 3],
  ])
  readonly by: string[] = []
  readonly #listeners = new Set<() => void>()

  view(key: string): DeviceView | undefined {
    const [namespace = '', name = ''] = key.split('/')
    const value = this.values.get(key)
    if (value === undefined) return undefined
    const twin: TwinView = { name: 'speed', value, quality: 'good', state: 'synced', access: 'readwrite' }
    return { namespace, name, model: 'm', gateway: 'gw-1', state: 'online', twins: [twin] }
  }

  desire(key: string, property: string, value: Json, by: string): void {
    if (value === 999) throw new SluiceError('SLUICE_TWIN_VALUE_REFUSED', `${property} of ${key} is at most 100`)
    this.by.push(`${by} ${key}`)
    this.set(key, value)
  }

  set(key: string, value: Json): void {
    this.values.set(key, value)
    for (const wake of this.#listeners) wake()
  }

  onChange(_: string, wake: () => void): () => void {
    this.#listeners.add(wake)
    return () => void this.#listeners.delete(wake)
  }
}

/** The machine's own Node in a pod: what speaks to the socket is a foreign program of another user. */
const NODE = hostProgram(process.execPath, 'node')
const ASK = `
const { request } = require('node:http')
const ask = (socketPath, method, path, body) => new Promise((resolve, reject) => {
  const asked = request({ socketPath, method, path }, (answer) => {
    let text = ''
    answer.on('data', (part) => { text += part; if (path === '/events') console.log('event ' + part) })
    answer.on('end', () => resolve(method + ' ' + path + ' ' + answer.statusCode + ' ' + text))
  })
  asked.on('error', reject)
  asked.end(body)
})
`

let image: MadeImage
let house: PodHouse
let twins: Twins
let devices: PodDevices
let deviceRoot: string

const inNode = (program: string) => ({
  containers: [
    { name: 'main', image: 'test/busybox:1', command: ['/node', '-e', ASK + program], volumeMounts: NODE.mounts },
  ],
  volumes: NODE.volumes,
})

describe.skipIf(missing !== undefined)('devices of pods', () => {
  beforeAll(() => {
    image = busyboxImage()
  })
  afterAll(() => image?.[Symbol.dispose]())
  beforeEach(async () => {
    twins = new Twins()
    house = await PodHouse.open({
      image,
      signal,
      keeper: { attach: (key, pod) => devices.attach(key, pod) },
    })
    deviceRoot = join(house.folder, 'dev')
    mkdirSync(deviceRoot)
    devices = open()
  })
  afterEach(async () => {
    await devices[Symbol.asyncDispose]()
    await house[Symbol.asyncDispose]()
  })

  const open = () =>
    new PodDevices({
      folder: join(house.folder, 'twins'),
      access: twins,
      rules: { root: deviceRoot, usedBy: (path) => (path.endsWith('ttyUSB1') ? 'plant/meter' : undefined) },
      onTrouble: (error) => {
        throw error
      },
    })

  it('are twins that a pod reads and writes by their sockets, and no others', async () => {
    const uid = house.put(
      'worker',
      {
        ...inNode(`
          const { readdirSync } = require('node:fs')
          const { SLUICE_DEVICE_PUMP: pump, SLUICE_DEVICE_METER: meter } = process.env
          ;(async () => {
            console.log('sees ' + readdirSync('/run/sluice'))
            console.log(await ask(pump, 'GET', '/speed'))
            console.log(await ask(pump, 'PUT', '/speed?wait=5s', '{"value": 42, "by": "somebody else"}'))
            console.log(await ask(pump, 'PUT', '/speed', '{"value": 999}'))
            console.log(await ask(pump, 'PUT', '/speed', 'nonsense'))
            console.log(await ask(pump, 'PUT', '/height', '{"value": 1}'))
            console.log(await ask(pump, 'DELETE', '/speed'))
            console.log(await ask(meter, 'PUT', '/speed', '{"value": 1}'))
            console.log(await ask(meter, 'GET', '/'))
          })()`),
        restartPolicy: 'Never',
      },
      { annotations: { 'sluice.dev/device': 'pump, meter:ro' } },
    )
    await house.status('worker', ({ phase }) => phase === 'Succeeded' || phase === 'Failed')
    const log = await house.log(uid)
    expect(log).toContain('sees meter.sock,pump.sock')
    expect(log).toMatch(/GET \/speed 200 \{.*"value":1,/)
    expect(log).toMatch(/PUT \/speed\?wait=5s 200 \{"property":"speed","value":42,"state":"synced"\}/)
    expect(log).toMatch(/PUT \/speed 422 .*SLUICE_TWIN_VALUE_REFUSED/)
    expect(log).toMatch(/PUT \/speed 400 .*SLUICE_API_BAD_REQUEST/)
    expect(log).toMatch(/PUT \/height 404 .*SLUICE_TWIN_PROPERTY_UNKNOWN/)
    expect(log).toMatch(/DELETE \/speed 405/)
    expect(log).toMatch(/PUT \/speed 422 .*SLUICE_TWIN_READ_ONLY/)
    expect(log).toMatch(/GET \/ 200 .*"name":"meter"/)
    expect(twins.values).toEqual(
      new Map([
        ['plant/pump', 42],
        ['plant/meter', 2],
        ['other/secret', 3],
      ]),
    )
    expect(twins.by).toEqual(['pod:plant/worker plant/pump'])
  })

  it('are followed as they change, and found again when the agent was another meanwhile', async () => {
    const uid = house.put(
      'follower',
      inNode(`
        const follow = () => ask(process.env.SLUICE_DEVICE_PUMP, 'GET', '/events').catch(() => {}).then(() => setTimeout(follow, 20))
        follow()`),
      { annotations: { 'sluice.dev/device': 'pump:ro' } },
    )
    await house.status('follower', isRunning)
    const [sandbox] = await house.runtime.list()
    const { id } = sandbox!.containers[0]!
    const heard = async (value: number) => {
      await using session = await house.runtime.attach(id, { stdin: false, tty: false }, signal)
      if ((await house.log(uid)).includes(`"value":${value},`)) return
      for await (const chunk of session.stdout) if (String(chunk).includes(`"value":${value},`)) return
    }
    await heard(1)
    twins.set('plant/pump', 17)
    await heard(17)
    await devices[Symbol.asyncDispose]()
    devices = open()
    await devices.follow(house.objects)
    twins.set('plant/pump', 18)
    await heard(18)
    await devices.follow([])
    expect(existsSync(join(house.folder, 'twins', uid))).toBe(false)
  })

  it('are waited for, by name, and those of another namespace cannot be had', async () => {
    house.put('early', {}, { annotations: { 'sluice.dev/device': 'valve' } })
    const waits = await house.status(
      'early',
      (one) => one.containerStatuses?.[0]?.state.waiting?.reason === 'CreateContainerConfigError',
    )
    expect(waits.containerStatuses![0]!.state.waiting!.message).toMatch(
      /plant\/valve is not on this gateway.*Bring the pod/,
    )
    house.put('thief', {}, { annotations: { 'sluice.dev/device': 'other/secret' } })
    await house.event(({ about, message }) => about === 'plant/thief' && message.includes("'other/secret' is no name"))
  })

  it('are serial lines with the rights of their group, and nothing that is none', async () => {
    const line = join(deviceRoot, 'ttyUSB7')
    execFileSync('mknod', [line, 'c', '1', '5'])
    chownSync(line, 0, DIALOUT)
    chmodSync(line, 0o660)
    mkdirSync(join(deviceRoot, 'serial/by-id'), { recursive: true })
    symlinkSync('../../ttyUSB7', join(deviceRoot, 'serial/by-id/usb-FTDI-port0'))
    execFileSync('mknod', [join(deviceRoot, 'ttyUSB1'), 'c', '1', '5'])
    execFileSync('mknod', [join(deviceRoot, 'mem'), 'c', '1', '1'])
    const script =
      'head -c 4 /dev/serial/by-id/usb-FTDI-port0 | wc -c; echo x > /dev/serial/by-id/usb-FTDI-port0 && echo written; ls /dev/mem; id -G'
    const annotations = { 'sluice.dev/serial': '/dev/serial/by-id/usb-FTDI-port0' }
    const uid = house.put('reader', { script, restartPolicy: 'Never' }, { annotations })
    await house.status('reader', ({ phase }) => phase === 'Succeeded' || phase === 'Failed')
    const log = await house.log(uid)
    expect(log).toMatch(/F 4\n.*F written\n/)
    expect(log).toMatch(/\/dev\/mem: No such file/)
    for (const [name, path, words] of [
      ['memory', '/dev/mem', 'is no serial line'],
      ['used', '/dev/ttyUSB1', 'in use by the device plant/meter'],
      ['none', '/dev/ttyUSB9', 'This gateway has no /dev/ttyUSB9'],
      ['outside', '/dev/../etc/shadow', 'is no path below /dev'],
    ] as const) {
      house.put(name, {}, { annotations: { 'sluice.dev/serial': path } })
      await house.event(({ about, message }) => about === `plant/${name}` && message.includes(words))
    }
    expect(readlinkSync(join(deviceRoot, 'serial/by-id/usb-FTDI-port0'))).toBe('../../ttyUSB7')
  })
})

it('what a pod asks for is read from its annotations, or said to be wrong', () => {
  const read = (annotations: Record<string, string>) => deviceRequests({ metadata: { annotations } })
  expect(read({})).toEqual({ devices: [], nodes: [] })
  expect(read({ 'sluice.dev/device': 'a,b:ro  c', 'sluice.dev/radio': '/dev/spidev0.0' })).toEqual({
    devices: [
      { name: 'a', write: true },
      { name: 'b', write: false },
      { name: 'c', write: true },
    ],
    nodes: [{ path: '/dev/spidev0.0', kind: 'radio' }],
  })
  for (const bad of ['A', '../x', 'a/b', 'a:rw'])
    expect(() => read({ 'sluice.dev/device': bad }), bad).toThrow(/is no name/)
  expect(() => read({ 'sluice.dev/radio': 'hci0' })).toThrow(/Bluetooth/)
  expect(() => read({ 'sluice.dev/device': Array.from({ length: 33 }, (_, at) => `d${at}`).join() })).toThrow(
    /more than 32/,
  )
})
