import { createHash } from 'node:crypto'
import type { FirmwareOrder } from '../../api/link/firmware.ts'
import type { LinkObject, LinkObjectKind } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { ObjectSource } from '../hub/inventory.ts'

/** Who serves a device now, and its uid. */
export type FindDevice = (key: ObjectKey) => { readonly uid: string; readonly gateway: string | undefined } | undefined

/** What devices are to run just now, for the gateways that serve them. A gateway that holds one carries it out. */
export class FirmwareOrders implements ObjectSource {
  readonly kinds = ['FirmwareUpdate'] as const
  readonly #orders = new Map<ObjectKey, { readonly spec: FirmwareOrder; readonly rev: string }>()
  readonly #find: FindDevice
  /** Called with a device and its gateway when what that is to hold has changed. */
  onChange: (gateway: string, key: ObjectKey) => void = () => {}

  constructor(find: FindDevice) {
    this.#find = find
  }

  get(key: ObjectKey): FirmwareOrder | undefined {
    return this.#orders.get(key)?.spec
  }

  set(key: ObjectKey, spec: FirmwareOrder): void {
    const rev = createHash('sha256').update(JSON.stringify(spec)).digest('base64url').slice(0, 16)
    if (this.#orders.get(key)?.rev === rev) return
    this.#orders.set(key, { spec, rev })
    this.#tell(key)
  }

  delete(key: ObjectKey): void {
    if (this.#orders.delete(key)) this.#tell(key)
  }

  /** Another gateway serves the device. */
  moved(key: ObjectKey, ...gateways: readonly (string | undefined)[]): void {
    if (!this.#orders.has(key)) return
    for (const gateway of gateways) if (gateway !== undefined) this.onChange(gateway, key)
  }

  *wantedBy(gateway: string): Generator<{ readonly kind: LinkObjectKind; readonly key: ObjectKey }> {
    for (const key of this.#orders.keys())
      if (this.#find(key)?.gateway === gateway) yield { kind: 'FirmwareUpdate', key }
  }

  isWanted(gateway: string, _kind: LinkObjectKind, key: ObjectKey): boolean {
    return this.#orders.has(key) && this.#find(key)?.gateway === gateway
  }

  rev(gateway: string, kind: LinkObjectKind, key: ObjectKey): string | undefined {
    return this.isWanted(gateway, kind, key) ? this.#orders.get(key)?.rev : undefined
  }

  linkObject(gateway: string, kind: LinkObjectKind, key: ObjectKey): LinkObject | undefined {
    const order = this.#orders.get(key)
    const device = this.#find(key)
    if (order === undefined || device?.gateway !== gateway || kind !== 'FirmwareUpdate') return undefined
    return { kind, key, rev: order.rev, object: { uid: device.uid, spec: order.spec } }
  }

  #tell(key: ObjectKey): void {
    const gateway = this.#find(key)?.gateway
    if (gateway !== undefined) this.onChange(gateway, key)
  }
}
