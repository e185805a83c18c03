import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import type { Board } from '../../firmware/tools/board.ts'
import { openPtyPair, type PtyPair } from '../pty.ts'
import { type OwnedChild, startOwned } from './child.ts'
import type { BoardLine, BoardRig, LineKind, RigOptions } from './rig.ts'

/** Starts the host port: the same core and application as a process, its flash a file here. */
export async function startHost(options: RigOptions): Promise<BoardRig> {
  const rig = new HostRig(options)
  await rig.openLines()
  await rig.powerOn()
  return rig
}

class HostRig implements BoardRig {
  readonly kind = 'host'
  readonly lines: readonly HostLine[]
  readonly #board: Board
  readonly #program: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-rig-'))
  #child: OwnedChild | undefined

  constructor(options: RigOptions) {
    this.#board = options.build.board
    this.#program = options.build.elf
    this.lines = (options.lines ?? ['pty']).map((kind, index) => new HostLine(kind, index, this.#folder))
    const flash = new Uint8Array(this.#board.flash.size).fill(0xff)
    for (const { address, bytes } of options.memory ?? []) flash.set(bytes, address - this.#board.flash.base)
    writeFileSync(this.#flashFile, flash)
  }

  get board(): string {
    return this.#board.name
  }

  get #flashFile(): string {
    return join(this.#folder, 'flash.bin')
  }

  async openLines(): Promise<void> {
    for (const line of this.lines) await line.open()
  }

  async powerOn(): Promise<void> {
    if (this.#child !== undefined) return
    const args = await Promise.all(this.lines.map((line, index) => line.argument(index)))
    const child = startOwned(this.#program, [...args.flat(), '--flash', this.#flashFile])
    this.#child = child
    const ended = child.exited.then((): never => {
      throw new SluiceError('SLUICE_HIL_RIG_FAILED', `the firmware ended: ${child.said().trim()}`)
    })
    ended.catch(() => undefined)
    await Promise.race([Promise.all(this.lines.map((line) => line.attached())), ended])
  }

  async powerCut(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    await child?.kill()
    for (const line of this.lines) line.detach()
  }

  async reset(): Promise<void> {
    await this.powerCut()
    await this.powerOn()
  }

  async hang(): Promise<void> {
    this.#signal('SIGSTOP')
  }

  async resume(): Promise<void> {
    this.#signal('SIGCONT')
  }

  #signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    if (this.#child !== undefined) process.kill(this.#child.pid, signal)
  }

  async readFlash(): Promise<Uint8Array> {
    return new Uint8Array(readFileSync(this.#flashFile))
  }

  async writeFlash(address: number, bytes: Uint8Array): Promise<void> {
    if (this.#child !== undefined) throw cannot('have its flash changed while it runs: cut its power first')
    const flash = await this.readFlash()
    flash.set(bytes, address - this.#board.flash.base)
    writeFileSync(this.#flashFile, flash)
  }

  async setTemperature(): Promise<void> {
    throw cannot('have a sensor')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.powerCut()
    for (const line of this.lines) await line.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** `pty`: a pseudo-terminal of which the firmware has one side by a second one here; `tcp` and `stream`: a unix socket. */
class HostLine implements BoardLine {
  readonly kind: LineKind
  readonly path: string
  readonly #socketPath: string
  #pty: PtyPair | undefined
  #server: Server | undefined
  #far: Socket | undefined
  #callee: Server | undefined
  #called: (() => void) | undefined
  #near: Socket | undefined
  #listener: (chunk: Uint8Array) => void = () => undefined

  constructor(kind: LineKind, index: number, folder: string) {
    this.kind = kind
    this.path = join(folder, `u${index}.tty`)
    this.#socketPath = join(folder, `u${index}.sock`)
  }

  async open(): Promise<void> {
    if (this.kind === 'pty') {
      this.#pty = openPtyPair()
      this.#pty.onData((chunk) => this.write(chunk))
      this.#listener = (chunk) => void this.#pty?.write(chunk)
      symlinkSync(this.#pty.path, this.path)
    } else if (this.kind === 'tcp') {
      this.#listener = (chunk) => void this.#far?.write(chunk)
      const server = createServer({ noDelay: true }, (socket) => {
        this.#far?.destroy()
        this.#far = socket
        socket.on('data', (chunk: Uint8Array) => this.write(chunk))
        socket.on('error', () => undefined)
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      this.#server = server
    }
  }

  /** The firmware calls here when it starts, and again when it has reset itself. */
  async argument(index: number): Promise<string[]> {
    const server = createServer({ noDelay: true }, (socket) => {
      this.#near?.destroy()
      this.#near = socket
      socket.on('error', () => undefined)
      socket.on('data', (chunk: Uint8Array) => this.#listener(chunk))
      this.#called?.()
    })
    await new Promise<void>((resolve) => server.listen(this.#socketPath, resolve))
    this.#callee = server
    return ['--uart', `${index}=${this.#socketPath}`]
  }

  async attached(): Promise<void> {
    if (this.#near === undefined) await new Promise<void>((resolve) => void (this.#called = resolve))
  }

  detach(): void {
    this.#callee?.close()
    this.#near?.destroy()
    this.#near = undefined
    rmSync(this.#socketPath, { force: true })
  }

  get tcp(): { host: string; port: number } {
    const address = this.#server?.address()
    return { host: '127.0.0.1', port: typeof address === 'object' && address !== null ? address.port : 0 }
  }

  write(bytes: Uint8Array): void {
    this.#near?.write(bytes)
  }

  onData(listener: (chunk: Uint8Array) => void): void {
    this.#listener = listener
  }

  async close(): Promise<void> {
    await this.#pty?.[Symbol.asyncDispose]()
    this.#far?.destroy()
    this.#server?.close()
  }
}

function cannot(what: string): SluiceError {
  return new SluiceError('SLUICE_HIL_RIG_CANNOT', `the host port cannot ${what}`)
}
