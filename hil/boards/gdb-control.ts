import type { Socket } from 'node:net'
import { SluiceError } from '../../api/errors.ts'

const CHUNK_BYTES = 1024
const STOP = /^[ST]/

/** A halted or running emulator through its GDB stub: memory, breakpoints, one step, go. One command at a time. */
export class GdbControl implements Disposable {
  readonly #socket: Socket
  #text = ''
  #wake: (() => void) | undefined
  #ended = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('close', () => {
      this.#ended = true
      this.#wake?.()
    })
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1')
      this.#wake?.()
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
    await this.stopped()
  }

  /** Lets it run; `stopped` resolves when it halts by itself. */
  go(): void {
    this.#send('c')
  }

  /** Forgets what was said of stops before: the target is halted by now, by whatever. */
  async settle(): Promise<void> {
    this.#send('qC')
    for (let said = ''; !said.startsWith('QC'); ) said = await this.#packet()
  }

  async stopped(): Promise<void> {
    for (let said = ''; !STOP.test(said); ) said = await this.#packet()
  }

  async #ok(body: string): Promise<void> {
    const answer = await this.#ask(body)
    if (answer !== 'OK') throw failed(`'${body.slice(0, 20)}' was answered with '${answer}'`)
  }

  #ask(body: string): Promise<string> {
    this.#send(body)
    return this.#packet()
  }

  #send(body: string): void {
    let sum = 0
    for (const character of body) sum = (sum + character.charCodeAt(0)) & 0xff
    this.#socket.write(`$${body}#${sum.toString(16).padStart(2, '0')}`)
  }

  async #packet(): Promise<string> {
    for (;;) {
      const match = /\$([^#]*)#[0-9a-f]{2}/.exec(this.#text)
      if (match !== null) {
        this.#text = this.#text.slice(match.index + match[0].length)
        this.#socket.write('+')
        return match[1] ?? ''
      }
      if (this.#ended) throw failed('the connection ended')
      await new Promise<void>((resolve) => void (this.#wake = resolve))
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}

function failed(what: string): SluiceError {
  return new SluiceError('SLUICE_HIL_RIG_FAILED', `debugging the emulator failed: ${what}`)
}
