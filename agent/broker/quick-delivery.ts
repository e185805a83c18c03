import type { Duplex } from 'node:stream'
import type { Client } from 'aedes'
import type { BrokerMessage } from './emitter.ts'

/** What a message must be to be sent to a client, and which one. */
type Admit = (client: Client, topic: string) => boolean

type Delivery = BrokerMessage & { readonly brokerId?: string | null; readonly brokerCounter?: number }

/**
 * Delivers messages that need no acknowledgement in aedes' place: a packet is encoded once for all its subscribers, and
 * what one turn of the event loop has for a client goes to its socket in one piece. aedes makes three copies, two
 * turns of the event loop and five writes of each message for each subscriber.
 */
export class QuickDelivery {
  readonly #admit: Admit
  readonly #pending = new Map<Duplex, Buffer[]>()
  #message: { readonly payload: unknown; readonly topic: string; readonly retain: boolean } | undefined
  #encoded: Buffer = Buffer.alloc(0)

  constructor(admit: Admit) {
    this.#admit = admit
  }

  /** Called before the client's first subscription. */
  attach(client: Client): void {
    // The numbers of the messages that a client has got already, by broker: aedes' own, because it uses them as well.
    const known: unknown = Reflect.get(client, 'duplicates')
    const duplicates = isNumbers(known) ? known : {}
    const deliver = (message: Delivery, done: () => void): void => {
      const { brokerId, brokerCounter = 0, topic } = message
      const isNew = typeof brokerId !== 'string' || (duplicates[brokerId] ?? 0) < brokerCounter
      if (isNew && typeof brokerId === 'string') duplicates[brokerId] = brokerCounter
      const { conn } = client
      if (isNew && !client.closed && !conn.destroyed && this.#admit(client, topic)) {
        this.#send(conn, this.#encode(message))
      }
      if (conn.writableNeedDrain && !conn.destroyed) setImmediate(done)
      else done()
    }
    Reflect.set(client, 'deliver0', deliver)
  }

  /** Bytes that wait for the end of this turn, for one client. */
  #send(connection: Duplex, packet: Buffer): void {
    let packets = this.#pending.get(connection)
    if (packets === undefined) {
      if (this.#pending.size === 0) setImmediate(() => this.#flush())
      this.#pending.set(connection, (packets = []))
    }
    packets.push(packet)
  }

  #flush(): void {
    for (const [connection, packets] of this.#pending) {
      if (!connection.destroyed && connection.writable) {
        connection.write(packets.length === 1 ? packets[0]! : Buffer.concat(packets))
      }
    }
    this.#pending.clear()
  }

  #encode(message: Delivery): Buffer {
    const { payload, topic, retain } = message
    const last = this.#message
    if (last !== undefined && last.payload === payload && last.topic === topic && last.retain === retain) {
      return this.#encoded
    }
    this.#message = { payload, topic, retain }
    this.#encoded = encodePublish(topic, typeof payload === 'string' ? Buffer.from(payload) : payload, retain)
    return this.#encoded
  }
}

/** PUBLISH with QoS 0 (MQTT 3.1.1, section 3.3). */
export function encodePublish(topic: string, payload: Buffer, retain: boolean): Buffer {
  const topicBytes = Buffer.byteLength(topic)
  const rest = 2 + topicBytes + payload.length
  const lengthBytes = rest < 128 ? 1 : rest < 16_384 ? 2 : rest < 2_097_152 ? 3 : 4
  const packet = Buffer.allocUnsafe(1 + lengthBytes + rest)
  packet[0] = retain ? 0x31 : 0x30
  let left = rest
  for (let at = 1; at <= lengthBytes; at++) {
    packet[at] = at < lengthBytes ? (left & 0x7f) | 0x80 : left
    left >>>= 7
  }
  const start = 1 + lengthBytes
  packet.writeUInt16BE(topicBytes, start)
  packet.write(topic, start + 2)
  payload.copy(packet, start + 2 + topicBytes)
  return packet
}

const isNumbers = (value: unknown): value is Record<string, number> => typeof value === 'object' && value !== null
