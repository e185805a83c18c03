import { type Clock, systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { heldImages, heldInWords } from './identity.ts'
import { bytesOf, compare, type FlashRunner, nobody, type OpenLine, progressOf, refuseOther } from './runner.ts'
import { sectorsOf, stm32Part } from './stm32-parts.ts'
import { STM32_CHUNK_BYTES, type Stm32Facts, Stm32Loader } from './stm32-uart.ts'

const FLASH_BASE = 0x0800_0000
/** One command names no more; the loaders of the smallest parts have no room for longer ones. */
const ERASE_AT_ONCE = 64

/**
 * The loader in the ROM of an STM32. Sectors are erased one by one, so that what lies beside the firmware stays.
 * `pageBytes` is for parts that are not in our table.
 */
export function stm32Runner(line: OpenLine, pageBytes?: number, clock: Clock = systemClock): FlashRunner {
  const loader = new Stm32Loader(line, { clock })
  let facts: Promise<Stm32Facts> | undefined
  const open = (signal: AbortSignal) => (facts ??= loader.open(signal).catch(nobodyThere))
  return {
    name: 'stm32',
    async identify(signal) {
      const { productId, loader: version } = await open(signal)
      const held = await heldImages((address, length) => loader.read(address, length, signal), signal)
      const running = heldInWords(held)
      const part = stm32Part(productId)?.name ?? 'an STM32 that is not in our table'
      return {
        chip: `${part} (0x${productId.toString(16)}, loader ${version >> 4}.${version & 15})`,
        chipId: productId,
        ...(held[0] === undefined ? {} : { holds: held[0].board }),
        ...(running === undefined ? {} : { running }),
      }
    },
    async flash(what, { signal, onProgress }) {
      const { regions } = what
      const { productId } = await open(signal)
      refuseOther({ chip: 'STM32', chipId: productId }, what)
      const sectors = pageBytes === undefined ? stm32Part(productId)?.sectors : [pageBytes]
      if (sectors === undefined)
        throw new SluiceError('SLUICE_FW_STM32_PART', `the STM32 0x${productId.toString(16)} is not in our table`, {
          hint: 'Give the page size of its flash, from its reference manual: --page-size 2048.',
        })
      const told = progressOf(bytesOf(regions), () => clock.monotonic(), onProgress)
      let before = 0
      // The vector table starts the board: it is erased first and written last, so that a half-written part starts nothing.
      const order = [...regions].sort((a, b) => b.address - a.address)
      const numbers = [...order]
        .reverse()
        .flatMap(({ address, bytes }) => sectorsOf(sectors, address - FLASH_BASE, bytes.length))
      // Regions may share a sector: erased twice, the first one's bytes would be gone.
      const each = [...new Set(numbers)]
      for (let at = 0; at < each.length; at += ERASE_AT_ONCE)
        await loader.erasePages(each.slice(at, at + ERASE_AT_ONCE), signal)
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
      return {}
    },
    async [Symbol.asyncDispose]() {
      loader[Symbol.dispose]()
      await line[Symbol.asyncDispose]()
    },
  }
}

/** A line on which nothing at all was heard has no loader on it; what breaks off later is another story. */
function nobodyThere(error: unknown): never {
  if (!(error instanceof SluiceError) || error.code !== 'SLUICE_FW_STM32') throw error
  throw nobody('as an STM32 in its loader', error.hint ?? '')
}
