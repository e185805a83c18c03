import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { openPtyPair, type PtyPair } from '../pty.ts'
import type { BoardLine, BoardRig, LineKind, RigOptions } from './rig.ts'
import { Rp2040Chip } from './rp2040-chip.ts'

const flashBase = 0x10000000
/** The chip runs in slices of its own time between turns of the event loop. */
const sliceUs = 2000

/** An RP2040 in this process, kept at the pace of real time, with lines that others can open. */
export async function startRp2040(options: RigOptions): Promise<BoardRig & { readonly chip: Rp2040Chip }> {
  const rig = new Rp2040Rig(options)
  await rig.openLines()
  await rig.powerOn()
  return rig
}

class Rp2040Rig implements BoardRig {
  readonly kind = 'rp2040js'
  readonly board: string
  readonly lines: readonly ChipLine[]
  readonly chip: Rp2040Chip
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-rig-'))
  #running = false
  #powered = false
  #turn: NodeJS.Timeout | undefined
  #behindUs = 0
  #lastMs = 0

  constructor(options: RigOptions) {
    this.board = options.build.board.name
    if (this.board !== 'rp2040') throw cannot(`be a '${this.board}'`)
    // Stage 2 sets up hardware the emulator does not have; the chip starts at the table behind it.
    const slot = options.build.image === 'slotA' || options.build.image === 'slotB'
    this.chip = new Rp2040Chip(slot ? options.build.address : flashBase + 0x100)
    this.chip.flash.set(readFileSync(options.build.bin), options.build.address - flashBase)
    for (const { address, bytes } of options.memory ?? []) this.chip.flash.set(bytes, address - flashBase)
    this.lines = (options.lines ?? ['pty']).map((kind, index) => {
      return new ChipLine(kind, join(this.#folder, `u${index}.tty`), (bytes) => this.#hear(index, bytes))
    })
    this.chip.onByte = (line, byte) => this.lines[line]?.say(byte)
  }

  async openLines(): Promise<void> {
    for (const line of this.lines) await line.open()
  }

  #hear(line: number, bytes: Uint8Array): void {
    if (!this.#powered) return
    // The FIFO of the emulated part holds 32 bytes and has no pace: one at a time, and the chip gets time to take it.
    for (const byte of bytes) {
      this.chip.feed(line, byte)
      if (this.#running) this.chip.run(200, true)
    }
    this.#flush()
  }

  async powerOn(): Promise<void> {
    if (this.#powered) return
    this.#powered = true
    this.chip.start(true)
    await this.resume()
  }

  async powerCut(): Promise<void> {
    await this.hang()
    this.#powered = false
  }

  async reset(): Promise<void> {
    this.chip.start(false)
  }

  async hang(): Promise<void> {
    this.#running = false
    if (this.#turn !== undefined) clearTimeout(this.#turn)
    this.#turn = undefined
  }

  async resume(): Promise<void> {
    if (this.#running) return
    this.#running = true
    this.#lastMs = performance.now()
    this.#pace()
  }

  /** As much of the chip's time as has passed here, at most a slice at once: a slow machine runs it slower. */
  #pace(): void {
    if (!this.#running) return
    const nowMs = performance.now()
    this.#behindUs = Math.min(sliceUs, this.#behindUs + (nowMs - this.#lastMs) * 1000)
    this.#lastMs = nowMs
    this.chip.run(this.#behindUs)
    this.#behindUs = 0
    this.#flush()
    this.#turn = setTimeout(() => this.#pace(), 1)
  }

  #flush(): void {
    for (const line of this.lines) line.flush()
  }

  async readFlash(): Promise<Uint8Array> {
    return Uint8Array.from(this.chip.flash)
  }

  async writeFlash(address: number, bytes: Uint8Array): Promise<void> {
    this.chip.flash.set(bytes, address - flashBase)
  }

  async setTemperature(): Promise<void> {
    throw cannot('have a sensor')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hang()
    this.#powered = false
    for (const line of this.lines) await line.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

class ChipLine implements BoardLine {
  readonly kind: LineKind
  readonly path: string
  readonly #hear: (bytes: Uint8Array) => void
  #pty: PtyPair | undefined
  #server: Server | undefined
  #socket: Socket | undefined
  #listener: (chunk: Uint8Array) => void = () => undefined
  #out: number[] = []

  constructor(kind: LineKind, path: string, hear: (bytes: Uint8Array) => void) {
    this.kind = kind
    this.path = path
    this.#hear = hear
  }

  async open(): Promise<void> {
    if (this.kind === 'pty') {
      this.#pty = openPtyPair()
      this.#pty.onData(this.#hear)
      symlinkSync(this.#pty.path, this.path)
    } else if (this.kind === 'tcp') {
      const server = createServer({ noDelay: true }, (socket) => {
        this.#socket?.destroy()
        this.#socket = socket
        socket.on('data', this.#hear)
        socket.on('error', () => undefined)
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      this.#server = server
    }
  }

  get tcp(): { host: string; port: number } {
    const address = this.#server?.address()
    return { host: '127.0.0.1', port: typeof address === 'object' && address !== null ? address.port : 0 }
  }

  say(byte: number): void {
    this.#out.push(byte)
  }

  flush(): void {
    if (this.#out.length === 0) return
    const bytes = Uint8Array.from(this.#out)
    this.#out = []
    if (this.kind === 'stream') this.#listener(bytes)
    else if (this.kind === 'pty') this.#pty?.write(bytes)
    else this.#socket?.write(bytes)
  }

  write(bytes: Uint8Array): void {
    this.#hear(bytes)
  }

  onData(listener: (chunk: Uint8Array) => void): void {
    this.#listener = listener
  }

  async close(): Promise<void> {
    await this.#pty?.[Symbol.asyncDispose]()
    this.#socket?.destroy()
    this.#server?.close()
  }
}

function cannot(what: string): SluiceError {
  return new SluiceError('SLUICE_HIL_RIG_CANNOT', `an RP2040 in this process cannot ${what}`)
}
