import { once } from 'node:events'
import { type IServiceVector, ServerSerial } from 'modbus-serial'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { seededRandom } from '../../hil/random.ts'
import { type SerialLine, serialLine } from '../../hil/serial-line.ts'
import { preciseClock } from '../../mappers/modbus/precise-clock.ts'
import { twinOf } from '../harness/devices.ts'
import { counterModel } from '../harness/fleet.ts'
import { Stack } from '../harness/stack.ts'
import { isReported, readStream } from '../harness/stream.ts'

const BAUD = 9600
/** An answer of nine bytes passes in about this time; the adapter is pulled somewhere inside one. */
const FRAME_MS = 9
const ROUNDS = 6
/** Numbers the meter gives out are multiples of this: half of one and half of another is none. */
const STEP = 65_537

let stack: Stack
let line: SerialLine
let server: ServerSerial
let given = 0
/** Called when a request has arrived and its answer is about to go out. */
let onRequest: () => void = () => {}

beforeAll(async () => {
  stack = await Stack.start()
  line = serialLine({ baud: BAUD }, preciseClock)
  const vector: IServiceVector = {
    getMultipleInputRegisters(_address: number, count: number) {
      const value = (++given * STEP) >>> 0
      onRequest()
      return [value >>> 16, value & 0xffff].slice(0, count)
    },
  }
  // The server parses by silence; the type of its options does not know the setting for it.
  const options = { path: line.paths[1]!, baudRate: BAUD, unitID: 1, interval: 12 }
  server = new ServerSerial(vector, options)
  await once(server, 'initialized')
  await stack.createModel('counter', counterModel)
  await stack.createModel('meter', { properties: [{ name: 'count', type: 'int', modbus: { input: 0, as: 'uint32' } }] })
  const rtu = { port: line.paths[0]!, baud: BAUD }
  await stack.createDevice('meter', {
    model: 'meter',
    poll: { every: '100ms' },
    modbus: { rtu, unit: 1, timeout: '300ms' },
  })
  await stack.createDevice('drive', stack.counterDevice(1, '50ms'))
}, 60_000)

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  server?.close(() => {})
  await line?.[Symbol.asyncDispose]()
})
beforeEach(() => stack.tellOnFailure())

describe('a serial adapter that is pulled out in the middle of a frame', { timeout: 90_000 }, () => {
  it('comes back by itself when it is plugged in again, and no value is ever wrong', async () => {
    await using stream = readStream(stack.cloudEndpoint, { device: `${stack.namespace}/` })
    const good = (name: string) =>
      stream.events
        .filter(isReported)
        .filter((e) => e.device === `${stack.namespace}/${name}` && e.property === 'count' && e.quality === 'good')
        .map(({ value }) => Number(value))
    const isGood = (after: number) => (e: (typeof stream.events)[number]) =>
      isReported(e) && e.device.endsWith('/meter') && e.quality === 'good' && Number(e.value) > after * STEP
    await stream.until(isGood(2), 'the meter counts')
    const random = seededRandom(7)
    for (let round = 0; round < ROUNDS; round++) {
      const pulled = new Promise<void>((resolve) => {
        onRequest = () => {
          onRequest = () => {}
          systemClock.after(random() * FRAME_MS * 1.5, () => void line.unplug(0).then(resolve))
        }
      })
      await pulled
      const before = given
      await stack.devices.until('meter', (d) => d.status?.state === 'offline', `round ${round}: the meter is offline`)
      if (round === 0) {
        const device = await stack.devices.until(
          'meter',
          (d) => twinOf(d, 'count')?.reported?.quality !== 'good',
          'quality',
        )
        expect(twinOf(device, 'count')?.reported?.quality).toBe('bad(link-down)')
      }
      line.plug(0)
      await stream.until(isGood(before), `round ${round}: the meter counts again`)
      await stack.devices.until('meter', (d) => d.status?.state === 'online', `round ${round}: the meter is online`)
    }
    const values = good('meter')
    expect(values.filter((value) => value % STEP !== 0 || value / STEP > given)).toEqual([])
    expect(values).toEqual(values.toSorted((a, b) => a - b))
    expect(new Set(values).size).toBe(values.length)
    // The other device of the gateway, on TCP, did not notice.
    const counts = good('drive')
    expect(counts).toEqual(Array.from({ length: counts.length }, (_, index) => counts[0]! + index))
  })
})
