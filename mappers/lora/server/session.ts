import type { MapperStorage } from '../../sdk/mapper.ts'
import type { LoraDevice } from '../device-config.ts'
import { LoraKey, type SessionKeys } from '../keys.ts'
import { unseal } from '../sealed.ts'
import { type Carried, DOWNLINK_MARGIN, opens, sealSession } from './carried.ts'
import { startState } from './mac-layer.ts'

/** What the device has been told of its radio, as far as it confirmed it. Kept so that a restart forgets nothing. */
export interface RadioState {
  rx1Delay: number
  rx1DrOffset: number
  rx2Dr: number
  rx2Hz: number
  dr: number
  txPower: number
  nbTrans: number
  /** Fixed plans: the sub-band's mask is in force. Dynamic plans: numbers of the extra channels the device knows. */
  channels: number[]
  dwell: boolean
  /** MAC requests the device refused, so that they are not repeated for ever. */
  refused: string[]
  statusAskedAtMs: number
  maxDutyCycle: number
  txParamsTold: boolean
}

/** The security context of one device and where its counters stand. */
export interface Session {
  readonly devAddr: number
  readonly keys: SessionKeys
  /** Counter of the uplink accepted last, -1 before the first. */
  fUp: number
  /** Counter of the next downlink; only ever used after it is on the disk as used. */
  fDown: number
  radio: RadioState
}

/** Used DevNonces: a list while it is short, a map of all 65 536 bits when a device joins very often. */
const LIST_LIMIT = 4096

export class DevNonces {
  #list: Set<number> | undefined = new Set()
  #bits: Uint8Array | undefined

  constructor(stored?: string) {
    if (stored === undefined) return
    const bytes = Buffer.from(stored.slice(1), 'base64')
    if (stored[0] === 'b' && bytes.length === 8192) {
      this.#bits = new Uint8Array(bytes)
      this.#list = undefined
      return
    }
    for (let at = 0; at + 1 < bytes.length; at += 2) this.#list!.add(bytes.readUInt16LE(at))
  }

  has(nonce: number): boolean {
    if (this.#bits !== undefined) return (this.#bits[nonce >> 3]! & (1 << (nonce & 7))) !== 0
    return this.#list!.has(nonce)
  }

  add(nonce: number): void {
    if (this.#bits === undefined && this.#list!.size >= LIST_LIMIT) {
      this.#bits = new Uint8Array(8192)
      for (const used of this.#list!) this.#bits[used >> 3]! |= 1 << (used & 7)
      this.#list = undefined
    }
    if (this.#bits === undefined) this.#list!.add(nonce)
    else this.#bits[nonce >> 3]! |= 1 << (nonce & 7)
  }

  /** The ones used last, as far as that is known; of a device that joins very often none. */
  newest(count: number): number[] {
    return [...(this.#list ?? [])].slice(-count)
  }

  toString(): string {
    if (this.#bits !== undefined) return `b${Buffer.from(this.#bits).toString('base64')}`
    const bytes = Buffer.alloc(2 * this.#list!.size)
    let at = 0
    for (const nonce of this.#list!) at = bytes.writeUInt16LE(nonce, at)
    return `l${bytes.toString('base64')}`
  }
}

const keyOf = {
  session: (devEui: string) => `session/${devEui}`,
  counters: (devEui: string) => `counters/${devEui}`,
  radio: (devEui: string) => `radio/${devEui}`,
  nonces: (devEui: string) => `nonces/${devEui}`,
  joinNonce: (devEui: string) => `join-nonce/${devEui}`,
}

/** What the network server keeps in the agent's store, and in which form. Session keys are sealed by the AppKey. */
export class SessionStore {
  readonly #storage: MapperStorage

  constructor(storage: MapperStorage) {
    this.#storage = storage
  }

  /** The session of before the restart; undefined when there is none that fits the device's present keys. */
  restore(device: LoraDevice, fresh: () => RadioState): Session | undefined {
    const { activation, devEui } = device
    if (activation.kind === 'elsewhere') return undefined
    const context =
      activation.kind === 'abp'
        ? { devAddr: activation.devAddr, keys: activation.keys }
        : this.#unsealed(devEui, activation.appKey)
    if (context === undefined) return undefined
    const counters = this.#counters(devEui, markOf(context.keys.nwkSKey))
    return { ...context, fUp: counters?.[0] ?? -1, fDown: counters?.[1] ?? 0, radio: this.#radio(devEui, fresh()) }
  }

  nonces(devEui: string): DevNonces {
    return new DevNonces(this.#storage.get(keyOf.nonces(devEui)))
  }

  /** The JoinNonce given out last; 0 before the first. */
  joinNonce(devEui: string): number {
    const last = Number(this.#storage.get(keyOf.joinNonce(devEui)) ?? 0)
    return Number.isSafeInteger(last) && last >= 0 ? last : 0
  }

  /** The next JoinNonce; it counts up, as LoRaWAN 1.0.4 demands. */
  nextJoinNonce(devEui: string): number {
    return (this.joinNonce(devEui) + 1) % 2 ** 24
  }

  /**
   * Takes over what another gateway left of a device, unless what is known here is newer: a later join, or higher
   * counters of the same session. On the disk when it returns; false when nothing of it could be used.
   */
  adopt(device: LoraDevice, nonces: DevNonces, carried: Carried): boolean {
    const { devEui, activation } = device
    if (!opens(device, carried)) return false
    const own = this.joinNonce(devEui)
    for (const nonce of carried.devNonces) nonces.add(nonce)
    const isOlder = activation.kind === 'otaa' && carried.joinNonce < own
    const before = isOlder ? undefined : this.restore(device, () => startState(device.region))
    const isSame = before !== undefined && (activation.kind === 'abp' || carried.joinNonce === own)
    this.#storage.put(
      {
        [keyOf.nonces(devEui)]: nonces.toString(),
        ...(isOlder
          ? {}
          : {
              [keyOf.session(devEui)]: carried.sealed,
              [keyOf.joinNonce(devEui)]: String(carried.joinNonce),
              [keyOf.radio(devEui)]: JSON.stringify(carried.radio),
            }),
      },
      'now',
    )
    const session = isOlder ? undefined : this.restore(device, () => startState(device.region))
    if (session === undefined) return isOlder
    session.fUp = Math.max(carried.fUp, isSame ? before.fUp : -1)
    session.fDown = Math.max(carried.fDown + DOWNLINK_MARGIN, isSame ? before.fDown : 0)
    this.counted([[devEui, session]])
    return true
  }

  /** All of a join in one step, on the disk when it returns. */
  joined(device: LoraDevice, session: Session, nonces: DevNonces, joinNonce: number): void {
    const { devEui } = device
    this.#storage.put(
      {
        [keyOf.session(devEui)]: sealSession(device, session),
        [keyOf.nonces(devEui)]: nonces.toString(),
        [keyOf.joinNonce(devEui)]: String(joinNonce),
        [keyOf.radio(devEui)]: JSON.stringify(session.radio),
        ...this.#counterEntry(devEui, session),
      },
      'now',
    )
  }

  /** Counters of several devices in one step, on the disk when it returns. */
  counted(sessions: Iterable<readonly [devEui: string, session: Session]>): void {
    const entries: Record<string, string> = {}
    for (const [devEui, session] of sessions) Object.assign(entries, this.#counterEntry(devEui, session))
    this.#storage.put(entries, 'now')
  }

  radioChanged(devEui: string, radio: RadioState): void {
    this.#storage.put({ [keyOf.radio(devEui)]: JSON.stringify(radio) }, 'soon')
  }

  #counterEntry(devEui: string, { fUp, fDown, keys }: Session): Record<string, string> {
    return { [keyOf.counters(devEui)]: `${fUp},${fDown},${markOf(keys.nwkSKey)}` }
  }

  /** Counters count for the keys they were counted with: a device that was given new keys starts anew. */
  #counters(devEui: string, mark: number): [number, number] | undefined {
    const [up, down, of] = (this.#storage.get(keyOf.counters(devEui)) ?? '').split(',').map(Number)
    return of === mark && Number.isSafeInteger(up) && Number.isSafeInteger(down) ? [up!, down!] : undefined
  }

  #unsealed(devEui: string, appKey: LoraKey): { devAddr: number; keys: SessionKeys } | undefined {
    const sealed = this.#storage.get(keyOf.session(devEui))
    const text = sealed === undefined ? undefined : unseal(appKey, devEui, sealed)
    if (text === undefined) return undefined
    const [devAddr, nwkSKey, appSKey] = JSON.parse(text) as [number, string, string]
    return {
      devAddr,
      keys: { nwkSKey: new LoraKey(Buffer.from(nwkSKey, 'hex')), appSKey: new LoraKey(Buffer.from(appSKey, 'hex')) },
    }
  }

  #radio(devEui: string, fresh: RadioState): RadioState {
    const text = this.#storage.get(keyOf.radio(devEui))
    if (text === undefined) return fresh
    try {
      return likeFresh(fresh, JSON.parse(text))
    } catch {
      return fresh
    }
  }
}

/** What is there of the right kind; another gateway may have written it. */
function likeFresh(fresh: RadioState, stored: unknown): RadioState {
  if (typeof stored !== 'object' || stored === null) return fresh
  const fits = (value: unknown, like: unknown, name: string): boolean => {
    if (!Array.isArray(like))
      return typeof value === typeof like && (typeof value !== 'number' || Number.isFinite(value))
    const kind = name === 'refused' ? 'string' : 'number'
    return Array.isArray(value) && value.length <= 256 && value.every((each) => typeof each === kind)
  }
  const known = Object.entries(stored).filter(
    ([name, value]) => Object.hasOwn(fresh, name) && fits(value, Reflect.get(fresh, name), name),
  )
  return { ...fresh, ...Object.fromEntries(known) }
}

const marks = new WeakMap<LoraKey, number>()

/** Tells two keys apart without giving one away. */
function markOf(key: LoraKey): number {
  const known = marks.get(key)
  if (known !== undefined) return known
  const mark = key.mic(Buffer.from('sluice counters'))
  marks.set(key, mark)
  return mark
}
