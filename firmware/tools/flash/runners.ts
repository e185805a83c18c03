import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, delay, systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { SmpClient } from '../smp/client.ts'
import { type ByteLine, streamTransport } from '../smp/transport.ts'
import { GdbClient } from './gdb.ts'
import {
  bytesOf,
  compare,
  type FlashRunner,
  type FlashTarget,
  imageForSlot,
  progressOf,
  refuseOther,
} from './runner.ts'
import { STM32_CHUNK_BYTES, Stm32Loader } from './stm32-uart.ts'
import { decodeUf2, encodeUf2, UF2_FAMILY_RP2040 } from './uf2.ts'

/** A line that is closed when the runner is done with it. */
export type OpenLine = ByteLine & AsyncDisposable

const SMP_KNOCKS = 100
const SMP_KNOCK_MS = 100
const ANSWER_MS = 600

const nobody = (what: string, hint: string): SluiceError =>
  new SluiceError('SLUICE_FW_FLASH_TARGET', `no board answers ${what}`, { hint })

/** SMP on a serial console: bootloaders of ours in recovery, and any SMP server that takes images. */
export function smpRunner(line: OpenLine, clock: Clock = systemClock): FlashRunner {
  const transport = streamTransport(line, { clock })
  const client = new SmpClient(transport, { clock, timeoutMs: ANSWER_MS })
  return {
    name: 'smp',
    async identify(signal) {
      // The bootloader listens for a tenth of a second after a reset: whoever knocks long enough gets in.
      for (let knocks = 0; ; knocks++) {
        try {
          await client.echo('sluice', signal, SMP_KNOCK_MS)
          break
        } catch (error) {
          signal.throwIfAborted()
          if (knocks >= SMP_KNOCKS || !(error instanceof SluiceError) || error.code !== 'SLUICE_SMP_TIMEOUT')
            throw knocks >= SMP_KNOCKS ? nobody('on this line', 'Reset the board while this command waits.') : error
        }
      }
      const plate = await client.plate(signal)
      const slots = await client.images(signal)
      const active = slots.find((slot) => slot.slot === plate.running)
      const running = active === undefined ? {} : { running: active.version }
      return {
        board: plate.board,
        chip: `${plate.board} ${plate.id}${plate.recovery ? ', in recovery' : ''}`,
        ...running,
      }
    },
    async flash(what, { signal, onProgress }) {
      const plate = await client.plate(signal)
      refuseOther({ board: plate.board, chip: plate.board }, what.board)
      const slot = plate.slotAddresses[plate.running === 0 ? 1 : 0]
      const { bytes, image } = imageForSlot(what.images, slot ?? 0)
      const told = progressOf(bytes.length, () => clock.monotonic(), onProgress)
      await client.upload(bytes, { signal, onProgress: ({ sentBytes }) => told(sentBytes) })
      // The board reads its flash back and compares the digest before it takes the image.
      await client.test(image.digest, signal)
      await client.reset(signal)
    },
    async [Symbol.asyncDispose]() {
      transport[Symbol.dispose]()
      await line[Symbol.asyncDispose]()
    },
  }
}

/** A GDB server. It says nothing of the board; the chip's own flash map decides what fits. */
export function gdbRunner(line: OpenLine, clock: Clock = systemClock): FlashRunner {
  const client = new GdbClient(line, { clock })
  return {
    name: 'gdb',
    async identify(signal) {
      await client.open(signal)
      return { chip: 'a target behind a GDB server' }
    },
    async flash({ regions }, { signal, onProgress }) {
      const told = progressOf(bytesOf(regions), () => clock.monotonic(), onProgress)
      await client.write(regions, { signal, onProgress: told })
      for (const { address, bytes } of regions)
        compare(address, bytes, await client.read(address, bytes.length, signal))
      await client.run(signal)
    },
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]()
      await line[Symbol.asyncDispose]()
    },
  }
}

/** The loader in the ROM of an STM32. Pages are erased one by one, so that what lies beside the firmware stays. */
export function stm32Runner(line: OpenLine, pageBytes: number, clock: Clock = systemClock): FlashRunner {
  const loader = new Stm32Loader(line, { clock })
  const flashBase = 0x0800_0000
  return {
    name: 'stm32',
    async identify(signal) {
      const { productId, loader: version } = await loader.open(signal)
      return { chip: `STM32 0x${productId.toString(16)}, loader ${version >> 4}.${version & 15}` }
    },
    async flash({ regions }, { signal, onProgress }) {
      const told = progressOf(bytesOf(regions), () => clock.monotonic(), onProgress)
      let before = 0
      // The vector table starts the board: it is erased first and written last, so that a half-written part starts nothing.
      const order = [...regions].sort((a, b) => b.address - a.address)
      for (const { address, bytes } of [...order].reverse()) {
        const first = Math.floor((address - flashBase) / pageBytes)
        const count = Math.ceil((address - flashBase + bytes.length) / pageBytes) - first
        await loader.erasePages(
          Array.from({ length: count }, (_, index) => first + index),
          signal,
        )
      }
      const lowest = order.at(-1)
      const parts = order.flatMap(({ address, bytes }) =>
        address === lowest?.address
          ? [
              { address: address + STM32_CHUNK_BYTES, bytes: bytes.subarray(STM32_CHUNK_BYTES) },
              { address, bytes: bytes.subarray(0, STM32_CHUNK_BYTES) },
            ]
          : [{ address, bytes }],
      )
      for (const { address, bytes } of parts) {
        const sofar = before
        await loader.write(address, bytes, { signal, onProgress: (done) => told(sofar + done) })
        before += bytes.length
      }
      for (const { address, bytes } of order) compare(address, bytes, await loader.read(address, bytes.length, signal))
      await loader.go(Math.min(...regions.map(({ address }) => address)), signal)
    },
    async [Symbol.asyncDispose]() {
      loader[Symbol.dispose]()
      await line[Symbol.asyncDispose]()
    },
  }
}

const UF2_FILE = 'sluice.uf2'
const UF2_GONE_MS = 15_000

/** A drive with INFO_UF2.TXT, as the RP2040 shows one while its button is held. */
export function uf2Runner(folder: string, clock: Clock = systemClock): FlashRunner {
  const info = async (): Promise<FlashTarget> => {
    const text = await readFile(join(folder, 'INFO_UF2.TXT'), 'latin1').catch(() => {
      throw nobody(
        `in ${folder}`,
        'Hold the button of the board while it is plugged in, and name the drive with --port.',
      )
    })
    const id = /^Board-ID:\s*(\S{1,64})/m.exec(text)?.[1]
    const chip = /^Model:\s*(.{1,80}?)\s*$/m.exec(text)?.[1] ?? id ?? 'a UF2 boot loader'
    return { chip, ...(id?.startsWith('RPI-RP2') === true ? { board: 'rp2040' } : {}) }
  }
  return {
    name: 'uf2',
    identify: info,
    async flash({ regions, board }, { signal, onProgress }) {
      refuseOther(await info(), board)
      const file = encodeUf2(regions, UF2_FAMILY_RP2040)
      const told = progressOf(bytesOf(regions), () => clock.monotonic(), onProgress)
      const path = join(folder, UF2_FILE)
      await writeFile(path, file, { flush: true, signal })
      told(bytesOf(regions))
      // A board takes the last block, restarts and is gone; what stays is a folder, and is read back.
      for (const endMs = clock.monotonic() + UF2_GONE_MS; ; await delay(clock, 100, signal)) {
        if ((await stat(join(folder, 'INFO_UF2.TXT')).catch(() => undefined)) === undefined) return
        const there = await readFile(path).catch(() => undefined)
        if (there?.length === file.length || clock.monotonic() >= endMs) {
          for (const [index, region] of decodeUf2(there ?? new Uint8Array()).entries()) {
            compare(region.address, decodeUf2(file)[index]?.bytes ?? new Uint8Array(), region.bytes)
          }
          return
        }
      }
    },
    async [Symbol.asyncDispose]() {},
  }
}

/** Programs of others, by their arguments alone; they verify by themselves. */
export function toolArguments(
  tool: 'dfu-util' | 'openocd',
  binary: string,
  address: number,
  config?: string,
): string[] {
  const place = `0x${address.toString(16)}`
  return tool === 'dfu-util'
    ? ['--alt', '0', '--dfuse-address', `${place}:leave`, '--download', binary]
    : [...(config === undefined ? [] : ['-f', config]), '-c', `program {${binary}} ${place} verify reset exit`]
}
