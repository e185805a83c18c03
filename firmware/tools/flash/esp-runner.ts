import { createHash } from 'node:crypto'
import { ReadableStream, type ReadableStreamDefaultController, WritableStream } from 'node:stream/web'
import { type Clock, delay, systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { applicationOf, applicationPlaces, DESCRIPTION, PARTITION_TABLE } from './esp-image.ts'
import { bytesOf, type FlashRunner, type OpenLine, progressOf, refuseOther } from './runner.ts'

/** A serial line with the two wires that bring the chip into its loader, and a rate that can be changed while it is open. */
export interface EspLine extends OpenLine {
  /** Rejects where the line has no such wires: then somebody has to hold the button. */
  setLines(lines: { readonly dtr: boolean; readonly rts: boolean }): Promise<void>
  setBaud(baud: number): Promise<void>
}

export interface EspOptions {
  readonly clock?: Clock
  /** What the line was opened with; the ROM finds it out by itself. Default 115200. */
  readonly lineBaud?: number
  /** For the transfer itself. Default 460800: what the common USB bridges can. */
  readonly baud?: number
}

const CONNECT_TRIES = 4
const RESET_MS = 100

/**
 * The loader in the ROM of Espressif's chips, by their own esptool-js: it loads a stub into RAM, writes packed blocks, and
 * has the chip compute the MD5 of what is in its flash. For ready images; nothing here builds any.
 */
export function espRunner(line: EspLine, options: EspOptions = {}): FlashRunner {
  const { clock = systemClock, lineBaud = 115_200, baud = 460_800 } = options
  const port = new WebPort(line, lineBaud)
  let opened: Promise<Opened> | undefined
  const open = (signal: AbortSignal) => orAborted((opened ??= connect(port, lineBaud, baud)), signal)
  return {
    name: 'esp',
    async identify(signal) {
      const { loader, chip } = await open(signal)
      const described = await orAborted(loader.chip.getChipDescription(loader), signal)
      const mac = await orAborted(loader.chip.readMac(loader), signal)
      const size = await orAborted(loader.detectFlashSize(), signal)
      const running = await orAborted(runningApplication(loader), signal)
      return {
        board: chip,
        chip: `${described}, ${mac}, ${size === undefined ? 'unknown flash' : `${size} flash`}`,
        ...(running === undefined ? {} : { running }),
      }
    },
    async flash(what, { signal, onProgress }) {
      const { regions } = what
      const { loader, chip } = await open(signal)
      refuseOther({ board: chip, chip }, what, {
        hint: 'Take the image that was built for this chip, or another board.',
      })
      const size = await orAborted(loader.detectFlashSize(), signal)
      if (size === undefined)
        throw new SluiceError('SLUICE_FW_ESP', 'the flash of the chip does not say how large it is', {
          hint: 'A module whose flash is not connected answers like this; try another one.',
        })
      if (regions.some(({ address, bytes }) => address + bytes.length > sizeOf(size)))
        throw new SluiceError('SLUICE_FW_FLASH_IMAGE', `the image does not fit into the ${size} flash of this chip`, {
          hint: 'Build it for the size of this flash.',
        })
      // The bootloader is the lowest: written last, so that a board that was cut off starts nothing half-written.
      const ordered = [...regions].sort((a, b) => b.address - a.address)
      const told = progressOf(bytesOf(regions), () => clock.monotonic(), onProgress)
      const before = (index: number) => bytesOf(ordered.slice(0, index))
      const work = loader.writeFlash({
        fileArray: ordered.map(({ address, bytes }) => ({ address, data: Uint8Array.from(bytes) })),
        flashMode: 'keep',
        flashFreq: 'keep',
        // It would write the size into the header of a bootloader; what is written is what was given.
        flashSize: 'keep',
        eraseAll: false,
        compress: true,
        // It counts packed bytes; a person thinks in those of the file.
        reportProgress: (index, written, total) =>
          told(Math.round(before(index) + ((ordered[index]?.bytes.length ?? 0) * written) / total)),
        calculateMD5Hash: (image) => createHash('md5').update(image).digest('hex'),
      })
      await orAborted(work.catch(explain), signal)
      // The library only releases the reset line: somebody has to have pulled it before.
      await port.setSignals({ dataTerminalReady: false, requestToSend: true })
      await delay(clock, RESET_MS, signal)
      await port.setSignals({ dataTerminalReady: false, requestToSend: false })
      return {}
    },
    async [Symbol.asyncDispose]() {
      await port.close()
      await line[Symbol.asyncDispose]()
    },
  }
}

type Loader = import('esptool-js').ESPLoader

interface Opened {
  readonly loader: Loader
  readonly chip: string
}

async function connect(port: WebPort, lineBaud: number, baud: number): Promise<Opened> {
  const { ESPLoader, Transport } = await import('esptool-js')
  const transport = new Transport(port)
  // It would write to the standard output, which belongs to whoever reads JSON from it.
  transport.trace = () => undefined
  const quiet = { clean: () => undefined, write: () => undefined, writeLine: () => undefined }
  const loader = new ESPLoader({ transport, baudrate: baud, romBaudrate: lineBaud, terminal: quiet })
  try {
    await loader.connect('default_reset', CONNECT_TRIES)
  } catch (cause) {
    port.stop()
    throw nobody(cause, port.wireless)
  }
  try {
    const chip = loader.chip.CHIP_NAME
    await loader.runStub()
    if (baud !== lineBaud) await loader.changeBaud()
    return { loader, chip }
  } catch (cause) {
    return explain(cause)
  }
}

/** `4MB` and `512KB` in bytes. */
const sizeOf = (words: string): number => Number.parseInt(words, 10) * (words.endsWith('MB') ? 1024 * 1024 : 1024)

/** What the partition table calls an application and has a description; undefined where there is none. */
async function runningApplication(loader: Loader): Promise<string | undefined> {
  // Reading needs the stub, which not every chip has.
  if (!loader.IS_STUB) return undefined
  const table = await loader.readFlash(PARTITION_TABLE.address, PARTITION_TABLE.size)
  for (const { label, address } of applicationPlaces(table).slice(0, 4)) {
    const description = await loader.readFlash(address + DESCRIPTION.offset, DESCRIPTION.size)
    const application = applicationOf(description)
    if (application !== undefined) return `${application} (${label})`
  }
  return undefined
}

function nobody(cause: unknown, wireless: boolean): SluiceError {
  return new SluiceError('SLUICE_FW_FLASH_TARGET', 'no ESP chip answers on this line', {
    cause,
    hint: wireless
      ? 'The line cannot reset the chip: hold its BOOT button, press RESET, and type the command again.'
      : 'Hold the BOOT button while the command starts; check RX, TX, and that nobody else has the port.',
  })
}

/** An error of the library in our words. */
function explain(cause: unknown): never {
  if (cause instanceof SluiceError) throw cause
  const said = cause instanceof Error ? cause.message : String(cause)
  if (/MD5/.test(said))
    throw new SluiceError('SLUICE_FW_FLASH_VERIFY', 'the chip has another MD5 of its flash than the image', {
      cause,
      hint: 'Flash it once more; when it differs again, the flash is worn or badly connected.',
    })
  throw new SluiceError('SLUICE_FW_ESP', `the loader of the chip failed: ${said.split('\n')[0]}`, {
    cause,
    hint: 'Try once more with --baud 115200 and a shorter cable. What was written so far does not start.',
  })
}

/** The library takes no signal: what it does is left behind, and fails when the port is closed. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => undefined)
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const stop = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  return Promise.race([work, aborted.promise]).finally(() => signal.removeEventListener('abort', stop))
}

/** What the library wants of a serial port: that of browsers (the Web Serial API). */
class WebPort {
  readable: ReadableStream<Uint8Array> | null = null
  writable: WritableStream<Uint8Array> | null = null
  /** The line has shown that it cannot reset the chip. */
  wireless = false
  readonly #line: EspLine
  #lines = { dtr: false, rts: false }
  #baud: number
  #end: () => void = () => undefined

  constructor(line: EspLine, baud: number) {
    this.#line = line
    this.#baud = baud
  }

  /** The line itself is open; only the streams are made anew. */
  async open({ baudRate }: { readonly baudRate: number }): Promise<void> {
    await this.setBaudRate(baudRate)
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined
    const stop = this.#line.onData((chunk) => controller?.enqueue(Uint8Array.from(chunk)))
    let open = true
    const end = (): void => {
      if (!open) return
      open = false
      stop()
    }
    this.readable = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given), cancel: end })
    this.writable = new WritableStream<Uint8Array>({
      write: async (chunk) => {
        if (!open) throw new SluiceError('SLUICE_FW_ESP', 'the line was closed')
        await this.#line.write(chunk)
      },
    })
    this.#end = () => {
      if (open) controller?.close()
      end()
    }
  }

  async close(): Promise<void> {
    this.stop()
    this.readable = null
    this.writable = null
  }

  /** Nothing more goes either way. */
  stop(): void {
    this.#end()
  }

  async setBaudRate(baud: number): Promise<void> {
    if (baud !== this.#baud) await this.#line.setBaud(baud)
    this.#baud = baud
  }

  async setSignals(signals: { readonly dataTerminalReady?: boolean; readonly requestToSend?: boolean }): Promise<void> {
    const { dataTerminalReady: dtr = this.#lines.dtr, requestToSend: rts = this.#lines.rts } = signals
    this.#lines = { dtr, rts }
    try {
      await this.#line.setLines(this.#lines)
    } catch {
      this.wireless = true
    }
  }

  getInfo(): { readonly usbVendorId?: number; readonly usbProductId?: number } {
    return {}
  }
}
