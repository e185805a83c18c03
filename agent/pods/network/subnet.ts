import { readFileSync } from 'node:fs'

/** A range of IPv4 addresses. */
export interface Subnet {
  /** 32 bits, the lowest address. */
  readonly base: number
  readonly bits: number
}

/** Private ranges (RFC 1918) that engines and distributions do not take by themselves, most uncommon first. */
const CANDIDATES = ['10.213.0.0/22', '172.29.212.0/22', '10.149.64.0/22', '192.168.212.0/22', '172.26.148.0/22']

export function parseSubnet(text: string): Subnet | undefined {
  const [address = '', bits = ''] = text.split('/')
  const parts = address.split('.')
  if (parts.length !== 4 || !/^\d{1,2}$/.test(bits) || Number(bits) > 32) return undefined
  if (!parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255)) return undefined
  const value = parts.reduce((sum, part) => sum * 256 + Number(part), 0)
  return { base: masked(value, Number(bits)), bits: Number(bits) }
}

const masked = (value: number, bits: number): number => Math.floor(value / 2 ** (32 - bits)) * 2 ** (32 - bits)

export const overlaps = (a: Subnet, b: Subnet): boolean => {
  const bits = Math.min(a.bits, b.bits)
  return masked(a.base, bits) === masked(b.base, bits)
}

/** Networks that this machine has a way to, but for the way to everything else; `table` is `/proc/net/route`. */
export function routedSubnets(table: string): Subnet[] {
  return table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .flatMap((fields) => {
      const [, destination = '', , , , , , mask = ''] = fields
      if (!/^[0-9A-F]{8}$/i.test(destination) || !/^[0-9A-F]{8}$/i.test(mask)) return []
      // Written in the order of the machine's bytes.
      const read = (hex: string) => Buffer.from(hex, 'hex').readUInt32LE()
      const bits = read(mask).toString(2).replaceAll('0', '').length
      return bits === 0 ? [] : [{ base: masked(read(destination), bits), bits }]
    })
}

/** The first range that nothing of this machine's networks is in; undefined when all are taken. */
export function freeSubnet(
  table: string = readFileSync('/proc/net/route', 'utf8'),
  candidates: readonly string[] = CANDIDATES,
): string | undefined {
  const taken = routedSubnets(table)
  return candidates.find((text) => {
    const candidate = parseSubnet(text)
    return candidate !== undefined && !taken.some((one) => overlaps(one, candidate))
  })
}
