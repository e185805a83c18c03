/** Names of FAT directories: 8.3 and long ones (Microsoft, FAT32 File System Specification 1.03, "Long Directory Entries"). */

const SHORT_CHARACTERS = /^[A-Z0-9!#$%&'()@^_`{}~-]+$/
/** 13 UTF-16 units an entry; the specification allows 255. */
export const MAX_NAME_UNITS = 255
const UNITS_AT = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30]

/** `README.TXT` as its 11 bytes, or undefined where a long name is needed. */
export function plainShortName(name: string): Buffer | undefined {
  const [base = '', extension = '', ...more] = name.split('.')
  if (more.length > 0 || !SHORT_CHARACTERS.test(base) || base.length > 8) return undefined
  if (name.includes('.') && (!SHORT_CHARACTERS.test(extension) || extension.length > 3)) return undefined
  return Buffer.from(base.padEnd(8) + extension.padEnd(3), 'latin1')
}

/** An 8.3 name that is not taken yet, after the fashion of `FIRSTR~1.SH`. */
export function aliasFor(name: string, taken: ReadonlySet<string>): Buffer {
  const dot = name.lastIndexOf('.')
  const clean = (text: string) => text.toUpperCase().replace(/[^A-Z0-9_-]/g, '')
  const base = clean(dot > 0 ? name.slice(0, dot) : name) || 'FILE'
  const extension = clean(dot > 0 ? name.slice(dot + 1) : '').slice(0, 3)
  for (let number = 1; ; number++) {
    const tail = `~${number}`
    const short = base.slice(0, 8 - tail.length) + tail
    const bytes = Buffer.from(short.padEnd(8) + extension.padEnd(3), 'latin1')
    if (!taken.has(bytes.toString('latin1'))) return bytes
  }
}

export function checksum(short: Uint8Array): number {
  let sum = 0
  for (const byte of short) sum = (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff
  return sum
}

/** The entries that come before the short one, last part first. */
export function longEntries(name: string, short: Uint8Array): Buffer[] {
  const count = Math.ceil(name.length / UNITS_AT.length)
  const entries: Buffer[] = []
  for (let order = count; order >= 1; order--) {
    const entry = Buffer.alloc(32)
    entry.writeUInt8(order | (order === count ? 0x40 : 0), 0)
    entry.writeUInt8(0x0f, 11)
    entry.writeUInt8(checksum(short), 13)
    for (const [index, at] of UNITS_AT.entries()) {
      const unit = (order - 1) * UNITS_AT.length + index
      const code = unit < name.length ? name.charCodeAt(unit) : unit === name.length ? 0 : 0xffff
      entry.writeUInt16LE(code, at)
    }
    entries.push(entry)
  }
  return entries
}

/** The 13 units of one long entry; ends at the terminator. */
export function unitsOf(entry: Buffer): string {
  const codes = UNITS_AT.map((at) => entry.readUInt16LE(at))
  const end = codes.findIndex((code) => code === 0 || code === 0xffff)
  return String.fromCharCode(...(end < 0 ? codes : codes.slice(0, end)))
}

/** `FIRSTRUN.SH` of the 11 bytes; the two flags of Windows NT say which half is in lower case. */
export function shortNameOf(entry: Buffer): string {
  const flags = entry.readUInt8(12)
  const base = entry.toString('latin1', 0, 8).trimEnd()
  const extension = entry.toString('latin1', 8, 11).trimEnd()
  const name = (flags & 0x08) !== 0 ? base.toLowerCase() : base
  const ending = (flags & 0x10) !== 0 ? extension.toLowerCase() : extension
  return ending === '' ? name : `${name}.${ending}`
}
