import { SluiceError } from '../../api/errors.ts'
import { runTool } from './toolchain.ts'

/** The vector table offset register, which a Cortex-M0 does not have: a store there does nothing on the chip. */
const vtor = 0xe000ed08
const systemControl = 0xe000ed00

/**
 * Refuses an image for a processor without VTOR that could store to it: emulators accept that, hardware does not, and
 * every interrupt then ends in the wrong image. Looks for the address, and for the block's address with the register's
 * offset, among the words code loads. SLUICE_FW_MOVES_VECTORS.
 */
export async function checkNoVectorMove(elf: string, signal?: AbortSignal): Promise<void> {
  const { stdout } = await runTool('arm-none-eabi-objdump', ['-d', '--no-show-raw-insn', elf], { signal })
  const where = vectorMove(stdout)
  if (where === undefined) return
  throw new SluiceError('SLUICE_FW_MOVES_VECTORS', `${where} in ${elf} stores to the vector table offset register`, {
    hint: 'This processor has none: enter the image by sl_hal_jump, which sets the table the trampolines read.',
  })
}

/** The function that does it, from objdump's disassembly; undefined: none. */
export function vectorMove(disassembly: string): string | undefined {
  let name = ''
  let block = false
  let stores = false
  for (const line of disassembly.split('\n')) {
    const start = /^[0-9a-f]+ <([^>]+)>:$/.exec(line)
    if (start !== null) {
      name = start[1] ?? ''
      block = false
      stores = false
    }
    const word = /\.word\s+0x([0-9a-f]{8})/.exec(line)?.[1]
    if (word !== undefined && Number.parseInt(word, 16) === vtor) return name
    if (word !== undefined && Number.parseInt(word, 16) === systemControl) block = true
    if (/\bstr\s+r\d+, \[r\d+, #8\]/.test(line)) stores = true
    if (block && stores) return name
  }
  return undefined
}
