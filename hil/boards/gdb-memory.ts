import type { Socket } from 'node:net'
import { SluiceError } from '../../api/errors.ts'

/** Bytes a packet carries; QEMU takes up to 4 KiB of packet. */
const chunkBytes = 1024

/**
 * Writes memory of a halted emulator through its GDB stub. Unlike an image given on the command line, which is put back at
 * every reset, what is written this way is the flash's own content.
 */
export async function writeThroughGdb(socket: Socket, address: number, bytes: Uint8Array): Promise<void> {
  try {
    const answers = new GdbAnswers(socket)
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      const part = bytes.subarray(at, at + chunkBytes)
      const body = `M${(address + at).toString(16)},${part.length.toString(16)}:${Buffer.from(part).toString('hex')}`
      const answer = await answers.ask(body)
      if (answer !== 'OK') throw failed(`writing at 0x${(address + at).toString(16)} was answered with '${answer}'`)
    }
    // Leaves the machine as it is: halted, nobody attached.
    await answers.ask('D')
  } finally {
    socket.destroy()
  }
}

class GdbAnswers {
  readonly #socket: Socket
  #text = ''
  #wake: (() => void) | undefined
  #ended = false

  constructor(socket: Socket) {
    this.#socket = socket
    const end = () => {
      this.#ended = true
      this.#wake?.()
    }
    socket.on('close', end)
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1')
      this.#wake?.()
    })
  }

  async ask(body: string): Promise<string> {
    let sum = 0
    for (const character of body) sum = (sum + character.charCodeAt(0)) & 0xff
    this.#socket.write(`$${body}#${sum.toString(16).padStart(2, '0')}`)
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
}

function failed(what: string): SluiceError {
  return new SluiceError('SLUICE_HIL_RIG_FAILED', `debugging the emulator failed: ${what}`)
}
