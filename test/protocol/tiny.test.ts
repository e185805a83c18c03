import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { expect, it } from 'vitest'
import { silentLog } from '../../agent/log.ts'
import { runAgent } from '../../agent/run.ts'
import { temporaryDirectory } from '../../agent/test-helpers/plant.ts'
import type { LinkObject } from '../../api/link/messages.ts'
import type { StreamEvent } from '../../api/views.ts'
import { tiny } from './tiny.ts'

/** A device of that protocol: says its speed, and takes another. */
async function startDevice() {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.write('v 7\n')
    createInterface({ input: socket }).on('line', (line) => {
      const [verb, word, value] = line.split(' ')
      if (verb === 'set') socket.write(`${word} ${value}\n`)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const objects = (port: number): LinkObject[] => [
  {
    kind: 'DeviceModel',
    key: 'lab/fan',
    rev: '1',
    object: {
      uid: 'm',
      generation: 1,
      spec: { properties: [{ name: 'speed', type: 'int', access: 'readwrite', min: 0, max: 9, tiny: { word: 'v' } }] },
    },
  },
  {
    kind: 'Device',
    key: 'lab/fan-1',
    rev: '1',
    object: {
      uid: 'd',
      generation: 1,
      spec: { model: 'fan', nodeName: 'gw', tiny: { host: '127.0.0.1', port } },
      desired: {},
    },
  },
]

it('a new protocol is a folder of its own: the whole agent serves it, reading and writing, without a line of change', async () => {
  await using device = await startDevice()
  using directory = temporaryDirectory()
  const events: StreamEvent[] = []
  const waiting = new Set<() => void>()
  const until = (test: (event: StreamEvent) => boolean) =>
    new Promise<StreamEvent>((resolve) => {
      const look = () => {
        const found = events.find(test)
        if (found !== undefined) resolve(found)
      }
      waiting.add(look)
      look()
    })
  await using agent = await runAgent(
    { dataDir: directory.path, gateway: 'gw' },
    {
      protocols: [tiny],
      log: silentLog,
      check: async () => undefined,
      objects: objects(device.port),
      onEvent: (event) => {
        events.push(event)
        for (const look of waiting) look()
      },
    },
  )
  expect(await until(({ kind }) => kind === 'reported')).toMatchObject({
    device: 'lab/fan-1',
    property: 'speed',
    value: 7,
  })
  agent.core.desire('lab/fan-1', 'speed', 3, 'test')
  expect(await until(({ kind }) => kind === 'write')).toMatchObject({ property: 'speed', state: 'applied' })
  expect(agent.core.engine.devices.get('lab/fan-1')?.properties.get('speed')?.twin.known?.value).toBe(3)
  expect(agent.broker.running).toBeUndefined()
})

it('and takes no more than 150 lines', () => {
  const lines = readFileSync(new URL('./tiny.ts', import.meta.url), 'utf8').split('\n').length
  expect(lines).toBeLessThanOrEqual(150)
})
