import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import type { Board } from '../../firmware/tools/board.ts'
import { findTool } from '../../firmware/tools/toolchain.ts'
import { acceptOne } from './accept.ts'
import { type OwnedChild, startOwned } from './child.ts'
import { writeThroughGdb } from './gdb-memory.ts'
import { QemuLine } from './qemu-line.ts'
import { Qmp } from './qmp.ts'
import type { BoardRig, MemoryImage, RigOptions } from './rig.ts'

/** `nvmc`: the machine models the chip's own flash. `file`: its flash region is a file here. `rom`: nothing lasts. */
const machines: Readonly<Record<string, { readonly machine: string; readonly flash: 'nvmc' | 'file' | 'rom' }>> = {
  microbit: { machine: 'microbit', flash: 'nvmc' },
  'mps2-an385': { machine: 'mps2-an385', flash: 'file' },
  stm32vldiscovery: { machine: 'stm32vldiscovery', flash: 'rom' },
  netduinoplus2: { machine: 'netduinoplus2', flash: 'rom' },
}

/** Boards this rig can be. */
export const qemuBoards: readonly string[] = Object.keys(machines)

/** Starts a board in QEMU: it runs when this resolves, and no byte of its lines is lost before. */
export async function startQemu(options: RigOptions): Promise<BoardRig> {
  const rig = new QemuRig(options)
  try {
    await rig.powerOn()
    return rig
  } catch (error) {
    await rig[Symbol.asyncDispose]()
    throw error
  }
}

class QemuRig implements BoardRig {
  readonly kind = 'qemu'
  readonly lines: readonly QemuLine[]
  readonly #board: Board
  readonly #options: RigOptions
  readonly #machine: { readonly machine: string; readonly flash: 'nvmc' | 'file' | 'rom' }
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-rig-'))
  /** What the flash holds while the machine is off; for `file` the file itself. */
  #flash: Uint8Array
  #child: OwnedChild | undefined
  #qmp: Qmp | undefined

  constructor(options: RigOptions) {
    const { board } = options.build
    const machine = machines[board.name]
    if (machine === undefined) throw cannot(`be a '${board.name}'`)
    this.#board = board
    this.#options = options
    this.#machine = machine
    this.lines = (options.lines ?? ['pty']).map((kind, index) => new QemuLine(kind, index, this.#folder))
    this.#flash = new Uint8Array(board.flash.size).fill(0xff)
    const program = { address: options.build.address, bytes: readFileSync(options.build.bin) }
    for (const image of [program, ...(options.memory ?? [])]) this.#place(image)
    if (machine.flash === 'file') writeFileSync(this.#flashFile, this.#flash)
  }

  get board(): string {
    return this.#board.name
  }

  get #flashFile(): string {
    return join(this.#folder, 'flash.bin')
  }

  /** Puts an image into the flash; what lies elsewhere the emulator loads by itself from the ELF file. */
  #place({ address, bytes }: MemoryImage): void {
    const at = address - this.#board.flash.base
    if (at >= 0 && at + bytes.length <= this.#flash.length) this.#flash.set(bytes, at)
  }

  async powerOn(): Promise<void> {
    if (this.#child !== undefined) return
    const qmpPath = join(this.#folder, 'qmp.sock')
    const gdbPath = join(this.#folder, 'gdb.sock')
    for (const path of [qmpPath, gdbPath]) rmSync(path, { force: true })
    const qmpSocket = await acceptOne(qmpPath)
    const gdbSocket = this.#machine.flash === 'nvmc' ? await acceptOne(gdbPath) : undefined
    const child = startOwned(findTool('qemu-system-arm'), await this.#arguments(qmpPath, gdbPath))
    this.#child = child
    const ended = child.exited.then((): never => {
      qmpSocket.close()
      gdbSocket?.close()
      throw new SluiceError('SLUICE_HIL_RIG_FAILED', `the emulator ended: ${child.said().trim()}`)
    })
    ended.catch(() => undefined)
    const qmp = await Promise.race([qmpSocket.socket.then((socket) => Qmp.over(socket)), ended])
    this.#qmp = qmp
    for (const line of this.lines) await line.attach(qmp)
    if (gdbSocket !== undefined) {
      await writeThroughGdb(await gdbSocket.socket, this.#board.flash.base, this.#flash)
      await qmp.command('system_reset')
    }
    await qmp.command('cont')
  }

  async #arguments(qmpPath: string, gdbPath: string): Promise<string[]> {
    const { machine, flash } = this.#machine
    const backed = flash === 'file' ? `${machine},memory-backend=nvm` : machine
    const backing = `memory-backend-file,id=nvm,size=${this.#board.flash.size},mem-path=${this.#flashFile},share=on`
    return [
      ...['-M', backed, '-S', '-display', 'none', '-monitor', 'none', '-nodefaults'],
      ...(flash === 'file' ? ['-object', backing] : []),
      ...(flash === 'nvmc'
        ? ['-chardev', `socket,id=gdb,path=${gdbPath}`, '-gdb', 'chardev:gdb']
        : ['-kernel', this.#options.build.elf]),
      ...(this.#options.sensor === true ? ['-device', 'tmp105,id=t0,bus=i2c,address=0x48'] : []),
      ...['-qmp', `unix:${qmpPath}`],
      ...(await Promise.all(this.lines.map((line) => line.arguments()))).flat(),
    ]
  }

  get #on(): Qmp {
    if (this.#qmp === undefined) throw new SluiceError('SLUICE_HIL_RIG_FAILED', `the ${this.board} has no power`)
    return this.#qmp
  }

  async reset(): Promise<void> {
    const done = this.#on.next('RESET')
    await this.#on.command('system_reset')
    await done
  }

  async hang(): Promise<void> {
    await this.#on.command('stop')
  }

  async resume(): Promise<void> {
    await this.#on.command('cont')
  }

  async powerCut(): Promise<void> {
    if (this.#child === undefined) return
    if (this.#machine.flash === 'nvmc') {
      await this.#on.command('stop')
      this.#flash = await this.#dump()
    }
    await this.#off()
  }

  async #off(): Promise<void> {
    await this.#qmp?.[Symbol.asyncDispose]()
    this.#qmp = undefined
    const child = this.#child
    this.#child = undefined
    await child?.kill()
    for (const line of this.lines) line.detach()
  }

  async #dump(): Promise<Uint8Array> {
    const file = join(this.#folder, 'dump.bin')
    const { base: val, size } = this.#board.flash
    // `pmemsave` does not see this flash; the processor's own view does.
    await this.#on.command('memsave', { val, size, filename: file, 'cpu-index': 0 })
    return new Uint8Array(readFileSync(file))
  }

  async readFlash(): Promise<Uint8Array> {
    if (this.#machine.flash === 'file') return new Uint8Array(readFileSync(this.#flashFile))
    if (this.#machine.flash === 'rom') throw cannot('read back the flash of this machine')
    if (this.#qmp === undefined) return Uint8Array.from(this.#flash)
    await this.hang()
    const content = await this.#dump()
    await this.resume()
    return content
  }

  async writeFlash(address: number, bytes: Uint8Array): Promise<void> {
    const at = address - this.#board.flash.base
    if (this.#machine.flash === 'rom' || (this.#machine.flash === 'nvmc' && this.#qmp !== undefined)) {
      throw cannot('change the flash of this machine while it runs: cut its power first')
    }
    if (this.#machine.flash === 'nvmc') {
      this.#flash.set(bytes, at)
      return
    }
    const file = openSync(this.#flashFile, 'r+')
    try {
      writeSync(file, bytes, 0, bytes.length, at)
    } finally {
      closeSync(file)
    }
  }

  async setTemperature(celsius: number): Promise<void> {
    if (this.#options.sensor !== true) throw cannot('set a temperature without a sensor')
    const value = Math.round(celsius * 1000)
    await this.#on.command('qom-set', { path: '/machine/peripheral/t0', property: 'temperature', value })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#off()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

function cannot(what: string): SluiceError {
  return new SluiceError('SLUICE_HIL_RIG_CANNOT', `this emulated board cannot ${what}`)
}
