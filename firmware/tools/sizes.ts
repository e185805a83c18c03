import { runTool } from './toolchain.ts'

export interface FirmwareSizes {
  /** Code, constants, and the first values of variables. */
  readonly flashBytes: number
  /** Variables and the deepest stack. */
  readonly ramBytes: number
  readonly codeBytes: number
  readonly dataBytes: number
  readonly zeroBytes: number
  readonly stackBytes: number
  /** Functions and tables by size, the ten largest first. */
  readonly largest: readonly { readonly name: string; readonly bytes: number }[]
}

/** Sizes of a linked image, from its symbols and sections. `stackBytes` is measured elsewhere (stack.ts). */
export async function measureSizes(
  elf: string,
  compiler: 'arm-none-eabi-gcc' | 'cc',
  stackBytes: number,
  signal?: AbortSignal,
): Promise<FirmwareSizes> {
  // Sizes of a process say nothing about a board.
  if (compiler === 'cc') {
    return { flashBytes: 0, ramBytes: 0, codeBytes: 0, dataBytes: 0, zeroBytes: 0, stackBytes, largest: [] }
  }
  const [sections, symbols] = await Promise.all([
    runTool('arm-none-eabi-objdump', ['-h', '-w', elf], { signal }),
    runTool('arm-none-eabi-nm', ['-S', '--size-sort', '-r', elf], { signal }),
  ])
  const of = (name: string) => sectionBytes(sections.stdout, name)
  const codeBytes = of('.text')
  const dataBytes = of('.data')
  const zeroBytes = of('.bss') + of('.noinit')
  return {
    flashBytes: codeBytes + dataBytes,
    ramBytes: dataBytes + zeroBytes + stackBytes,
    codeBytes,
    dataBytes,
    zeroBytes,
    stackBytes,
    largest: symbolSizes(symbols.stdout).slice(0, 10),
  }
}

function sectionBytes(listing: string, name: string): number {
  const row = listing.split('\n').find((line) => line.trim().split(/\s+/)[1] === name)
  return row === undefined ? 0 : Number.parseInt(row.trim().split(/\s+/)[2] ?? '0', 16)
}

function symbolSizes(listing: string): { name: string; bytes: number }[] {
  return listing.split('\n').flatMap((line) => {
    const [, size, , name] = line.trim().split(/\s+/)
    return size === undefined || name === undefined ? [] : [{ name, bytes: Number.parseInt(size, 16) }]
  })
}
