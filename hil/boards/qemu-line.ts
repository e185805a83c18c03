import { rmSync, symlinkSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { type Acceptor, acceptOne } from './accept.ts'
import type { Qmp } from './qmp.ts'
import type { BoardLine, LineKind } from './rig.ts'

/** A serial line of an emulated machine, over power cuts. */
export class QemuLine implements BoardLine {
  readonly kind: LineKind
  readonly #id: string
  readonly #folder: string
  #listener: (chunk: Uint8Array) => void = () => undefined
  #socket: Socket | undefined
  #acceptor: Acceptor | undefined
  #port = 0

  constructor(kind: LineKind, index: number, folder: string) {
    this.kind = kind
    this.#id = `u${index}`
    this.#folder = folder
  }

  get path(): string {
    return join(this.#folder, `${this.#id}.tty`)
  }

  get tcp(): { host: string; port: number } {
    return { host: '127.0.0.1', port: this.#port }
  }

  /** Arguments that give the machine this line; from then on it may call. */
  async arguments(): Promise<string[]> {
    if (this.kind === 'stream') this.#acceptor = await acceptOne(this.#socketPath)
    const kinds = {
      pty: `pty,id=${this.#id}`,
      tcp: `socket,id=${this.#id},host=127.0.0.1,port=0,server=on,wait=off,nodelay=on`,
      stream: `socket,id=${this.#id},path=${this.#socketPath}`,
    }
    return ['-chardev', kinds[this.kind], '-serial', `chardev:${this.#id}`]
  }

  get #socketPath(): string {
    return join(this.#folder, `${this.#id}.sock`)
  }

  /** Finds out where the machine put this line; the machine is halted, so that nothing is lost. */
  async attach(qmp: Qmp): Promise<void> {
    if (this.#acceptor !== undefined) {
      this.#socket = await this.#acceptor.socket
      this.#socket.on('data', (chunk: Uint8Array) => this.#listener(chunk))
      return
    }
    const all = await qmp.command('query-chardev')
    const file = chardevFile(all, this.#id)
    const pty = /^pty:(.*)$/.exec(file)?.[1]
    const port = /tcp:127\.0\.0\.1:(\d+)/.exec(file)?.[1]
    if (pty !== undefined) {
      rmSync(this.path, { force: true })
      symlinkSync(pty, this.path)
    } else if (port !== undefined) {
      this.#port = Number(port)
    } else {
      throw new SluiceError('SLUICE_HIL_RIG_FAILED', `the emulator does not say where its line ${this.#id} is`)
    }
  }

  detach(): void {
    this.#acceptor?.close()
    this.#socket?.destroy()
    this.#socket = undefined
    rmSync(this.path, { force: true })
    rmSync(this.#socketPath, { force: true })
  }

  write(bytes: Uint8Array): void {
    this.#socket?.write(bytes)
  }

  onData(listener: (chunk: Uint8Array) => void): void {
    this.#listener = listener
  }
}

function chardevFile(all: unknown, id: string): string {
  if (!Array.isArray(all)) return ''
  const one: unknown = all.find((each: unknown) => isRecord(each) && each['label'] === id)
  return isRecord(one) ? String(one['filename']) : ''
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
