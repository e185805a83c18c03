import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, delay, systemClock } from '../../../api/clock.ts'
import { bytesOf, compare, type FlashRunner, type FlashTarget, nobody, progressOf, refuseOther } from './runner.ts'
import { decodeUf2, encodeUf2, UF2_FAMILY_RP2040 } from './uf2.ts'

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
    async flash(what, { signal, onProgress }) {
      const { regions } = what
      refuseOther(await info(), what)
      const file = encodeUf2(regions, UF2_FAMILY_RP2040)
      const told = progressOf(bytesOf(regions), () => clock.monotonic(), onProgress)
      const path = join(folder, UF2_FILE)
      await writeFile(path, file, { flush: true, signal })
      told(bytesOf(regions))
      // A board takes the last block, restarts and is gone; what stays is a folder, and is read back.
      for (const endMs = clock.monotonic() + UF2_GONE_MS; ; await delay(clock, 100, signal)) {
        if ((await stat(join(folder, 'INFO_UF2.TXT')).catch(() => undefined)) === undefined) return {}
        const there = await readFile(path).catch(() => undefined)
        if (there?.length === file.length || clock.monotonic() >= endMs) {
          for (const [index, region] of decodeUf2(there ?? new Uint8Array()).entries()) {
            compare(region.address, decodeUf2(file)[index]?.bytes ?? new Uint8Array(), region.bytes)
          }
          return {}
        }
      }
    },
    async [Symbol.asyncDispose]() {},
  }
}
