import type { ObjectKey } from '../../../api/resources.ts'
import type { LoraDevice } from '../device-config.ts'
import type { ServedDevice } from './served-device.ts'
import type { Session } from './session.ts'

/** The devices of the network server by name, by DevEUI and by the address of their session. */
export class DeviceIndex {
  readonly byKey = new Map<ObjectKey, ServedDevice>()
  readonly byEui = new Map<string, ServedDevice>()
  /** Several may share an address: the MIC tells them apart. */
  readonly byAddr = new Map<number, ServedDevice[]>()

  add(served: ServedDevice): void {
    this.byKey.set(served.device.key, served)
    this.byEui.set(served.device.devEui, served)
    this.#index(served)
  }

  remove(served: ServedDevice): void {
    const { key, devEui } = served.device
    this.byKey.delete(key)
    if (this.byEui.get(devEui) === served) this.byEui.delete(devEui)
    this.#unindex(served)
  }

  /** The device joined: from now on it is found by its new address only. */
  renew(served: ServedDevice, session: Session): void {
    this.#unindex(served)
    served.session = session
    served.sealed = undefined
    this.#index(served)
  }

  #index(served: ServedDevice): void {
    if (served.session === undefined) return
    const { devAddr } = served.session
    this.byAddr.set(devAddr, [...(this.byAddr.get(devAddr) ?? []), served])
  }

  #unindex(served: ServedDevice): void {
    if (served.session === undefined) return
    const { devAddr } = served.session
    const others = (this.byAddr.get(devAddr) ?? []).filter((each) => each !== served)
    if (others.length === 0) this.byAddr.delete(devAddr)
    else this.byAddr.set(devAddr, others)
  }
}

/** Whether nothing changed that a device's session, its windows or its keys depend on. */
export function sameRadio(a: LoraDevice, b: LoraDevice): boolean {
  const same = (one: LoraDevice) =>
    [one.devEui, one.joinEui, one.regionName, one.subBand, one.counterResets, one.deviceClass].join()
  if (same(a) !== same(b)) return false
  const [one, two] = [a.activation, b.activation]
  if (one.kind === 'otaa') return two.kind === 'otaa' && one.appKey.equals(two.appKey)
  if (one.kind !== 'abp' || two.kind !== 'abp') return one.kind === two.kind
  const { nwkSKey, appSKey } = one.keys
  return one.devAddr === two.devAddr && nwkSKey.equals(two.keys.nwkSKey) && appSKey.equals(two.keys.appSKey)
}
