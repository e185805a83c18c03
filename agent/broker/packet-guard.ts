import type { Duplex } from 'node:stream'

/** MQTT 3.1.1, section 2.2.3: the length takes at most four bytes. */
const MAX_LENGTH_BYTES = 4
/** Topic, packet identifier and, in CONNECT, names and passwords: what comes on top of a payload. */
const OVERHEAD_BYTES = 4096

/**
 * Follows the packets of a connection by their fixed headers alone and says when one announces more than is allowed,
 * before its first payload byte is kept. Costs a few steps a packet and copies nothing.
 */
export class PacketGuard {
  readonly #maxBytes: number
  /** Bytes of the current packet that are still to come. */
  #left = 0
  #inLength = false
  #length = 0
  #lengthBytes = 0

  constructor(maxPayloadBytes: number) {
    this.#maxBytes = maxPayloadBytes + OVERHEAD_BYTES
  }

  /** Whether the connection may go on. */
  take(chunk: Uint8Array): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at)
        this.#left -= step
        at += step
        continue
      }
      const byte = chunk[at++]!
      if (!this.#inLength) {
        this.#inLength = true
        this.#length = 0
        this.#lengthBytes = 0
        continue
      }
      this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes++
      if ((byte & 0x80) !== 0) {
        if (this.#lengthBytes === MAX_LENGTH_BYTES) return false
        continue
      }
      if (this.#length > this.#maxBytes) return false
      this.#inLength = false
      this.#left = this.#length
    }
    return true
  }
}

/** Looks at every byte that is read from `connection` and ends it with an error at a packet that is too large. */
export function guardPackets(connection: Duplex, maxPayloadBytes: number, onRefused: () => void): void {
  const guard = new PacketGuard(maxPayloadBytes)
  const read = connection.read.bind(connection)
  let refused = false
  connection.read = (size?: number) => {
    if (refused) return null
    const chunk: unknown = read(size)
    if (!(chunk instanceof Uint8Array) || guard.take(chunk)) return chunk
    refused = true
    onRefused()
    connection.destroy(new Error(`a packet has more than ${maxPayloadBytes} bytes`))
    return null
  }
}
