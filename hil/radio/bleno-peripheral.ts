import { type Bleno, type Characteristic, withBindings } from '@stoprocent/bleno'

/**
 * A peripheral run by bleno, in its own process: `fork(this, [port])`. It has a thermometer (181A/2A6E: read, notify), a
 * battery (180F/2A19), a setpoint that can be written (FFF1), a stream of notifications (FFF2), and the
 * pressure and temperature of an ST board, which it indicates (00140000-0001-11e1-ac36-0002a5d5c51b).
 *
 * It takes `{temperature: n}`, `{stream: count, bytes}`, `{board: hex}` (what the board says) and
 * says `{ready, mac}`, `{wrote: hex, withoutResponse}`, `{streamed: count}`, `{subscribed: uuid}`.
 */
const RESULT_SUCCESS = 0
/** Notifications handed to the stack between two looks at its queue. */
const BURST = 16

const port = process.argv[2] ?? ''
const name = process.argv[3] ?? 'thermometer'
const bleno: Bleno = withBindings('hci', {
  hciDriver: 'uart',
  bindParams: { uart: { port, baudRate: 1_000_000 } },
})
let temperature = 2150
let setpoint = Buffer.from([20])
let tellTemperature: ((data: Buffer) => void) | undefined
let tellBoard: ((data: Buffer) => void) | undefined
let tellStream: ((data: Buffer) => void) | undefined

const say = (message: Record<string, unknown>) => void process.send?.(message)
const int16 = (value: number) => {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16LE(value)
  return bytes
}

const make = (options: ConstructorParameters<typeof Characteristic>[0]) => new bleno.Characteristic(options)

const thermometer = make({
  uuid: '2a6e',
  properties: ['read', 'notify'],
  onReadRequest: (_, _offset, callback) => callback(RESULT_SUCCESS, int16(temperature)),
  onSubscribe: (_, _size, tell) => {
    tellTemperature = tell
    say({ subscribed: '2a6e' })
  },
})
const battery = make({
  uuid: '2a19',
  properties: ['read'],
  onReadRequest: (_, _offset, callback) => callback(RESULT_SUCCESS, Buffer.from([87])),
})
const writable = make({
  uuid: 'fff1',
  properties: ['read', 'write', 'writeWithoutResponse'],
  onReadRequest: (_, _offset, callback) => callback(RESULT_SUCCESS, setpoint),
  onWriteRequest: (_, data, _offset, withoutResponse, callback) => {
    setpoint = Buffer.from(data)
    say({ wrote: data.toString('hex'), withoutResponse })
    callback(RESULT_SUCCESS)
  },
})
const stream = make({
  uuid: 'fff2',
  properties: ['notify'],
  onSubscribe: (_, _size, tell) => {
    tellStream = tell
    say({ subscribed: 'fff2' })
  },
})

const board = make({
  uuid: '00140000000111e1ac360002a5d5c51b',
  properties: ['indicate'],
  onSubscribe: (_, _size, tell) => {
    tellBoard = tell
    say({ subscribed: '00140000000111e1ac360002a5d5c51b' })
  },
})

function flood(count: number, bytes: number): void {
  let sent = 0
  const burst = () => {
    for (let i = 0; i < BURST && sent < count; i++, sent++) {
      const data = Buffer.alloc(bytes)
      data.writeUInt32LE(sent)
      tellStream?.(data)
    }
    if (sent < count) setImmediate(burst)
    else say({ streamed: sent })
  }
  burst()
}

process.on('message', (message: unknown) => {
  if (typeof message !== 'object' || message === null) return
  const number = (key: string) => Number(Reflect.get(message, key))
  if ('temperature' in message) {
    temperature = number('temperature')
    tellTemperature?.(int16(temperature))
  }
  if ('board' in message) tellBoard?.(Buffer.from(String(Reflect.get(message, 'board')), 'hex'))
  if ('stream' in message) flood(number('stream'), number('bytes'))
})
process.on('disconnect', () => process.exit(0))

bleno.on('disconnect', () => {
  tellTemperature = undefined
  tellStream = undefined
  tellBoard = undefined
})
await bleno.waitForPoweredOnAsync()
await bleno.setServicesAsync([
  new bleno.PrimaryService({ uuid: '181a', characteristics: [thermometer] }),
  new bleno.PrimaryService({ uuid: '180f', characteristics: [battery] }),
  new bleno.PrimaryService({ uuid: 'fff0', characteristics: [writable, stream] }),
  new bleno.PrimaryService({ uuid: '0000000000011e19ab40002a5d5c51b0', characteristics: [board] }),
])
await bleno.startAdvertisingAsync(name, ['181a'])
say({ ready: true, mac: bleno.address.toUpperCase() })
