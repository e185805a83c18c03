import { isIP, isIPv4, isIPv6 } from 'node:net'

const CHECKS: Readonly<Record<string, (value: string) => boolean>> = {
  'date-time': (value) =>
    /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(value) && !Number.isNaN(Date.parse(value)),
  date: (value) => /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value)),
  duration: (value) => /^[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(value) || value === '0',
  byte: (value) => /^[A-Za-z0-9+/]*={0,2}$/.test(value) && value.length % 4 === 0,
  uuid: (value) => /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(value),
  ipv4: isIPv4,
  ipv6: isIPv6,
  ip: (value) => isIP(value) !== 0,
  cidr: (value) => {
    const [address, bits, ...rest] = value.split('/')
    return rest.length === 0 && isIP(address ?? '') !== 0 && /^\d{1,3}$/.test(bits ?? '')
  },
  mac: (value) => /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(value),
  hostname: (value) =>
    value.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/i.test(value),
  email: (value) => value.length <= 320 && /^[^\s@]+@[^\s@]+$/.test(value),
  uri: (value) => URL.canParse(value),
  quantity: (value) => QUANTITY.test(value),
}

/** resource.Quantity: a decimal number with a binary (Ki), decimal (k) or exponent suffix. */
const QUANTITY = /^[+-]?(\d+|\d+\.\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$/

/** Formats that are not known are not checked, as the real server does it. */
export function checkFormat(format: string, value: string): boolean {
  return CHECKS[format]?.(value) ?? true
}
