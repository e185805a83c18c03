import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { delay, systemClock } from '../../../api/clock.ts'
import type { FirmwareBuild } from '../../../firmware/tools/build.ts'
import { findTool, runTool } from '../../../firmware/tools/toolchain.ts'
import { acceptOne } from '../accept.ts'
import { type OwnedChild, startOwned } from '../child.ts'
import { GdbControl } from '../gdb-control.ts'
import { Qmp } from '../qmp.ts'
import { answerIn, type FlashChange, frameOf, PATIENCE_MS, type SweepBoard } from './board.ts'

/** A pause that ends whatever a board took for the beginning of a frame; the lines of these boards are set to 1200 baud. */
const PAUSE_MS = 40
const PAGE = 1024
const RUBBISH = 0xa5
/** Where the functions are through which all changes of the flash go. */
const FUNCTIONS = ['sl_hal_flash_erase', 'sl_hal_flash_program'] as const

/** Address of a function in a linked program. */
export async function addressOf(elf: string, name: string): Promise<number> {
  const { stdout } = await runTool('arm-none-eabi-nm', [elf])
  const line = stdout.split('\n').find((each) => each.endsWith(` ${name}`))
  if (line === undefined) throw new Error(`${elf} has no ${name}`)
  return Number.parseInt(line.split(' ')[0] ?? '', 16) & ~1
}

/** A board in one QEMU for the whole sweep. `programs`: everything that runs there, to watch what it does to the flash. */
export async function qemuBoard(boot: FirmwareBuild, programs: readonly string[]): Promise<SweepBoard> {
  const points = new Map<number, FlashChange['kind']>()
  for (const elf of [boot.elf, ...programs]) {
    for (const name of FUNCTIONS)
      points.set(await addressOf(elf, name), name === 'sl_hal_flash_erase' ? 'erase' : 'program')
  }
  const board = new QemuBoard(boot, points)
  try {
    await board.begin()
    return board
  } catch (error) {
    await board[Symbol.asyncDispose]()
    throw error
  }
}

class QemuBoard implements SweepBoard {
  readonly #boot: FirmwareBuild
  readonly #points: ReadonlyMap<number, FlashChange['kind']>
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-sweep-'))
  readonly #base: number
  readonly #size: number
  #begun = false
  #child: OwnedChild | undefined
  #qmp: Qmp | undefined
  #gdb: GdbControl | undefined
  #line: Socket | undefined
  #heard: Buffer = Buffer.alloc(0)
  #wake: () => void = () => {}
  #ended: string | undefined

  constructor(boot: FirmwareBuild, points: ReadonlyMap<number, FlashChange['kind']>) {
    const { layout } = boot.board
    this.#boot = boot
    this.#points = points
    this.#base = layout.slotA?.address ?? 0
    this.#size = (layout.settings?.address ?? 0) + (layout.settings?.size ?? 0) - this.#base
  }

  async begin(): Promise<void> {
    const at = (name: string) => join(this.#folder, name)
    const [qmp, gdb, line] = await Promise.all([acceptOne(at('qmp')), acceptOne(at('gdb')), acceptOne(at('line'))])
    const { name } = this.#boot.board
    this.#child = startOwned(findTool('qemu-system-arm'), [
      ...['-M', name, '-S', '-display', 'none', '-monitor', 'none', '-nodefaults'],
      // Code outside the flash is put there by the emulator; what is in the flash goes in like the rest of it.
      ...(this.#bootInFlash ? [] : ['-kernel', this.#boot.elf]),
      ...['-chardev', `socket,id=gdb,path=${at('gdb')}`, '-gdb', 'chardev:gdb'],
      ...['-chardev', `socket,id=u0,path=${at('line')}`, '-serial', 'chardev:u0', '-qmp', `unix:${at('qmp')}`],
    ])
    const child = this.#child
    void child.exited.then(() => {
      this.#ended = `the emulator ended: ${child.said().trim()}`
      this.#wake()
    })
    this.#qmp = await Qmp.over(await qmp.socket)
    this.#gdb = new GdbControl(await gdb.socket)
    this.#line = await line.socket
    this.#line.on('data', (chunk: Buffer) => {
      this.#heard = Buffer.concat([this.#heard, chunk])
      this.#wake()
    })
    if (this.#bootInFlash) await this.#gdb.write(this.#boot.address, readFileSync(this.#boot.bin))
  }

  get #bootInFlash(): boolean {
    const { flash } = this.#boot.board
    return this.#boot.address >= flash.base && this.#boot.address < flash.base + flash.size
  }

  get #on(): { readonly gdb: GdbControl; readonly qmp: Qmp; readonly line: Socket } {
    const [gdb, qmp, line] = [this.#gdb, this.#qmp, this.#line]
    if (gdb === undefined || qmp === undefined || line === undefined) throw new Error('the emulator is not there')
    return { gdb, qmp, line }
  }

  async #halt(): Promise<void> {
    await this.#on.qmp.command('stop')
  }

  async #go(): Promise<void> {
    await this.#on.qmp.command('cont')
  }

  async flash(): Promise<Uint8Array> {
    await this.#halt()
    const content = await this.#read()
    await this.#go()
    return content
  }

  async #read(): Promise<Uint8Array> {
    const file = join(this.#folder, 'flash.bin')
    // The processor's own view: the physical one does not show the flash of every machine.
    await this.#on.qmp.command('memsave', { val: this.#base, size: this.#size, filename: file, 'cpu-index': 0 })
    return new Uint8Array(readFileSync(file))
  }

  async powerOn(flash: Uint8Array): Promise<void> {
    const { gdb, qmp } = this.#on
    await this.#halt()
    // A machine that was never on has zeros for flash.
    const now = this.#begun ? await this.#read() : undefined
    this.#begun = true
    for (let at = 0; at < flash.length; at += PAGE) {
      const page = flash.subarray(at, at + PAGE)
      if (now === undefined || Buffer.compare(page, now.subarray(at, at + PAGE)) !== 0)
        await gdb.write(this.#base + at, page)
    }
    const { ram } = this.#boot.board
    await gdb.write(ram.base, new Uint8Array(Math.min(ram.size, 65_536)).fill(RUBBISH))
    const reset = qmp.next('RESET')
    await qmp.command('system_reset')
    await reset
    this.#heard = Buffer.alloc(0)
    await this.#go()
  }

  async request(pdu: Uint8Array, limitMs: number): Promise<Uint8Array | undefined> {
    this.#heard = Buffer.alloc(0)
    this.#on.line.write(frameOf(pdu))
    const over = Promise.withResolvers<false>()
    const timer = systemClock.after(limitMs, () => over.resolve(false))
    try {
      for (;;) {
        if (this.#ended !== undefined) throw new Error(this.#ended)
        const answer = answerIn(this.#heard, pdu)
        if (answer !== undefined) return answer
        const more = new Promise<true>((resolve) => {
          this.#wake = () => resolve(true)
        })
        if (!(await Promise.race([more, over.promise]))) break
      }
    } finally {
      timer.cancel()
    }
    await delay(systemClock, PAUSE_MS)
    return undefined
  }

  async restarted(run: () => Promise<void>): Promise<void> {
    const reset = this.#on.qmp.next('RESET')
    await run()
    const over = Promise.withResolvers<never>()
    const timer = systemClock.after(PATIENCE_MS, () => over.reject(new Error('the board does not restart')))
    await Promise.race([reset, over.promise]).finally(() => timer.cancel())
  }

  async record(run: () => Promise<void>): Promise<readonly FlashChange[]> {
    const { gdb } = this.#on
    const changes: FlashChange[] = []
    const ending = new AbortController()
    const ended = new AbortController()
    await this.#halt()
    for (const point of this.#points.keys()) await gdb.breakAt(point)
    await this.#go()
    const watching = this.#watch(changes, ending.signal, ended.signal)
    try {
      await Promise.race([run(), watching])
    } finally {
      ending.abort()
      await this.#halt()
      // Whatever it met before it was halted is known by the time this is answered.
      await gdb.registers()
      ended.abort()
      await watching
    }
    for (const point of this.#points.keys()) await gdb.unbreak(point)
    await this.#go()
    return changes
  }

  async #watch(changes: FlashChange[], ending: AbortSignal, ended: AbortSignal): Promise<void> {
    const { gdb } = this.#on
    while (await gdb.trapped(ended)) {
      const [r0 = 0, r1 = 0, r2 = 0, ...rest] = await gdb.registers()
      const pc = (rest.at(-1) ?? 0) & ~1
      const kind = this.#points.get(pc)
      if (kind === undefined) throw new Error(`the emulator stopped at 0x${pc.toString(16)}`)
      const size = kind === 'erase' ? r1 : r2
      const bytes = kind === 'erase' ? new Uint8Array() : await gdb.read(r1, size)
      changes.push({ kind, offset: r0 - this.#base, size, bytes })
      await gdb.unbreak(pc)
      await gdb.step()
      await gdb.breakAt(pc)
      if (!ending.aborted) await this.#go()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#qmp?.[Symbol.asyncDispose]()
    this.#gdb?.[Symbol.dispose]()
    this.#line?.destroy()
    await this.#child?.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
