import { type RP2040, Simulator } from 'rp2040js'
import { SluiceError } from '../../api/errors.ts'
import { romBreaks, stubRom } from './rp2040-rom.ts'

const flashBase = 0x10000000
const nanosPerCycle = 8
const watchdogControl = 0x40058000
/** Number of a breakpoint that no function of the ROM has. */
const REPLACED = 0x20
type Replacement = (read: (address: number, size: number) => Uint8Array, registers: readonly number[]) => number
const maxSleepNanos = 10_000_000

/** One operation on the flash, before it is done. */
export interface FlashOperation {
  /** Counts from 0 since the chip was made. */
  readonly index: number
  readonly kind: 'erase' | 'program'
  /** From the start of the flash. */
  readonly offset: number
  readonly size: number
  /** What is programmed; empty for an erase. */
  readonly bytes: Uint8Array
}

/**
 * An RP2040 in this process, with a clock that only its own instructions move: the same input gives the same run. Flash
 * is an array that outlives resets and power cuts; programming can only clear bits, as in NOR.
 */
export class Rp2040Chip {
  readonly flash: Uint8Array
  /** What the firmware says on a line. */
  onByte: (line: number, byte: number) => void = () => undefined
  /** Before every erase and program of the firmware. */
  onFlash: (operation: FlashOperation) => void = () => undefined
  /** How often the watchdog, or the firmware through it, started the chip over. */
  resets = 0
  readonly #simulator = new Simulator()
  readonly #clock = this.#simulator.clock
  readonly #chip: RP2040 = this.#simulator.rp2040
  readonly #entry: number
  #operations = 0
  #resetAsked = false
  #replacement: Replacement | undefined

  /** `entry`: where the vector table of what starts first is; behind stage 2 unless told otherwise. */
  constructor(entry = flashBase + 0x100) {
    this.#entry = entry
    this.#chip.logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }
    this.#chip.bootrom.set(stubRom())
    this.flash = this.#chip.flash.subarray(0, 0x200000)
    this.#chip.onBreak = (code) => this.#rom(code)
    for (const [line, uart] of this.#chip.uart.entries()) uart.onByte = (byte) => this.onByte(line, byte)
    const watchdog: unknown = this.#chip.peripherals[0x40058]
    if (isWatchdog(watchdog)) {
      watchdog.onWatchdogTrigger = () => {
        this.#resetAsked = true
        // The emulated timer would fire again at the same moment, for ever.
        this.#chip.writeUint32(watchdogControl, 0)
      }
    }
  }

  /** Microseconds of the chip's own time. */
  get nowUs(): number {
    return this.#clock.nanos / 1000
  }

  get sleeping(): boolean {
    return this.#chip.core.waiting
  }

  /** Starts over. RAM stays, as over a reset; `cold` fills it with what power-on leaves. */
  start(cold: boolean): void {
    const { core, sram } = this.#chip
    if (cold) sram.fill(0xa5)
    core.reset()
    core.PM = false
    core.pendingInterrupts = 0
    core.enabledInterrupts = 0
    core.waiting = false
    for (const address of [0x40034038, 0x40038038, 0x40054038]) this.#chip.writeUint32(address, 0)
    this.#chip.writeUint32(watchdogControl, 0)
    core.VTOR = this.#entry
    core.SP = this.#chip.readUint32(this.#entry)
    core.PC = this.#chip.readUint32(this.#entry + 4) & ~1
    this.#resetAsked = false
  }

  feed(line: number, byte: number): void {
    this.#chip.uart[line]?.feedByte(byte)
  }

  /**
   * Lets the chip run for so many microseconds of its time. With `untilSleep` also returns when it has nothing more to do.
   */
  run(durationUs: number, untilSleep = false): void {
    const end = this.#clock.nanos + durationUs * 1000
    const { core } = this.#chip
    while (this.#clock.nanos < end) {
      if (this.#resetAsked) {
        this.resets++
        this.start(false)
      }
      if (core.waiting) {
        if (untilSleep) return
        const alarm = this.#clock.nanosToNextAlarm
        const left = end - this.#clock.nanos
        this.#clock.tick(Math.min(left, alarm > 0 ? alarm : left, maxSleepNanos))
        // The emulator looks for interrupts only when it executes.
        if (core.pendingInterrupts !== 0 || core.interruptsUpdated) core.executeInstruction()
      } else {
        this.#clock.tick(core.executeInstruction() * nanosPerCycle)
      }
    }
  }

  /** Puts a function of this process in the place of one in flash, which is overwritten; it gets r0 to r3 and gives r0. */
  replace(address: number, by: Replacement): void {
    this.#replacement = by
    // bkpt REPLACED; bx lr
    this.flash.set([REPLACED, 0xbe, 0x70, 0x47], address - flashBase)
  }

  #rom(code: number): void {
    const { core } = this.#chip
    const [offset = 0, second = 0, third = 0] = core.registers
    if (code === romBreaks.erase)
      this.#change({ kind: 'erase', offset, size: second, bytes: new Uint8Array() }, (to, size) =>
        to.fill(0xff, 0, size),
      )
    else if (code === romBreaks.program) {
      const from = Uint8Array.from({ length: third }, (_, at) => this.#chip.readUint8(second + at))
      this.#change({ kind: 'program', offset, size: third, bytes: from }, (to, size) => {
        for (let at = 0; at < size; at++) to[at]! &= from[at]!
      })
    } else if (code === REPLACED && this.#replacement !== undefined) {
      const read = (address: number, size: number) =>
        Uint8Array.from({ length: size }, (_, at) => this.#chip.readUint8(address + at))
      core.registers[0] = this.#replacement(read, [offset, second, third, core.registers[3] ?? 0])
    } else if (code < romBreaks.connect || code > romBreaks.enterXip) {
      throw new SluiceError(
        'SLUICE_HIL_RIG_FAILED',
        `the firmware ran into breakpoint ${code} at 0x${core.PC.toString(16)}`,
      )
    }
  }

  #change(what: Omit<FlashOperation, 'index'>, act: (to: Uint8Array, size: number) => void): void {
    const to = this.flash.subarray(what.offset, what.offset + what.size)
    this.onFlash({ index: this.#operations++, ...what })
    act(to, to.length)
  }
}

const nothing = () => undefined

function isWatchdog(value: unknown): value is { onWatchdogTrigger: () => void } {
  return typeof value === 'object' && value !== null && 'onWatchdogTrigger' in value
}
