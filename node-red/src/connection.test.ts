import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DeviceView, GatewayView } from '../../api/views.ts'
import { type Folder, temporaryFolder } from '../../test/harness/folder.ts'
import { GatewayConnection, type Subscriber } from './connection.ts'
import type { TwinChange } from './twin-mirror.ts'

const PULSE_MS = 10

const device = (name: string, value: number): DeviceView => ({
  namespace: 'default',
  name,
  model: 'pump',
  state: 'online',
  twins: [{ name: 'level', access: 'read', value, at: '2026-01-01T00:00:00Z', quality: 'good' }],
})

/** The local API of an agent, as far as a connection asks it: the state it was given, and one open stream. */
class Agent {
  devices: DeviceView[] = [device('a', 1)]
  watts = 3
  readonly socket: string
  readonly #streams = new Set<ServerResponse>()
  readonly #server = createServer((request, response) => {
    if (request.url?.startsWith('/v1/events')) {
      this.#streams.add(response)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('id: e:1\nevent: open\ndata: {}\n\n')
      return
    }
    response.setHeader('content-type', 'application/json')
    const items = request.url === '/v1/devices' ? this.devices : request.url === '/v1/gateways' ? [this.gateway] : []
    response.end(JSON.stringify({ items }))
  })

  constructor(folder: string) {
    this.socket = join(folder, 'agent.sock')
  }

  get gateway(): GatewayView {
    const devices = { total: this.devices.length, online: this.devices.length, offline: 0 }
    return {
      name: 'gw',
      state: 'online',
      status: {
        devices,
        power: { watts: this.watts, source: 'measured', by: 'meter' } as GatewayView['status']['power'],
      },
    } as GatewayView
  }

  async start(): Promise<void> {
    this.#server.listen(this.socket)
    await once(this.#server, 'listening')
  }

  say(event: object): void {
    for (const stream of this.#streams) stream.write(`id: e:2\ndata: ${JSON.stringify([event])}\n\n`)
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.end()
    this.#streams.clear()
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}

let folder: Folder
let agent: Agent
let connection: GatewayConnection
beforeEach(async () => {
  folder = temporaryFolder('connection')
  agent = new Agent(folder.path)
  await agent.start()
  const cursor = { value: undefined, save: () => {} }
  connection = new GatewayConnection({ kind: 'socket', path: agent.socket }, cursor, { pulseMs: PULSE_MS })
  connection.start()
  await heard<string>((tell) => connection.subscribe('watch', { state: ({ is }) => tell(is) }), 'connected')
})
afterEach(async () => {
  connection.stop()
  await agent.stop()
  folder[Symbol.dispose]()
})

/** Waits until `wanted` was told. */
function heard<T>(subscribe: (tell: (said: T) => void) => void, wanted: T): Promise<void> {
  return new Promise((resolve) => {
    subscribe((said) => {
      if (said === wanted) resolve()
    })
  })
}

/** Keeps what it hears of levels, in order. */
class Ear implements Subscriber {
  readonly all: string[] = []
  readonly #waiting = new Map<string, () => void>()

  twin({ event, device: { name }, initial }: TwinChange): void {
    if (event.kind !== 'reported') return
    const said = `${name}=${event.value}${initial ? ' at the start' : ''}`
    this.all.push(said)
    this.#waiting.get(said)?.()
  }

  async hears(wanted: string): Promise<void> {
    if (!this.all.includes(wanted)) await new Promise<void>((resolve) => this.#waiting.set(wanted, resolve))
  }
}

describe('a connection to an agent', () => {
  it('tells a node that is deployed later how every twin and the gateway is', async () => {
    const late = new Ear()
    connection.subscribe('late', late)
    await late.hears('a=1 at the start')
    await heard<number>(
      (tell) => connection.subscribe('status', { gateway: ({ status }) => tell(status.power?.watts ?? 0) }),
      3,
    )
  })

  it('tells a node that was deployed anew what it missed, in order, and that only once', async () => {
    const steady = new Ear()
    connection.subscribe('steady', steady)
    await steady.hears('a=1 at the start')
    const before = new Ear()
    const leave = connection.subscribe('node', before)
    await before.hears('a=1 at the start')
    leave()
    const say = (value: number) =>
      agent.say({
        ...{ kind: 'reported', device: 'default/a', property: 'level', quality: 'good' },
        ...{ value, at: `2026-01-01T00:00:0${value}Z` },
      })
    say(2)
    say(3)
    await steady.hears('a=3')
    const after = new Ear()
    connection.subscribe('node', after)
    await after.hears('a=3')
    say(4)
    await after.hears('a=4')
    expect(before.all).toEqual(['a=1 at the start'])
    expect(after.all).toEqual(['a=2', 'a=3', 'a=4'])
  })

  it('tells nothing before the other nodes of the flow are there', async () => {
    let there = false
    const early: boolean[] = []
    const told = heard<string>(
      (tell) =>
        connection.subscribe('late', {
          twin: () => {
            early.push(there)
            tell('told')
          },
        }),
      'told',
    )
    there = true
    await told
    expect(early).toEqual([true])
  })

  it('asks an agent how the gateway is, because its stream does not say', async () => {
    const changed = heard<number>(
      (tell) => connection.subscribe('status', { gateway: ({ status }) => tell(status.power?.watts ?? 0) }),
      7,
    )
    agent.watts = 7
    await changed
  })

  it('forgets a device that was taken away, knows one that came and says nothing, and has the nodes look', async () => {
    const known = () => [...connection.devices.keys()].join()
    const gone = heard<string>((tell) => connection.subscribe('one', { state: () => tell(known()) }), '')
    agent.devices = []
    await gone
    const came = heard<string>((tell) => connection.subscribe('two', { state: () => tell(known()) }), 'default/b')
    agent.devices = [device('b', 1)]
    await came
  })

  it('shows a dialog the devices of this moment', async () => {
    agent.devices = [device('c', 1)]
    await connection.refresh()
    expect([...connection.devices.keys()]).toEqual(['default/c'])
  })
})
