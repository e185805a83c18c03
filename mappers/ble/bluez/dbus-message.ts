import { DbusMalformed, DbusReader, type DbusValue, DbusWriter, Variant } from './dbus-values.ts'

/** D-Bus Specification 0.43, "Message Protocol". */
export const KIND = { call: 1, result: 2, error: 3, signal: 4 } as const
const FIELD = {
  path: 1,
  interface: 2,
  member: 3,
  error: 4,
  replySerial: 5,
  destination: 6,
  sender: 7,
  signature: 8,
} as const
const FIXED_BYTES = 16
const LITTLE = 0x6c
const BIG = 0x42
/** The specification allows 128 MiB; a thousand devices of BlueZ are one. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024

export interface DbusMessage {
  readonly kind: number
  readonly serial: number
  readonly path?: string
  readonly interface?: string
  readonly member?: string
  readonly error?: string
  readonly replySerial?: number
  readonly destination?: string
  readonly sender?: string
  readonly signature?: string
  readonly body: readonly DbusValue[]
}

/** Size of the message that starts at `at`; undefined while too little of it is there. @throws DbusMalformed */
export function messageBytes(bytes: Buffer, at: number): number | undefined {
  if (bytes.length - at < FIXED_BYTES) return undefined
  const order = bytes[at]
  if (order !== LITTLE && order !== BIG) throw new DbusMalformed('no message starts here')
  const u32 = (offset: number) => (order === LITTLE ? bytes.readUInt32LE(at + offset) : bytes.readUInt32BE(at + offset))
  const size = FIXED_BYTES + 8 * Math.ceil(u32(12) / 8) + u32(4)
  if (size > MAX_MESSAGE_BYTES) throw new DbusMalformed(`a message of ${size} bytes`)
  return size
}

/** Reads one whole message. @throws DbusMalformed */
export function readMessage(bytes: Buffer): DbusMessage {
  const little = bytes[0] === LITTLE
  const header = new DbusReader(bytes, 4, bytes.length, little)
  const bodyBytes = header.uint32()
  const serial = header.uint32()
  const bodyAt = bytes.length - bodyBytes
  if (bodyAt < FIXED_BYTES) throw new DbusMalformed('the body is longer than its message')
  const fields = new Map<number, DbusValue>()
  const listed = new DbusReader(bytes, header.at, bodyAt, little).value('a(yv)', 0)
  for (const entry of Array.isArray(listed) ? listed : []) {
    const [code, variant] = Array.isArray(entry) ? entry : []
    if (typeof code === 'number' && variant instanceof Variant) fields.set(code, variant.value)
  }
  const text = (code: number, name: string) => {
    const value = fields.get(code)
    return typeof value === 'string' ? { [name]: value } : {}
  }
  const signature = fields.get(FIELD.signature)
  const replySerial = fields.get(FIELD.replySerial)
  const body = typeof signature === 'string' ? new DbusReader(bytes, bodyAt, bytes.length, little).read(signature) : []
  return {
    kind: bytes[1]!,
    serial,
    ...text(FIELD.path, 'path'),
    ...text(FIELD.interface, 'interface'),
    ...text(FIELD.member, 'member'),
    ...text(FIELD.error, 'error'),
    ...text(FIELD.destination, 'destination'),
    ...text(FIELD.sender, 'sender'),
    ...text(FIELD.signature, 'signature'),
    ...(typeof replySerial === 'number' ? { replySerial } : {}),
    body,
  }
}

export function writeMessage(message: DbusMessage): Buffer {
  const { signature = '', body } = message
  const bodyBytes = new DbusWriter().write(signature, body).bytes
  const fields: DbusValue[] = []
  const put = (code: number, type: string, value: DbusValue | undefined) => {
    if (value !== undefined) fields.push([code, new Variant(type, value)])
  }
  put(FIELD.path, 'o', message.path)
  put(FIELD.interface, 's', message.interface)
  put(FIELD.member, 's', message.member)
  put(FIELD.error, 's', message.error)
  put(FIELD.replySerial, 'u', message.replySerial)
  put(FIELD.destination, 's', message.destination)
  if (signature !== '') put(FIELD.signature, 'g', signature)
  const header = new DbusWriter()
    .write('yyyyuua(yv)', [LITTLE, message.kind, 0, 1, bodyBytes.length, message.serial, fields])
    .align(8)
  return Buffer.concat([header.bytes, bodyBytes])
}
