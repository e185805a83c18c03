/** A controller that is spoken to in HCI, by a host stack in this process. */
export type HciAdapter =
  | { readonly kind: 'hci'; readonly index: number }
  | { readonly kind: 'uart'; readonly port: string; readonly baud: number }

/** Which radio a device is reached by, from `adapter:` of its address. */
export type Adapter = HciAdapter | { readonly kind: 'bluez'; readonly name: string }

/** What to look at when a radio of this kind cannot be had. */
export const RADIO_HINT: Readonly<Record<Adapter['kind'], string>> = {
  hci: 'Is the adapter there, down or free (hciconfig), and may this process open it (CAP_NET_RAW, CAP_NET_ADMIN)? bluez:hci0 needs no such right.',
  uart: 'Is the port right, is this user in the group dialout, and does an HCI controller listen there at this baud rate?',
  bluez: 'Is bluetoothd running, the adapter powered, and this user in the group bluetooth?',
}

/** The one way that an ordinary user may go, and that shares the adapter with others and keeps keys. */
export const DEFAULT_ADAPTER = 'bluez:hci0'
const DEFAULT_BAUD = 1_000_000

export function adapterOf(text: string = DEFAULT_ADAPTER, baud: number = DEFAULT_BAUD): Adapter {
  if (text.startsWith('/')) return { kind: 'uart', port: text, baud }
  const bluez = /^bluez(?::(\w+))?$/.exec(text)
  if (bluez !== null) return { kind: 'bluez', name: bluez[1] ?? 'hci0' }
  const index = /^hci(\d{1,2})$/.exec(text)?.[1]
  return { kind: 'hci', index: index === undefined ? -1 : Number(index) }
}

export const isAdapter = (text: string): boolean => /^(\/.+|hci\d{1,2}|bluez(:\w+)?)$/.test(text)

export const nameOf = (adapter: Adapter): string =>
  adapter.kind === 'uart' ? adapter.port : adapter.kind === 'hci' ? `hci${adapter.index}` : `bluez:${adapter.name}`
