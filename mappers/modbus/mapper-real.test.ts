import { once } from 'node:events'
import { ServerSerial } from 'modbus-serial'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { serialLine } from '../../hil/serial-line.ts'
import type { DeviceReachability, Mapper, MapperHost, Reading } from '../sdk/mapper.ts'
import { foreignTcpServer } from './foreign-server.test-helper.ts'
import { createMapper } from './mapper.ts'
import { preciseClock } from './precise-clock.ts'

const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

function plant() {
  const holding = new Map<number, number>([[10, 7]])
  const float = new DataView(new ArrayBuffer(4))
  float.setFloat32(0, 230.1)
  return {
    holding,
    getInputRegister: (address: number) => (address < 2 ? float.getUint16(address * 2) : address),
    getHoldingRegister: (address: number) => holding.get(address) ?? 0,
    getCoil: () => true,
    getDiscreteInput: (address: number) => address % 2 === 1,
    setRegister: (address: number, value: number) => void holding.set(address, value),
    setCoil: () => undefined,
  }
}

const model: DeviceModelSpec = {
  properties: [
    { name: 'voltage', type: 'float', unit: 'V', modbus: { input: 0, as: 'float32' } },
    { name: 'seven', type: 'int', modbus: { input: 7 } },
    { name: 'setpoint', type: 'int', access: 'readwrite', max: 100, modbus: { holding: 10 } },
    { name: 'running', type: 'bool', modbus: { coil: 0 } },
    { name: 'door', type: 'bool', modbus: { discrete: 3 } },
  ],
}

/** A mapper, and a way to wait until something arrives. */
function bench() {
  const readings: Reading[] = []
  const news: DeviceReachability[] = []
  const waiting = new Set<() => void>()
  const changed = () => {
    for (const look of waiting) look()
  }
  const host: MapperHost = {
    clock: systemClock,
    random: Math.random,
    readings: (batch) => {
      readings.push(...batch)
      changed()
    },
    event: () => {},
    writeNews: () => {},
    reachability: (some) => {
      news.push(...some)
      changed()
    },
    log: () => undefined,
  }
  const mapper: Mapper = createMapper(host)
  cleanups.push(async () => mapper[Symbol.asyncDispose]())
  const until = (holds: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!holds()) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
    })
  const latest = (property: string) => readings.findLast((reading) => reading.property === property)
  return { mapper, readings, news, until, latest }
}

type Foreign = { close(done: () => void): void }
const closing = (server: Foreign) => () => new Promise<void>((resolve) => server.close(() => resolve()))

describe('the mapper against modbus-serial', () => {
  it('reads and writes a device over TCP', async () => {
    const device = plant()
    const { port, close } = await foreignTcpServer(device)
    cleanups.push(close)
    const { mapper, until, latest, news } = bench()
    const address = { tcp: { host: '127.0.0.1', port }, unit: 1 }
    mapper.configure([
      { key: 'ns/drive', device: { model: 'm', modbus: address, poll: { every: '50ms' } }, model, revision: '1' },
    ])
    await until(() => ['voltage', 'seven', 'setpoint', 'running', 'door'].every((name) => latest(name) !== undefined))
    expect(latest('voltage')).toMatchObject({ value: 230.1, quality: 'good' })
    expect(latest('seven')).toMatchObject({ value: 7 })
    expect(latest('running')).toMatchObject({ value: true })
    expect(latest('door')).toMatchObject({ value: true })
    expect(news).toMatchObject([{ device: 'ns/drive', online: true }])
    const deadlineMs = systemClock.monotonic() + 5000
    const command = { device: 'ns/drive', property: 'setpoint', value: 42, version: 1, deadlineMs }
    expect(await mapper.write(command, new AbortController().signal)).toMatchObject({ state: 'applied', readBack: 42 })
    expect(device.holding.get(10)).toBe(42)
    expect(mapper.links()[0]).toMatchObject({ state: 'up', devices: 1, planEfficiency: 1 })
  })

  it('reads over a serial line, survives the adapter being pulled out, and comes back by itself', async () => {
    const line = serialLine({ baud: 19_200 }, preciseClock)
    cleanups.push(async () => line[Symbol.asyncDispose]())
    // The server parses by silence; the type of its options does not know the setting for it.
    const options = { path: line.paths[1]!, baudRate: 19_200, unitID: 1, interval: 15 }
    const server = new ServerSerial(plant(), options)
    await once(server, 'initialized')
    cleanups.push(closing(server))
    const { mapper, until, latest, news } = bench()
    const address = { rtu: { port: line.paths[0]!, baud: 19_200 }, unit: 1 }
    mapper.configure([
      { key: 'ns/meter', device: { model: 'm', modbus: address, poll: { every: '100ms' } }, model, revision: '1' },
    ])
    await until(() => latest('voltage')?.quality === 'good')
    expect(latest('voltage')).toMatchObject({ value: 230.1 })
    await line.unplug(0)
    await until(() => news.at(-1)?.online === false)
    expect(latest('voltage')).toMatchObject({ quality: 'bad(link-down)' })
    expect(mapper.links()[0]).toMatchObject({ state: 'down', reason: expect.stringContaining(line.paths[0]!) })
    line.plug(0)
    await until(() => news.at(-1)?.online === true && latest('voltage')?.quality === 'good')
  })
})
