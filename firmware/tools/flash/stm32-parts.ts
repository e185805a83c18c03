/**
 * What the loader's product id says of a part: its name and how its flash is divided (ST's AN2606, and the chapters on flash
 * of the reference manuals).
 */

export interface Stm32Part {
  readonly name: string
  /** Bytes of each sector from the start of the flash, the last for all that follow. */
  readonly sectors: readonly number[]
}

const K = 1024
const pages = (name: string, kibi: number): Stm32Part => ({ name, sectors: [kibi * K] })
/** Four small sectors, one middle one, large ones. */
const unequal = (name: string): Stm32Part => ({ name, sectors: [16 * K, 16 * K, 16 * K, 16 * K, 64 * K, 128 * K] })

const PARTS: ReadonlyMap<number, Stm32Part> = new Map([
  [0x410, pages('STM32F10x, medium density', 1)],
  [0x411, unequal('STM32F2xx')],
  [0x412, pages('STM32F10x, low density', 1)],
  [0x413, unequal('STM32F405/F407/F415/F417')],
  [0x414, pages('STM32F10x, high density', 2)],
  [0x415, pages('STM32L47x/L48x', 2)],
  [0x418, pages('STM32F105/F107', 2)],
  [0x419, unequal('STM32F42x/F43x')],
  [0x420, pages('STM32F100, low and medium density', 1)],
  [0x421, unequal('STM32F446')],
  [0x422, pages('STM32F302xB/F303xB', 2)],
  [0x423, unequal('STM32F401xB/C')],
  [0x428, pages('STM32F100, high density', 2)],
  [0x430, pages('STM32F10x, XL density', 2)],
  [0x431, unequal('STM32F411')],
  [0x433, unequal('STM32F401xD/E')],
  [0x435, pages('STM32L43x/L44x', 2)],
  [0x438, pages('STM32F303x6/F334', 2)],
  [0x440, pages('STM32F05x', 1)],
  [0x441, unequal('STM32F412')],
  [0x442, pages('STM32F09x', 2)],
  [0x444, pages('STM32F03x', 1)],
  [0x445, pages('STM32F04x/F070x6', 1)],
  [0x446, pages('STM32F302xD/F303xD', 2)],
  [0x448, pages('STM32F07x', 2)],
  [0x456, pages('STM32G05x/G06x', 2)],
  [0x460, pages('STM32G07x/G08x', 2)],
  [0x466, pages('STM32G03x/G04x', 2)],
  [0x468, pages('STM32G431/G441', 2)],
])

/** What is known of a part; undefined for one that is not in the table. */
export const stm32Part = (productId: number): Stm32Part | undefined => PARTS.get(productId)

/** Numbers of the sectors that `length` bytes at `offset` from the start of the flash lie in. */
export function sectorsOf(sectors: readonly number[], offset: number, length: number): readonly number[] {
  const numbers: number[] = []
  for (let number = 0, at = 0; at < offset + length; number++) {
    const size = sectors[Math.min(number, sectors.length - 1)] ?? Number.POSITIVE_INFINITY
    if (at + size > offset) numbers.push(number)
    at += size
  }
  return numbers
}
