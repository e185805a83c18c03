/** Which radio a device is reached by, from `adapter:` of its address. */
export type Adapter =
  | { readonly kind: 'hci'; readonly index: number }
  | { readonly kind: 'uart'; readonly port: string; readonly baud: number }
  | { readonly kind: 'bluez'; readonly name: string }

export const DEFAULT_ADAPTER = 'hci0'
const DEFAULT_BAUD = 1_000_000

export function adapterOf(text: string = DEFAULT_ADAPTER, baud: number = DEFAULT_BAUD): Adapter {
  if (text.startsWith('/')) return { kind: 'uart', port: text, baud }
  const bluez = /^bluez(?::(\w+))?$/.exec(text)
  if (bluez !== null) return { kind: 'bluez', name: bluez[1] ?? 'hci0' }
  const index = /^hci(\d{1,2})$/.exec(text)?.[1]
  return { kind: 'hci', index: index === undefined ? -1 : Number(index) }
}

export const isAdapter = (text: string): boolean => /^(\/.+|hci\d{1,2}|bluez(:\w+)?)$/.test(text)
