import type { Socket } from 'node:net'
import { SluiceError } from '../../api/errors.ts'

const CHUNK_BYTES = 1024
/** SIGTRAP: a breakpoint or the end of a step. That the control channel halted the machine is SIGINT, and no news. */
const TRAPPED = /^[ST]05/
const STOPPED = /^[ST]/

/**
 * Memory, registers and breakpoints of an emulator that stands still, through its GDB stub. Whether it runs is decided
 * over the control channel alone: two channels overtake each other, and a byte that comes here while the machine runs
 * halts it and is lost. For the same reason nothing is acknowledged; the next command does that.
 */
export class GdbControl implements Disposable {
  readonly #socket: Socket
  readonly #packets: string[] = []
  #rest = ''
  #traps = 0
  #before: Promise<unknown> = Promise.resolve()
  readonly #waiting = new Set<() => void>()
  #ended = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('close', () => {
      this.#ended = true
      this.#wake()
    })
    socket.on('data', (chunk: Buffer) => {
      this.#rest += chunk.toString('latin1')
      for (let match = PACKET.exec(this.#rest); match !== null; match = PACKET.exec(this.#rest)) {
        this.#rest = this.#rest.slice(match.index + match[0].length)
        const said = match[1] ?? ''
        if (TRAPPED.test(said)) this.#traps++
        if (!STOPPED.test(said)) this.#packets.push(said)
      }
      this.#wake()
    })
  }

  async read(address: number, size: number): Promise<Uint8Array> {
    const parts: Buffer[] = []
    for (let at = 0; at < size; at += CHUNK_BYTES) {
      const part = Math.min(CHUNK_BYTES, size - at)
      parts.push(Buffer.from(await this.#ask(`m${(address + at).toString(16)},${part.toString(16)}`), 'hex'))
    }
    return Uint8Array.from(Buffer.concat(parts))
  }

  async write(address: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      const part = bytes.subarray(at, at + CHUNK_BYTES)
      const place = `${(address + at).toString(16)},${part.length.toString(16)}`
      await this.#ok(`M${place}:${Buffer.from(part).toString('hex')}`)
    }
  }

  /** r0 to r15. */
  async registers(): Promise<readonly number[]> {
    const bytes = Buffer.from(await this.#ask('g'), 'hex')
    return Array.from({ length: 16 }, (_, at) => bytes.readUInt32LE(4 * at))
  }

  async breakAt(address: number): Promise<void> {
    await this.#ok(`Z0,${address.toString(16)},2`)
  }

  async unbreak(address: number): Promise<void> {
    await this.#ok(`z0,${address.toString(16)},2`)
  }

  /** One instruction. */
  async step(): Promise<void> {
    this.#send('s')
    await this.trapped()
  }

  /** Resolves true when a breakpoint was met; false when `until` comes first, and none was met before. */
  async trapped(until?: AbortSignal): Promise<boolean> {
    const aborted = () => this.#wake()
    until?.addEventListener('abort', aborted)
    try {
      while (this.#traps === 0) {
        if (until?.aborted === true) return false
        await this.#more()
      }
      this.#traps--
      return true
    } finally {
      until?.removeEventListener('abort', aborted)
    }
  }

  async #ok(body: string): Promise<void> {
    const answer = await this.#ask(body)
    if (answer !== 'OK') throw failed(`'${body.slice(0, 20)}' was answered with '${answer}'`)
  }

  /** One after the other, whoever asks. */
  #ask(body: string): Promise<string> {
    const answer = this.#before.then(async () => {
      this.#send(body)
      while (this.#packets.length === 0) await this.#more()
      return this.#packets.shift() ?? ''
    })
    this.#before = answer.catch(() => undefined)
    return answer
  }

  #send(body: string): void {
    let sum = 0
    for (const character of body) sum = (sum + character.charCodeAt(0)) & 0xff
    this.#socket.write(`$${body}#${sum.toString(16).padStart(2, '0')}`)
  }

  #wake(): void {
    for (const told of this.#waiting) told()
    this.#waiting.clear()
  }

  async #more(): Promise<void> {
    if (this.#ended) throw failed('the connection ended')
    await new Promise<void>((resolve) => void this.#waiting.add(resolve))
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}

const PACKET = /\$([^#]*)#[0-9a-f]{2}/

function failed(what: string): SluiceError {
  return new SluiceError('SLUICE_HIL_RIG_FAILED', `debugging the emulator failed: ${what}`)
}
