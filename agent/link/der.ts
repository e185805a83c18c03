/**
 * The few DER types a certificate request needs (ITU-T X.690, section 8 and 10). Each function returns a whole
 * tag-length-value.
 */

export function tagged(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content])
}

export const sequence = (...items: readonly Uint8Array[]): Buffer => tagged(0x30, ...items)

export const setOf = (...items: readonly Uint8Array[]): Buffer => tagged(0x31, ...items)

/** A small non-negative integer, 0 to 127. */
export const smallInteger = (value: number): Buffer => tagged(0x02, Buffer.from([value]))

export const utf8String = (text: string): Buffer => tagged(0x0c, Buffer.from(text, 'utf8'))

/** A bit string of whole bytes. */
export const bitString = (bytes: Uint8Array): Buffer => tagged(0x03, Buffer.from([0]), bytes)

/** An object identifier in dotted form. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

function base128(value: number): number[] {
  const bytes = [value & 0x7f]
  for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128)) bytes.unshift((left & 0x7f) | 0x80)
  return bytes
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length])
  const bytes: number[] = []
  for (let left = length; left > 0; left = Math.floor(left / 256)) bytes.unshift(left & 0xff)
  return Buffer.from([0x80 | bytes.length, ...bytes])
}
