import type { Socket } from 'node:net'
import { SluiceError } from '../../api/errors.ts'

interface Waiting {
  resolve(value: unknown): void
  reject(reason: unknown): void
}

/** QEMU's control channel: one command at a time, JSON lines over a unix socket. */
export class Qmp implements AsyncDisposable {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []
  readonly #events = new Map<string, (() => void)[]>()
  #rest = ''
  #closed = false

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#data(chunk.toString()))
    socket.on('close', () => this.#end())
  }

  /** Takes over the connection QEMU made, and says hello. */
  static async over(socket: Socket): Promise<Qmp> {
    const qmp = new Qmp(socket)
    await qmp.command('qmp_capabilities')
    return qmp
  }

  command(execute: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw gone()
      this.#waiting.push({ resolve, reject })
      this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    })
  }

  /** Resolves at the next event of this name; call it before what causes the event. */
  next(event: string): Promise<void> {
    return new Promise((resolve) => {
      const list = this.#events.get(event) ?? []
      list.push(resolve)
      this.#events.set(event, list)
    })
  }

  #data(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.trim() !== '') this.#message(JSON.parse(line))
    }
  }

  #message(message: unknown): void {
    if (typeof message !== 'object' || message === null || 'QMP' in message) return
    if ('event' in message) {
      const name = String(message.event)
      const listeners = this.#events.get(name) ?? []
      this.#events.delete(name)
      for (const told of listeners) told()
    } else if ('return' in message) {
      this.#waiting.shift()?.resolve(message.return)
    } else if ('error' in message) {
      this.#waiting.shift()?.reject(refused(JSON.stringify(message.error)))
    }
  }

  #end(): void {
    this.#closed = true
    for (const one of this.#waiting.splice(0)) one.reject(gone())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy()
    this.#end()
  }
}

function refused(why: string): SluiceError {
  return new SluiceError('SLUICE_HIL_RIG_FAILED', `the emulator refused a command: ${why}`)
}

function gone(): SluiceError {
  return new SluiceError('SLUICE_HIL_RIG_FAILED', 'the emulator is gone')
}
