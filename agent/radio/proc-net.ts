/** Parsers of the files under `/proc/net`. What does not look as the kernel writes it is left out, never guessed. */

/** One line of `/proc/net/wireless` (wireless extensions; `net/wireless/wext-proc.c` of Linux). */
export interface WirelessLine {
  /** The driver's own figure; mac80211 gives 0 to 70. */
  readonly link: number
  /** dBm; undefined where the driver gives none. */
  readonly signalDbm: number | undefined
  readonly noiseDbm: number | undefined
  readonly discardedRetries: number
  readonly missedBeacons: number
}

/** Counters of one interface in `/proc/net/dev` since it came up. */
export interface DeviceCounters {
  readonly rxBytes: number
  readonly rxPackets: number
  readonly rxErrors: number
  readonly txBytes: number
  readonly txPackets: number
  readonly txErrors: number
}

/** A route: the way to everything whose first `prefix` bits are those of `network`. */
export interface Route {
  readonly interfaceName: string
  readonly network: bigint
  readonly prefix: number
  readonly metric: number
}

/** What drivers give for "not known": -256 is an invalid level, 0 and what is above is no received signal. */
const NO_LEVEL_BELOW = -200
const NO_NOISE_BELOW = -150

export function parseWireless(text: string): Map<string, WirelessLine> {
  const found = new Map<string, WirelessLine>()
  for (const [name, fields] of interfaceLines(text)) {
    const numbers = fields.slice(1, 10).map((field) => Number(field.replace(/\.$/, '')))
    if (numbers.length < 9 || numbers.some((value) => !Number.isFinite(value))) continue
    const [link, level, noise, , , , retries, , beacons] = numbers as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ]
    const signalDbm = dbm(level, NO_LEVEL_BELOW)
    found.set(name, {
      link,
      signalDbm,
      noiseDbm: dbm(noise, NO_NOISE_BELOW),
      discardedRetries: Math.max(0, retries),
      missedBeacons: Math.max(0, beacons),
    })
  }
  return found
}

/** Old drivers write the byte without its sign: 196 for -60. */
function dbm(value: number, lowest: number): number | undefined {
  const signed = value > 63 && value < 256 ? value - 256 : value
  return signed < 0 && signed > lowest ? signed : undefined
}

export function parseNetDev(text: string): Map<string, DeviceCounters> {
  const found = new Map<string, DeviceCounters>()
  for (const [name, fields] of interfaceLines(text)) {
    if (fields.length < 16) continue
    const numbers = fields.slice(0, 16).map(Number)
    if (numbers.some((value) => !Number.isFinite(value) || value < 0)) continue
    found.set(name, {
      rxBytes: numbers[0]!,
      rxPackets: numbers[1]!,
      rxErrors: numbers[2]!,
      txBytes: numbers[8]!,
      txPackets: numbers[9]!,
      txErrors: numbers[10]! + numbers[14]!,
    })
  }
  return found
}

/** Lines such as ` wlan0: 1 2 3`; the heading lines have no colon or a `|`. */
function* interfaceLines(text: string): Generator<readonly [string, readonly string[]]> {
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon <= 0 || line.includes('|')) continue
    const name = line.slice(0, colon).trim()
    if (name === '' || name.length > 15) continue
    yield [
      name,
      line
        .slice(colon + 1)
        .trim()
        .split(/\s+/),
    ]
  }
}

const UP = 0x1
const REJECT = 0x200

/** `/proc/net/route`: addresses are 32-bit words in the machine's own byte order, which is little-endian everywhere we run. */
export function parseRoutes4(text: string): Route[] {
  return text.split('\n').flatMap((line): Route[] => {
    const fields = line.split('\t').map((field) => field.trim())
    const [interfaceName = '', destination = '', , flags = '', , , metric = '', mask = ''] = fields
    if (!isHex(destination, 8) || !isHex(mask, 8) || !isHex(flags, 1) || !/^\d+$/.test(metric)) return []
    const flagBits = Number.parseInt(flags, 16)
    if ((flagBits & UP) === 0 || (flagBits & REJECT) !== 0) return []
    const prefix = bitsOf(swapped(mask))
    return prefix === undefined
      ? []
      : [{ interfaceName, network: BigInt(swapped(destination)), prefix, metric: Number(metric) }]
  })
}

/** `/proc/net/ipv6_route`: destination, prefix, source, prefix, next hop, metric, references, uses, flags, interface. */
export function parseRoutes6(text: string): Route[] {
  return text.split('\n').flatMap((line): Route[] => {
    const fields = line.trim().split(/\s+/)
    const [destination = '', prefix = '', , , , metric = '', , , flags = '', interfaceName = ''] = fields
    if (fields.length !== 10 || !isHex(destination, 32) || !isHex(prefix, 2) || !isHex(metric, 8) || !isHex(flags, 8))
      return []
    const flagBits = Number.parseInt(flags, 16)
    const bits = Number.parseInt(prefix, 16)
    if ((flagBits & UP) === 0 || (flagBits & REJECT) !== 0 || bits > 128) return []
    return [{ interfaceName, network: BigInt(`0x${destination}`), prefix: bits, metric: Number.parseInt(metric, 16) }]
  })
}

const isHex = (text: string, length: number): boolean =>
  (length === 1 ? text.length > 0 && text.length <= 8 : text.length === length) && /^[0-9a-fA-F]+$/.test(text)

const swapped = (word: string): number => {
  const value = Number.parseInt(word, 16)
  return (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0
}

/** Length of a mask; undefined for one with holes. */
function bitsOf(mask: number): number | undefined {
  const bits = Math.clz32(~mask >>> 0)
  return mask === (bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0) ? bits : undefined
}
