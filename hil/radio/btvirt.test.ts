import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import type { Heard } from '../../mappers/ble/transport.ts'
import { NobleTransport } from '../../mappers/ble/transport-noble.ts'
import { BTVIRT_MISSING, hasBtvirt, startBtvirt } from './btvirt.ts'
import { startPeripheral } from './peripheral-process.ts'

const missing = !hasBtvirt()
if (missing && process.env['CI'] === 'true') throw new Error(BTVIRT_MISSING)
const patience = { timeoutMs: 10_000 }

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function world() {
  const radio = await startBtvirt()
  open.push(radio)
  const adapter = await radio.add()
  const transport = new NobleTransport({ kind: 'uart', port: adapter, baud: 1_000_000 }, systemClock)
  open.push(transport)
  await transport.open(patience)
  const heard = new Promise<Heard>((resolve) =>
    transport.onHeard((one) => resolve({ ...one, data: Uint8Array.from(one.data) })),
  )
  await transport.scan(true, patience)
  const process = await startPeripheral(await radio.add(), 'thermometer')
  open.push(process)
  return { transport, process, heard: await heard }
}

describe.skipIf(missing)(
  `our HCI transport on BlueZ's emulated controllers (${BTVIRT_MISSING})`,
  { timeout: 30_000 },
  () => {
    it('hears bleno advertise, connects, reads, writes both ways and is notified', async () => {
      const { transport, process, heard } = await world()
      expect(heard).toMatchObject({ mac: expect.stringMatching(/^([0-9A-F]{2}:){5}[0-9A-F]{2}$/), connectable: true })
      // This emulator says 127, "not available", for every signal strength.
      expect(heard.rssiDbm).toBeUndefined()
      expect(Buffer.from(heard.data).toString('hex')).toContain('1a18')
      const link = await transport.connect({ mac: heard.mac, random: heard.random, mtu: 256 }, patience)
      const remotes = await link.discover(patience)
      const of = (uuid: string) => {
        const found = remotes.find((one) => one.uuid === uuid)
        if (found === undefined) throw new Error(`no ${uuid} among ${remotes.map((one) => one.uuid).join()}`)
        return found
      }
      expect(link.mtu).toBe(256)
      expect(Buffer.from(await link.read(of('2a19'), patience)).toString('hex')).toBe('57')
      await link.write(of('fff1'), Uint8Array.of(0x17), true, patience)
      expect(await process.said((message) => 'wrote' in message)).toMatchObject({ wrote: '17', withoutResponse: false })
      await link.write(of('fff1'), Uint8Array.of(0x18), false, patience)
      expect(await process.said((message) => 'wrote' in message)).toMatchObject({ wrote: '18', withoutResponse: true })
      const told = new Promise<Uint8Array>((resolve) => {
        void link.subscribe(of('2a6e'), resolve, patience).then(() => process.tell({ temperature: -525 }))
      })
      expect(Buffer.from(await told).readInt16LE(0)).toBe(-525)
      expect(await transport.alive(patience)).toBe(true)
      await link.disconnect(patience)
      expect(await link.ended).toMatch(/disconnected/)
    })

    it('carries two thousand notifications in order and loses none', async () => {
      const { transport, process, heard } = await world()
      const link = await transport.connect({ mac: heard.mac, random: heard.random }, patience)
      const stream = (await link.discover(patience)).find(({ uuid }) => uuid === 'fff2')
      if (stream === undefined) throw new Error('no stream')
      const numbers: number[] = []
      const all = new Promise<void>((resolve) => {
        const listener = (bytes: Uint8Array) => {
          numbers.push(Buffer.from(bytes).readUInt32LE(0))
          if (numbers.length === 2000) resolve()
        }
        void link.subscribe(stream, listener, patience).then(() => process.tell({ stream: 2000, bytes: 20 }))
      })
      await all
      expect(numbers).toEqual(Array.from({ length: 2000 }, (_, number) => number))
    })
  },
)
