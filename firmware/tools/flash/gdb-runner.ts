import { type Clock, systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { GdbClient } from './gdb.ts'
import { heldImages, heldInWords, processorOf, quietly } from './identity.ts'
import { bytesOf, compare, type FlashRunner, nobody, type OpenLine, progressOf } from './runner.ts'
import { stm32Part } from './stm32-parts.ts'

const CPUID = 0xe000ed00
/** Device id of STM32 parts with a Cortex-M3 or M4 (DBGMCU_IDCODE). */
const DBGMCU_IDCODE = 0xe0042000

/** A GDB server: it does not say what is behind it, but the processor's own registers and the images in the flash do. */
export function gdbRunner(line: OpenLine, clock: Clock = systemClock): FlashRunner {
  const client = new GdbClient(line, { clock })
  return {
    name: 'gdb',
    async identify(signal) {
      await client.open(signal).catch((error: unknown) => {
        if (!(error instanceof SluiceError) || error.code !== 'SLUICE_FW_GDB') throw error
        throw nobody('this GDB server', error.hint ?? '')
      })
      const read = (address: number, length: number) => client.read(address, length, signal)
      const processor = processorOf((await quietly(read(CPUID, 4), signal)) ?? new Uint8Array())
      const chipId = /m3|m4/.test(processor ?? '') ? await deviceId(read, signal) : undefined
      const held = await heldImages(read, signal)
      const running = heldInWords(held)
      const part = chipId === undefined ? undefined : stm32Part(chipId)?.name
      return {
        chip: `${part ?? processor ?? 'a target'} behind a GDB server`,
        ...(processor === undefined ? {} : { processor }),
        ...(part === undefined ? {} : { chipId: chipId as number }),
        ...(held[0] === undefined ? {} : { holds: held[0].board }),
        ...(running === undefined ? {} : { running }),
      }
    },
    async flash({ regions }, { signal, onProgress }) {
      const told = progressOf(bytesOf(regions), () => clock.monotonic(), onProgress)
      await client.write(regions, { signal, onProgress: told })
      for (const { address, bytes } of regions)
        compare(address, bytes, await client.read(address, bytes.length, signal))
      await client.run(signal)
      return {}
    },
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]()
      await line[Symbol.asyncDispose]()
    },
  }
}

async function deviceId(
  read: (address: number, length: number) => Promise<Uint8Array>,
  signal: AbortSignal,
): Promise<number | undefined> {
  const bytes = await quietly(read(DBGMCU_IDCODE, 4), signal)
  return bytes === undefined ? undefined : Buffer.from(bytes).readUInt32LE() & 0xfff
}
