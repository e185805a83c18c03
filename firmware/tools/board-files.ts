import { SluiceError } from '../../api/errors.ts'
import type { Board, MemoryRegion } from './board.ts'

/**
 * What an image is and where it runs: `standalone` at the start of the flash without a bootloader, `boot` the
 * bootloader itself, `slotA` and `slotB` behind the header of an image in a slot.
 */
export type ImageKind = 'standalone' | 'boot' | 'slotA' | 'slotB'

/** Bytes in front of the vector table of an image in a slot: MCUboot's header, padded so that the table is aligned. */
export const imageHeaderBytes = 0x200

/** At the end of RAM, kept over a reset: 32 bytes note (hal.h), 32 bytes for startup code. */
const keptBytes = 64

const stage2Bytes = 256

/** Where the image's first byte (stage 2 or vector table) is and how much room there is. */
export function imageRegion(board: Board, image: ImageKind): MemoryRegion {
  if (image === 'slotA' || image === 'slotB') {
    const slot = board.layout[image]
    if (slot === undefined) throw noRoom(board, image)
    // The last page of a slot is its trailer (core/slots.h).
    return { base: slot.address + imageHeaderBytes, size: slot.size - imageHeaderBytes - board.flash.page }
  }
  if (board.code !== undefined) return board.code
  const { boot } = board.layout
  if (image === 'standalone') return board.flash
  if (boot === undefined) throw noRoom(board, image)
  return { base: boot.address, size: boot.size }
}

function noRoom(board: Board, image: ImageKind): SluiceError {
  return new SluiceError(
    'SLUICE_FW_BOARD_INVALID',
    `board '${board.name}' has no room for an image of kind '${image}'`,
    {
      hint: 'Its layout lacks that part.',
    },
  )
}

const hex = (value: number): string => `0x${value.toString(16).toUpperCase().padStart(8, '0')}u`

/** board.h: everything C has to know of the board. */
export function boardHeader(board: Board, image: ImageKind): string {
  const region = imageRegion(board, image)
  const lines = [
    ['SL_BOARD', JSON.stringify(board.name)],
    ['SL_CLOCK_HZ', `${board.clockHz}u`],
    ...(board.crystalHz === undefined ? [] : [['SL_CRYSTAL_HZ', `${board.crystalHz}u`]]),
    ...(board.timerHz === undefined ? [] : [['SL_TIMER_HZ', `${board.timerHz}u`]]),
    ['SL_FLASH_BASE', hex(board.flash.base)],
    ['SL_FLASH_SIZE', hex(board.flash.size)],
    ['SL_FLASH_PAGE', hex(board.flash.page)],
    ['SL_RAM_BASE', hex(board.ram.base)],
    ['SL_RAM_SIZE', hex(board.ram.size)],
    ['SL_NOTE_ADDRESS', hex(board.ram.base + board.ram.size - 32)],
    ['SL_KEPT_ADDRESS', hex(board.ram.base + board.ram.size - keptBytes)],
    ['SL_IMAGE_BASE', hex(region.base)],
    ['SL_IMAGE_ROOM', hex(region.size)],
    ['SL_IMAGE_HEADER_SIZE', hex(imageHeaderBytes)],
    ['SL_IMAGE_IS_BOOT', image === 'boot' ? '1' : '0'],
    ['SL_HAS_VTOR', board.soc.vtor ? '1' : '0'],
    ['SL_INTERRUPT_COUNT', `${board.soc.interruptCount}u`],
    ...layoutLines(board),
    ['SL_UART_COUNT', String(board.uarts.length)],
    ...board.uarts.flatMap((uart, index) =>
      Object.entries({ TX: uart.tx, RX: uart.rx, DRIVER: uart.driver, BASE: uart.base, CLOCK_HZ: uart.clock }).flatMap(
        ([what, value]) => (value === undefined ? [] : [[`SL_UART${index}_${what}`, `${value}u`]]),
      ),
    ),
    ...board.i2c.flatMap(({ scl, sda }, index) => [
      [`SL_I2C${index}_SCL`, `${scl}u`],
      [`SL_I2C${index}_SDA`, `${sda}u`],
    ]),
  ]
  const body = lines.map(([name, value]) => `#define ${name} ${value}`).join('\n')
  return `/* Generated from firmware/boards/${board.name}.yaml. */\n#ifndef SL_BOARD_H\n#define SL_BOARD_H\n\n${body}\n\n#endif\n`
}

function layoutLines(board: Board): string[][] {
  const names = { boot: 'BOOT', slotA: 'SLOT_A', slotB: 'SLOT_B', settings: 'SETTINGS' } as const
  return Object.entries(names).flatMap(([part, name]) => {
    const region = Object.entries(board.layout).find(([key]) => key === part)?.[1]
    return region === undefined
      ? []
      : [
          [`SL_${name}_ADDRESS`, hex(region.address)],
          [`SL_${name}_SIZE`, hex(region.size)],
        ]
  })
}

/** interrupts.h: numbers and prototypes of the interrupts the port handles. */
export function interruptsHeader(board: Board): string {
  const numbers = [...board.soc.interrupts].map(([name, number]) => `#define SL_IRQ_${name.toUpperCase()} ${number}u`)
  const isrs = [...exceptions, ...board.soc.interrupts.keys()].map((name) => `void sl_isr_${name}(void);`)
  return [
    `/* Generated from firmware/soc/${board.soc.name}/soc.yaml. */`,
    '#ifndef SL_INTERRUPTS_H\n#define SL_INTERRUPTS_H\n',
    ...numbers,
    '',
    ...isrs,
    '\n#endif\n',
  ].join('\n')
}

const exceptions = ['nmi', 'systick'] as const

/** vectors.c: the table a Cortex-M starts from. Whatever nobody handles starts the board over. */
export function vectorTable(board: Board, image: ImageKind): string {
  const { soc } = board
  const irqs = new Map([...soc.interrupts].map(([name, number]) => [number, `sl_isr_${name}`]))
  const handlers = [
    'sl_isr_nmi',
    ...Array<string>(12).fill('sl_fault_handler'),
    'sl_isr_systick',
    ...Array.from({ length: soc.interruptCount }, (_, number) => irqs.get(number) ?? 'sl_fault_handler'),
  ]
  const names = [...new Set(handlers)].filter((name) => name !== 'sl_fault_handler')
  const weak = names.map((name) => `void ${name}(void) __attribute__((weak, alias("sl_unexpected")));`)
  const table = (name: string, section: string, entries: readonly string[]) =>
    `const sl_vectors ${name} __attribute__((section("${section}"), used)) = {\n  sl_stack_top,\n  {sl_reset_handler,\n${entries.map((one) => `   ${one},`).join('\n')}}};\n`
  // A bootloader without VTOR starts at trampolines; its own table stands elsewhere, named by the note (hal.h).
  const trampolines = image === 'boot' && !soc.vtor
  return [
    `/* Generated from firmware/soc/${soc.name}/soc.yaml. */`,
    '#include <stdint.h>\n',
    '#include "startup.h"\n',
    'extern uint32_t sl_stack_top[];',
    'void sl_unexpected(void);',
    'void sl_unexpected(void) { sl_fault_handler(); }',
    ...weak,
    ...(trampolines ? ['void sl_trampoline(void);'] : []),
    `\ntypedef struct {\n  uint32_t *stack;\n  void (*handlers[${handlers.length + 1}])(void);\n} sl_vectors;\n`,
    ...(trampolines
      ? [
          table('sl_first_vectors', '.vectors', Array<string>(handlers.length).fill('sl_trampoline')),
          table('sl_own_vectors', '.rodata.own_vectors', handlers),
        ]
      : [table('sl_first_vectors', '.vectors', handlers)]),
  ].join('\n')
}

/** The linker script. The stack is lowest in RAM: one that grows too far faults instead of overwriting variables. */
export function linkerScript(board: Board, image: ImageKind, stackBytes: number): string {
  const region = imageRegion(board, image)
  const stage2 = board.soc.stage2 && image !== 'slotA' && image !== 'slotB'
  return `/* Generated from firmware/boards/${board.name}.yaml. */
MEMORY {
  CODE (rx) : ORIGIN = ${hex(region.base).slice(0, -1)}, LENGTH = ${region.size}
  RAM (rwx) : ORIGIN = ${hex(board.ram.base).slice(0, -1)}, LENGTH = ${board.ram.size - keptBytes}
}
ENTRY(sl_reset_handler)
SECTIONS {
  .text : {
${stage2 ? `    KEEP(*(.stage2))\n    . = ${stage2Bytes};\n` : ''}    KEEP(*(.vectors))
    *(.text .text.*)
    *(.rodata .rodata.*)
    . = ALIGN(4);
  } > CODE
  .stack (NOLOAD) : {
    . += ${stackBytes};
    . = ALIGN(8);
    sl_stack_top = .;
  } > RAM
  .data : {
    sl_data_start = .;
    *(.ramfunc)
    *(.data .data.*)
    . = ALIGN(4);
    sl_data_end = .;
  } > RAM AT > CODE
  sl_data_load = LOADADDR(.data);
  .bss (NOLOAD) : {
    sl_bss_start = .;
    *(.bss .bss.* COMMON)
    . = ALIGN(4);
    sl_bss_end = .;
  } > RAM
  .noinit (NOLOAD) : { *(.noinit) } > RAM
  /DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) *(.comment) *(.ARM.attributes) }
}
`
}
