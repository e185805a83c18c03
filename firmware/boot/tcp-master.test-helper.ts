import { connect, type Socket } from 'node:net'
import { delay, systemClock } from '../../api/clock.ts'
import type { BoardRig } from '../../hil/boards/rig.ts'

function crc16(bytes: Uint8Array): number {
  let crc = 0xffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >> 1) ^ 0xa001 : crc >> 1
  }
  return crc
}

/** A bare Modbus RTU master over a rig's TCP line, for PDUs that no mapper knows. One request at a time. */
export class TcpMaster implements Disposable {
  readonly #socket: Socket
  #heard: Buffer = Buffer.alloc(0)
  #wake: () => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      this.#heard = Buffer.concat([this.#heard, chunk])
      this.#wake()
    })
  }

  static open(rig: BoardRig): Promise<TcpMaster> {
    const tcp = rig.lines[0]?.tcp
    if (tcp === undefined) throw new Error('the line is no TCP port')
    return new Promise((resolve, reject) => {
      const socket = connect(tcp.port, tcp.host)
      socket.once('error', reject)
      socket.once('connect', () => resolve(new TcpMaster(socket)))
    })
  }

  /** The answer PDU; undefined when none came in time. */
  async request(pdu: Uint8Array, timeoutMs: number, unit = 1): Promise<Uint8Array | undefined> {
    const frame = Buffer.concat([Buffer.from([unit]), pdu, Buffer.alloc(2)])
    frame.writeUInt16LE(crc16(frame.subarray(0, -2)), frame.length - 2)
    await delay(systemClock, 3) // t3.5 at 115 200 baud
    this.#heard = Buffer.alloc(0)
    this.#socket.write(frame)
    const deadline = Promise.withResolvers<false>()
    const timer = systemClock.after(timeoutMs, () => deadline.resolve(false))
    try {
      while (this.#heard.length < 5 || crc16(this.#heard) !== 0) {
        const more = new Promise<true>((resolve) => {
          this.#wake = () => resolve(true)
        })
        if (!(await Promise.race([more, deadline.promise]))) return undefined
      }
      return Uint8Array.from(this.#heard.subarray(1, -2))
    } finally {
      timer.cancel()
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}
