/** `0000xxxx-0000-1000-8000-00805f9b34fb`, Bluetooth Core 5.4, Vol 3 Part B, 2.5.1. */
const BASE = '00001000800000805f9b34fb'

/**
 * One spelling for every UUID: lower case without dashes, and only the four digits where it is a 16-bit one. Accepts 4,
 * 8 or 32 digits with or without dashes and `0x`. Text that is no UUID comes back in lower case.
 */
export function shortUuid(text: string): string {
  const digits = text.toLowerCase().replace(/^0x/, '').replaceAll('-', '')
  if (digits.length === 8 && digits.startsWith('0000')) return digits.slice(4)
  if (digits.length === 32 && digits.endsWith(BASE)) return shortUuid(digits.slice(0, 8))
  return digits
}

export const isUuid = (text: string): boolean => /^([0-9a-f]{4}|[0-9a-f]{8}|[0-9a-f]{32})$/.test(shortUuid(text))
