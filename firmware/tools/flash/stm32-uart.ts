import { type Clock, systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import type { ByteLine } from '../smp/transport.ts'

/** The boot loader in the ROM of STM32 parts on a UART (ST's AN3155; 8 bits, even parity, 1 stop bit). */

const ACK = 0x79
const NACK = 0x1f
const SYNC = 0x7f
const COMMAND = { get: 0x00, getId: 0x02, read: 0x11, go: 0x21, write: 0x31, erase: 0x43, extendedErase: 0x44 } as const
export const STM32_CHUNK_BYTES = 256
/** Erasing everything takes the largest parts half a minute. */
const ERASE_MS = 40_000

export interface Stm32Facts {
  /** AN3155's product id, for example 0x410. */
  readonly productId: number
  /** Version of the loader, 0x22 is 2.2. */
  readonly loader: number
}

export interface Stm32Options {
  readonly clock?: Clock
  /** For one byte that is waited for. Default 1000. */
  readonly timeoutMs?: number
}

const lost = (what: string): SluiceError =>
  new SluiceError('SLUICE_FW_STM32', `the loader of the STM32 ${what}`, {
    hint: 'Set BOOT0 and reset the part, check that the line has even parity, and that RX and TX are crossed.',
  })

const xor = (bytes: Uint8Array): number => bytes.reduce((sum, byte) => sum ^ byte, 0)

function address(value: number): Uint8Array {
  const bytes = Buffer.alloc(5)
  bytes.writeUInt32BE(value)
  bytes[4] = xor(bytes.subarray(0, 4))
  return bytes
}

export class Stm32Loader implements Disposable {
  readonly #line: ByteLine
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #stop: () => void
  #heard: number[] = []
  #wake: () => void = () => {}
  #commands: ReadonlySet<number> = new Set()

  constructor(line: ByteLine, options: Stm32Options = {}) {
    this.#line = line
    this.#clock = options.clock ?? systemClock
    this.#timeoutMs = options.timeoutMs ?? 1000
    this.#stop = line.onData((chunk) => {
      for (const byte of chunk) if (this.#heard.length < 4096) this.#heard.push(byte)
      this.#wake()
    })
  }

  /** Finds the baud rate (the part does, by one byte) and asks what the part is. */
  async open(signal?: AbortSignal): Promise<Stm32Facts> {
    if (!(await this.#synchronised(signal)) && !(await this.#synchronised(signal))) throw lost('does not answer')
    await this.#command(COMMAND.get, signal)
    const [loader = 0, ...commands] = await this.#counted(signal)
    this.#commands = new Set(commands)
    await this.#command(COMMAND.getId, signal)
    const [high = 0, low = 0] = await this.#counted(signal)
    return { productId: (high << 8) | low, loader }
  }

  /**
   * Sends the byte by which the loader finds the baud rate. One that has been spoken to before takes it for the first half
   * of a command and says nothing; the second time it is a wrong command, and the loader is there all the same.
   */
  async #synchronised(signal: AbortSignal | undefined): Promise<boolean> {
    this.#heard = []
    await this.#line.write(Uint8Array.of(SYNC))
    try {
      const answer = await this.#byte(this.#timeoutMs, signal)
      return answer === ACK || answer === NACK
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof SluiceError && error.code === 'SLUICE_FW_STM32') return false
      throw error
    }
  }

  async eraseAll(signal?: AbortSignal): Promise<void> {
    const extended = this.#commands.has(COMMAND.extendedErase)
    await this.#command(extended ? COMMAND.extendedErase : COMMAND.erase, signal)
    await this.#line.write(extended ? Uint8Array.of(0xff, 0xff, 0x00) : Uint8Array.of(0xff, 0x00))
    await this.#acknowledged('erase', ERASE_MS, signal)
  }

  /** Erases pages by number; how large each is stands in the part's reference manual. */
  async erasePages(pages: readonly number[], signal?: AbortSignal): Promise<void> {
    const extended = this.#commands.has(COMMAND.extendedErase)
    const words = extended
      ? [pages.length - 1, ...pages].flatMap((page) => [page >> 8, page & 0xff])
      : [pages.length - 1, ...pages]
    if (pages.length === 0 || pages.length > (extended ? 0xfff0 : 255)) throw lost('cannot erase so many pages at once')
    await this.#command(extended ? COMMAND.extendedErase : COMMAND.erase, signal)
    const body = Uint8Array.from(words)
    await this.#line.write(Uint8Array.from([...body, xor(body)]))
    await this.#acknowledged('erase', ERASE_MS, signal)
  }

  /** Writes to erased flash. Lengths are filled up to words with 0xFF. */
  async write(
    at: number,
    bytes: Uint8Array,
    options: { readonly signal?: AbortSignal; readonly onProgress?: (bytes: number) => void } = {},
  ): Promise<void> {
    for (let done = 0; done < bytes.length; done += STM32_CHUNK_BYTES) {
      const part = bytes.subarray(done, done + STM32_CHUNK_BYTES)
      const filled = Buffer.concat([part, Buffer.alloc(-part.length & 3, 0xff)])
      await this.#command(COMMAND.write, options.signal)
      await this.#line.write(address(at + done))
      await this.#acknowledged(`take the address 0x${(at + done).toString(16)}`, this.#timeoutMs, options.signal)
      const body = Uint8Array.from([filled.length - 1, ...filled])
      await this.#line.write(Uint8Array.from([...body, xor(body)]))
      await this.#acknowledged('write', this.#timeoutMs * 2, options.signal)
      options.onProgress?.(done + part.length)
    }
  }

  async read(at: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const parts: number[] = []
    while (parts.length < length) {
      const size = Math.min(STM32_CHUNK_BYTES, length - parts.length)
      await this.#command(COMMAND.read, signal)
      await this.#line.write(address(at + parts.length))
      await this.#acknowledged('read there', this.#timeoutMs, signal)
      await this.#line.write(Uint8Array.of(size - 1, (size - 1) ^ 0xff))
      await this.#acknowledged('read so much', this.#timeoutMs, signal)
      for (let i = 0; i < size; i++) parts.push(await this.#byte(this.#timeoutMs, signal))
    }
    return Uint8Array.from(parts)
  }

  /** Jumps to the program whose vector table is at `at`. */
  async go(at: number, signal?: AbortSignal): Promise<void> {
    await this.#command(COMMAND.go, signal)
    await this.#line.write(address(at))
    await this.#acknowledged('start the program', this.#timeoutMs, signal)
  }

  [Symbol.dispose](): void {
    this.#stop()
  }

  async #command(code: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    this.#heard = []
    await this.#line.write(Uint8Array.of(code, code ^ 0xff))
    await this.#acknowledged(`take command 0x${code.toString(16)}`, this.#timeoutMs, signal)
  }

  /** Length less one, so many bytes, acknowledgement. */
  async #counted(signal: AbortSignal | undefined): Promise<number[]> {
    const count = (await this.#byte(this.#timeoutMs, signal)) + 1
    const bytes: number[] = []
    for (let i = 0; i < count; i++) bytes.push(await this.#byte(this.#timeoutMs, signal))
    await this.#acknowledged('end its answer', this.#timeoutMs, signal)
    return bytes
  }

  async #acknowledged(what: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const answer = await this.#byte(timeoutMs, signal)
    if (answer === NACK)
      throw new SluiceError('SLUICE_FW_STM32_REFUSED', `the loader of the STM32 refuses to ${what}`, {
        hint: 'The flash may be protected against reading or writing, or the address may be no memory of this part.',
      })
    if (answer !== ACK) throw lost(`answers 0x${answer.toString(16)} where it should ${what}`)
  }

  async #byte(timeoutMs: number, signal: AbortSignal | undefined): Promise<number> {
    const late = new AbortController()
    const timer = this.#clock.after(timeoutMs, () => {
      late.abort()
      this.#wake()
    })
    try {
      for (;;) {
        signal?.throwIfAborted()
        const byte = this.#heard.shift()
        if (byte !== undefined) return byte
        if (late.signal.aborted) throw lost('does not answer')
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    } finally {
      timer.cancel()
      this.#wake = () => {}
    }
  }
}
