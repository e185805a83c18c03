import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { SluiceError } from '../../api/errors.ts'

/** Part of the address space; sizes in bytes. */
export interface MemoryRegion {
  readonly base: number
  readonly size: number
}

/** Part of the flash that holds one thing; `address` is where the processor sees it. */
export interface LayoutRegion {
  readonly address: number
  readonly size: number
}

/** One serial line: pins as the SoC numbers them; `driver` switches an RS-485 driver on. */
export interface BoardUart {
  readonly tx?: number
  readonly rx?: number
  readonly driver?: number
  readonly base?: number
  readonly clock?: number
}

/** What a family of chips is built with (firmware/soc/<name>/soc.yaml). */
export interface Soc {
  readonly name: string
  readonly folder: string
  readonly compiler: 'arm-none-eabi-gcc' | 'cc'
  /** gcc's name of the processor; none for `host`. */
  readonly cpu?: string
  /** Whether the processor can move its vector table. */
  readonly vtor: boolean
  readonly interruptCount: number
  readonly interrupts: ReadonlyMap<string, number>
  /** The first 256 bytes of the flash are a loader of their own. */
  readonly stage2: boolean
  /** C files beside port.c, absolute. */
  readonly sources: readonly string[]
}

/** A board (firmware/boards/<name>.yaml): chip, memory, what goes where in the flash, lines and pins. */
export interface Board {
  readonly name: string
  readonly title: string
  readonly aliases: readonly string[]
  readonly soc: Soc
  /** Product id that the chip says of itself (STM32), so that firmware for another one is refused. */
  readonly chipId?: number
  /** Clocks in hertz: processor, crystal, and the timer's where the port needs it. */
  readonly clockHz: number
  readonly crystalHz?: number
  readonly timerHz?: number
  readonly flash: MemoryRegion & { readonly page: number }
  /** Where code is started from when it is not the flash that can be written. */
  readonly code?: MemoryRegion
  readonly ram: MemoryRegion
  readonly layout: { readonly [part in LayoutPart]?: LayoutRegion }
  readonly uarts: readonly BoardUart[]
  readonly i2c: readonly { readonly scl: number; readonly sda: number }[]
}

export type LayoutPart = 'boot' | 'slotA' | 'slotB' | 'settings'

const parts: readonly LayoutPart[] = ['boot', 'slotA', 'slotB', 'settings']

/** Folder that holds core/, soc/ and boards/. */
export const firmwareRoot: string = fileURLToPath(
  // In the package this file is part of a bundle in dist/, the C lies beside that.
  new URL(import.meta.url.endsWith('.ts') ? '..' : '../firmware', import.meta.url),
).replace(/\/$/, '')

/** Names of all boards, without their aliases. */
export function boardNames(): readonly string[] {
  return readdirSync(join(firmwareRoot, 'boards'))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -5))
    .sort()
}

/** Loads a board by its name or an alias. SLUICE_FW_BOARD_UNKNOWN, SLUICE_FW_BOARD_INVALID. */
export function loadBoard(name: string): Board {
  const boards = boardNames()
  const found = boards.includes(name)
    ? readBoard(name)
    : boards.map(readBoard).find((one) => one.aliases.includes(name))
  if (found !== undefined) return found
  throw new SluiceError('SLUICE_FW_BOARD_UNKNOWN', `there is no board '${name}'`, {
    hint: `Boards: ${boards.join(', ')}. Another one is a file in firmware/boards.`,
  })
}

function readBoard(name: string): Board {
  const file = join(firmwareRoot, 'boards', `${name}.yaml`)
  return boardOf(name, readFileSync(file, 'utf8'), file)
}

/** A board from its YAML. `file` is for messages. */
export function boardOf(name: string, text: string, file: string): Board {
  const top = new Fields(parse(text), file, '')
  const memory = top.fields('memory')
  const flash = memory.fields('flash')
  const code = memory.optionalFields('code')
  const ram = memory.optionalFields('ram')
  const base = flash.number('base')
  const size = flash.number('size')
  const layout = top.fields('layout')
  const board: Board = {
    name,
    title: top.text('title'),
    aliases: top.list('aliases').map(String),
    soc: loadSoc(top.text('soc'), file),
    ...given('chipId', top.optionalNumber('chip')),
    clockHz: top.numberOr('clock', 0),
    ...given('crystalHz', top.optionalNumber('crystal')),
    ...given('timerHz', top.optionalNumber('timer')),
    flash: { base, size, page: flash.number('page') },
    ...(code === undefined ? {} : { code: { base: code.number('base'), size: code.number('size') } }),
    ram: { base: ram?.number('base') ?? 0, size: ram?.number('size') ?? 0 },
    layout: Object.fromEntries(
      parts.flatMap((part) => {
        const region = layout.optionalFields(part)
        return region === undefined
          ? []
          : [[part, { address: base + region.number('at'), size: region.number('size') }]]
      }),
    ),
    uarts: top.list('uarts').map((each, index) => uartOf(new Fields(each, file, `uarts[${index}]`))),
    i2c: top.list('i2c').map((each, index) => {
      const bus = new Fields(each, file, `i2c[${index}]`)
      return { scl: bus.number('scl'), sda: bus.number('sda') }
    }),
  }
  checkLayout(board, file)
  return board
}

function uartOf(fields: Fields): BoardUart {
  return {
    ...given('tx', fields.optionalNumber('tx')),
    ...given('rx', fields.optionalNumber('rx')),
    ...given('driver', fields.optionalNumber('driver')),
    ...given('base', fields.optionalNumber('base')),
    ...given('clock', fields.optionalNumber('clock')),
  }
}

function given<K extends string>(key: K, value: number | undefined): { [key in K]?: number } {
  const one: { [key in K]?: number } = {}
  if (value !== undefined) one[key] = value
  return one
}

function checkLayout(board: Board, file: string): void {
  const { flash } = board
  if (flash.page <= 0 || (flash.page & (flash.page - 1)) !== 0) {
    throw invalid(file, 'memory.flash.page', 'is not a power of two')
  }
  const regions = parts.flatMap((part) => {
    const region = board.layout[part]
    return region === undefined ? [] : [{ part, ...region }]
  })
  for (const { part, address, size } of regions) {
    if ((address - flash.base) % flash.page !== 0 || size % flash.page !== 0) {
      throw invalid(file, `layout.${part}`, `does not begin and end with a page of ${flash.page} bytes`)
    }
    if (address + size > flash.base + flash.size)
      throw invalid(file, `layout.${part}`, 'is beyond the end of the flash')
    const other = regions.find(
      (one) => one.part !== part && one.address < address + size && address < one.address + one.size,
    )
    if (other !== undefined) throw invalid(file, `layout.${part}`, `overlaps layout.${other.part}`)
  }
  const { slotA, slotB } = board.layout
  if (slotA !== undefined && slotB !== undefined && slotA.size !== slotB.size) {
    throw invalid(file, 'layout.slotB', 'is not as large as layout.slotA')
  }
}

function loadSoc(name: string, boardFile: string): Soc {
  const folder = join(firmwareRoot, 'soc', name)
  const file = join(folder, 'soc.yaml')
  if (!/^[a-z0-9-]+$/.test(name) || !existsSync(file)) {
    throw invalid(boardFile, 'soc', `names '${name}', and there is no such folder in firmware/soc`)
  }
  const fields = new Fields(parse(readFileSync(file, 'utf8')), file, '')
  const cpu = fields.optionalText('cpu')
  return {
    name,
    folder,
    compiler: fields.text('compiler') === 'cc' ? 'cc' : 'arm-none-eabi-gcc',
    ...(cpu === undefined ? {} : { cpu }),
    vtor: fields.flag('vtor'),
    interruptCount: fields.numberOr('interruptCount', 0),
    interrupts: new Map(
      (fields.optionalFields('interrupts')?.entries() ?? []).map(([key, value]) => [key, Number(value)]),
    ),
    stage2: fields.flag('stage2'),
    sources: fields.list('sources').map((each) => join(folder, String(each))),
  }
}

function invalid(file: string, field: string, what: string): SluiceError {
  return new SluiceError('SLUICE_FW_BOARD_INVALID', `${file}: ${field} ${what}`, {
    field,
    hint: 'Correct the file; firmware/boards has boards to compare with.',
  })
}

/** A YAML map whose fields are asked for one by one; what is missing or of another kind is an error with its place. */
class Fields {
  readonly #map: ReadonlyMap<string, unknown>
  readonly #file: string
  readonly #path: string

  constructor(value: unknown, file: string, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw invalid(file, path === '' ? 'the file' : path, 'is not a map')
    }
    this.#map = new Map(Object.entries(value))
    this.#file = file
    this.#path = path
  }

  entries(): [string, unknown][] {
    return [...this.#map]
  }

  fields(key: string): Fields {
    return new Fields(this.#map.get(key), this.#file, this.#at(key))
  }

  optionalFields(key: string): Fields | undefined {
    return this.#map.has(key) ? this.fields(key) : undefined
  }

  list(key: string): readonly unknown[] {
    const value = this.#map.get(key) ?? []
    if (!Array.isArray(value)) throw invalid(this.#file, this.#at(key), 'is not a list')
    return value
  }

  optionalText(key: string): string | undefined {
    const value = this.#map.get(key)
    return value === undefined ? undefined : String(value)
  }

  text(key: string): string {
    const value = this.optionalText(key)
    if (value === undefined || value === '') throw invalid(this.#file, this.#at(key), 'is missing')
    return value
  }

  flag(key: string): boolean {
    return this.#map.get(key) === true
  }

  /** A whole number; sizes may end in K. */
  number(key: string): number {
    const value = this.#map.get(key)
    const kibi = typeof value === 'string' ? /^(\d+)K$/.exec(value)?.[1] : undefined
    if (kibi !== undefined) return Number(kibi) * 1024
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
    throw invalid(this.#file, this.#at(key), value === undefined ? 'is missing' : 'is not a whole number')
  }

  optionalNumber(key: string): number | undefined {
    return this.#map.has(key) ? this.number(key) : undefined
  }

  numberOr(key: string, otherwise: number): number {
    return this.optionalNumber(key) ?? otherwise
  }

  #at(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`
  }
}
