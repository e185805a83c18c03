/**
 * A boot ROM of our own for the emulated RP2040: vectors, the lookup function, and the six flash functions as breakpoints
 * whose number says which one. The emulator's flash is an array; the functions are done in TypeScript.
 */

export const romBreaks = {
  connect: 0x10,
  exitXip: 0x11,
  erase: 0x12,
  program: 0x13,
  flush: 0x14,
  enterXip: 0x15,
} as const

const codes: readonly (readonly [string, number])[] = [
  ['IF', romBreaks.connect],
  ['EX', romBreaks.exitXip],
  ['RE', romBreaks.erase],
  ['RP', romBreaks.program],
  ['FC', romBreaks.flush],
  ['CX', romBreaks.enterXip],
]

const lookupAt = 0x40
const functionsAt = 0x80
const tableAt = 0xc0

/**
 * r0: table of (code, pointer) half-words that ends in 0, r1: code. Returns the pointer or 0, as RP2040 datasheet
 * section 2.8.3.1.1 describes it.
 */
const lookup = [
  0x8802, // again: ldrh r2, [r0]
  0x2a00, //        cmp r2, #0
  0xd004, //        beq none
  0x428a, //        cmp r2, r1
  0xd004, //        beq found
  0x3004, //        adds r0, #4
  0xe7f8, //        b again
  0x46c0, //        nop
  0x2000, // none:  movs r0, #0
  0x4770, //        bx lr
  0x8840, // found: ldrh r0, [r0, #2]
  0x4770, //        bx lr
]

/** 16 KiB, as the emulator takes it: 32-bit words, least byte first. */
export function stubRom(): Uint32Array {
  const rom = new DataView(new ArrayBuffer(0x4000))
  rom.setUint16(0x14, tableAt, true)
  rom.setUint16(0x18, lookupAt | 1, true)
  for (const [index, half] of lookup.entries()) rom.setUint16(lookupAt + 2 * index, half, true)
  for (const [index, [code, number]] of codes.entries()) {
    const at = functionsAt + 4 * index
    rom.setUint16(at, 0xbe00 | number, true) // bkpt
    rom.setUint16(at + 2, 0x4770, true) // bx lr
    rom.setUint16(tableAt + 4 * index, code.charCodeAt(0) | (code.charCodeAt(1) << 8), true)
    rom.setUint16(tableAt + 4 * index + 2, at | 1, true)
  }
  return new Uint32Array(rom.buffer)
}
