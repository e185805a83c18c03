/**
 * A Modbus unit made only to check a master against: it shares no code with the master, answers at once, and every
 * register holds a value that tells where it was read, so an answer handed to the wrong request shows.
 */

/** What register `address` of `unit` holds. */
export function registerValue(unit: number, address: number): number {
  return (address * 40_503 + unit * 257 + 1) & 0xffff
}

/** Coil `address` of `unit`. */
export function coilValue(unit: number, address: number): boolean {
  return (registerValue(unit, address) & 0x20) !== 0
}

/** The answer to a request PDU, or undefined for a function it does not have (exception 1 is the caller's to make). */
export function answerPdu(unit: number, pdu: Uint8Array): Uint8Array {
  const fc = pdu[0] ?? 0
  const address = word(pdu, 1)
  const count = word(pdu, 3)
  if (fc === 1 || fc === 2) {
    const answer = new Uint8Array(2 + Math.ceil(count / 8))
    answer.set([fc, answer.length - 2])
    for (let i = 0; i < count; i++) if (coilValue(unit, address + i)) answer[2 + Math.floor(i / 8)]! |= 1 << (i % 8)
    return answer
  }
  if (fc === 3 || fc === 4 || fc === 23) {
    const answer = new Uint8Array(2 + 2 * count)
    answer.set([fc, 2 * count])
    for (let i = 0; i < count; i++) putWord(answer, 2 + 2 * i, registerValue(unit, address + i))
    return answer
  }
  if (fc === 5 || fc === 6) return pdu.slice(0, 5)
  if (fc === 15 || fc === 16) return pdu.slice(0, 5)
  if (fc === 22) return pdu.slice(0, 7)
  return Uint8Array.of(fc | 0x80, 1)
}

/** Serial units behind one end of a line: give it what comes, send what it returns. */
export class RtuUnits {
  readonly #units: ReadonlySet<number>
  #bytes = new Uint8Array(0)
  /** Whole requests to one of the units so far. */
  requests = 0

  constructor(units: Iterable<number>) {
    this.#units = new Set(units)
  }

  /** Answers the requests that `chunk` completes. Noise in between is skipped. */
  push(chunk: Uint8Array): Uint8Array[] {
    const bytes = new Uint8Array(this.#bytes.length + chunk.length)
    bytes.set(this.#bytes)
    bytes.set(chunk, this.#bytes.length)
    const answers: Uint8Array[] = []
    let done = 0
    for (let at = 0; at + 8 <= bytes.length; ) {
      const length = requestFrameLength(bytes, at)
      if (length <= 256 && at + length <= bytes.length && crcBitwise(bytes.subarray(at, at + length)) === 0) {
        const unit = bytes[at]!
        if (this.#units.has(unit)) {
          this.requests++
          answers.push(rtuFrame(unit, answerPdu(unit, bytes.subarray(at + 1, at + length - 2))))
        }
        at += length
        done = at
      } else {
        at++
      }
    }
    this.#bytes = bytes.slice(Math.max(done, bytes.length - 512))
    return answers
  }
}

/** Cuts Modbus TCP requests out of a stream and answers them; returns the bytes to send. */
export class TcpUnits {
  #rest = Buffer.alloc(0)

  push(chunk: Uint8Array): Uint8Array {
    const bytes = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk])
    const answers: Uint8Array[] = []
    let at = 0
    while (at + 6 <= bytes.length && at + 6 + bytes.readUInt16BE(at + 4) <= bytes.length) {
      const end = at + 6 + bytes.readUInt16BE(at + 4)
      const unit = bytes[at + 6]!
      const pdu = answerPdu(unit, bytes.subarray(at + 7, end))
      const frame = Buffer.alloc(7 + pdu.length)
      bytes.copy(frame, 0, at, at + 4)
      frame.writeUInt16BE(pdu.length + 1, 4)
      frame[6] = unit
      frame.set(pdu, 7)
      answers.push(frame)
      at = end
    }
    this.#rest = Buffer.from(bytes.subarray(at))
    return answers.length === 1 ? answers[0]! : Buffer.concat(answers)
  }
}

/** Unit, PDU and CRC. */
export function rtuFrame(unit: number, pdu: Uint8Array): Uint8Array {
  const frame = new Uint8Array(pdu.length + 3)
  frame[0] = unit
  frame.set(pdu, 1)
  const crc = crcBitwise(frame.subarray(0, -2))
  frame[frame.length - 2] = crc & 0xff
  frame[frame.length - 1] = crc >> 8
  return frame
}

/** The CRC of the specification's flow chart, bit by bit; 0 over a frame that ends in its own CRC. */
function crcBitwise(bytes: Uint8Array): number {
  let crc = 0xffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0xa001)
  }
  return crc
}

function requestFrameLength(bytes: Uint8Array, at: number): number {
  const fc = bytes[at + 1]!
  if (fc === 15 || fc === 16) return 9 + (bytes[at + 6] ?? 255)
  if (fc === 22) return 10
  if (fc === 23) return 13 + (bytes[at + 10] ?? 255)
  return fc === 43 ? 7 : 8
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

function putWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8
  bytes[at + 1] = value & 0xff
}
