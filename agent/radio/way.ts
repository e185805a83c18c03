import { isIPv4, isIPv6 } from 'node:net'
import { parseRoutes4, parseRoutes6, type Route } from './proc-net.ts'

/**
 * The interface through which an address is reached: the longest matching route, and of several the one with the lowest
 * metric, as the kernel's main table decides. `undefined` for the address means "anywhere": the default route, IPv4
 * before IPv6. Policy routing and other tables are not looked at.
 */
export function wayTo(address: string | undefined, routes4: string, routes6: string): string | undefined {
  if (address === undefined) return best(parseRoutes4(routes4), 0n, 32, 0) ?? best(parseRoutes6(routes6), 0n, 128, 0)
  const plain = address.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=\d+\.)/i, '')
  const scope = plain.indexOf('%')
  if (scope >= 0) return plain.slice(scope + 1)
  if (isIPv4(plain)) return isLoopback4(plain) ? 'lo' : best(parseRoutes4(routes4), ipv4(plain), 32)
  if (isIPv6(plain)) return plain === '::1' ? 'lo' : best(parseRoutes6(routes6), ipv6(plain), 128)
  return wayTo(undefined, routes4, routes6)
}

const isLoopback4 = (address: string): boolean => address.startsWith('127.')

function best(routes: readonly Route[], address: bigint, width: number, onlyPrefix?: number): string | undefined {
  let found: Route | undefined
  for (const route of routes) {
    if (onlyPrefix !== undefined && route.prefix !== onlyPrefix) continue
    // The table of IPv6 has entries of the loopback interface for addresses that nothing leads to.
    if (route.interfaceName === 'lo') continue
    const shift = BigInt(width - route.prefix)
    if (address >> shift !== route.network >> shift) continue
    const longer = found === undefined || route.prefix > found.prefix
    if (longer || (route.prefix === found!.prefix && route.metric < found!.metric)) found = route
  }
  return found?.interfaceName
}

const ipv4 = (address: string): bigint => address.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n)

function ipv6(address: string): bigint {
  const mapped = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  const tail = mapped === null ? undefined : ipv4(mapped[2]!)
  const text =
    mapped === null ? address : `${mapped[1]}${(tail! >> 16n).toString(16)}:${(tail! & 0xffffn).toString(16)}`
  const [head = '', rest] = text.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = rest === undefined || rest === '' ? [] : rest.split(':')
  const zeros = rest === undefined ? 0 : 8 - left.length - right.length
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right]
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n)
}
