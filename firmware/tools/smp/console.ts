/**
 * mcumgr's console framing: lines of base64 behind 06 09, continued behind 04 14, each ended by a newline and at most 127
 * bytes long. Inside: length with the CRC (2 bytes), packet, CRC-16/XMODEM.
 */

const LINE_BYTES = 93
const LINE_MAX = 127

/** CRC-16/XMODEM: polynomial 0x1021, start 0. */
export function crc16Xmodem(bytes: Uint8Array): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = ((crc & 0x8000) !== 0 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff
  }
  return crc
}

export function encodeConsole(packet: Uint8Array): Uint8Array {
  const framed = Buffer.alloc(packet.length + 4)
  framed.writeUInt16BE(packet.length + 2, 0)
  framed.set(packet, 2)
  framed.writeUInt16BE(crc16Xmodem(packet), packet.length + 2)
  const parts: Buffer[] = []
  for (let at = 0; at < framed.length; at += LINE_BYTES) {
    parts.push(Buffer.from(at === 0 ? [0x06, 0x09] : [0x04, 0x14]))
    parts.push(Buffer.from(`${framed.subarray(at, at + LINE_BYTES).toString('base64')}\n`, 'latin1'))
  }
  return Buffer.concat(parts)
}

/** Finds packets among whatever else a console says. One that is damaged is dropped and counted. */
export class ConsoleDecoder {
  readonly #maxBytes: number
  readonly #onPacket: (packet: Uint8Array) => void
  #line: number[] = []
  #overlong = false
  #packet: Buffer | undefined
  damaged = 0

  constructor(onPacket: (packet: Uint8Array) => void, maxBytes = 4096) {
    this.#onPacket = onPacket
    this.#maxBytes = maxBytes
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte === 0x0a || byte === 0x0d) {
        if (!this.#overlong && this.#line.length > 2) this.#take(Buffer.from(this.#line))
        this.#line = []
        this.#overlong = false
      } else if (byte === 0x06 || (byte === 0x04 && this.#line[0] !== 0x06)) {
        // A packet may begin right behind text or noise that had no newline.
        this.#line = [byte]
        this.#overlong = false
      } else if (this.#line.length < LINE_MAX) this.#line.push(byte)
      else this.#overlong = true
    }
  }

  #take(line: Buffer): void {
    const marker = line.readUInt16BE(0)
    if (marker !== 0x0609 && marker !== 0x0414) return
    const text = line.subarray(2).toString('latin1')
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || (marker === 0x0414 && this.#packet === undefined)) {
      this.#drop()
      return
    }
    const part = Buffer.from(text, 'base64')
    this.#packet = marker === 0x0609 || this.#packet === undefined ? part : Buffer.concat([this.#packet, part])
    if (this.#packet.length > this.#maxBytes + 4) this.#drop()
    else this.#finish(this.#packet)
  }

  #finish(framed: Buffer): void {
    if (framed.length < 4) return
    const length = framed.readUInt16BE(0)
    if (framed.length < length + 2) return
    this.#packet = undefined
    const content = framed.subarray(2, length + 2)
    if (length < 2 || crc16Xmodem(content) !== 0) this.damaged++
    else this.#onPacket(Uint8Array.from(content.subarray(0, -2)))
  }

  #drop(): void {
    this.#packet = undefined
    this.damaged++
  }
}
