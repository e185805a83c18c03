import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NetworkStatus } from '../../api/schema/power.ts'
import { KeptFile } from '../energy/kept-file.ts'

export type NetworkKind = NetworkStatus['kind']

const ETHERNET_TYPE = '1'

/** Names of the interfaces there are; none where the folder cannot be read. */
export function interfaceNames(sysRoot: string): string[] {
  try {
    return readdirSync(join(sysRoot, 'class/net')).filter((name) => name.length <= 15 && name !== 'lo')
  } catch {
    return []
  }
}

/** The files of one interface that are read at every sample; what never changes is read once. */
export class InterfaceFiles implements Disposable {
  readonly name: string
  readonly kind: NetworkKind
  /** Whether hardware is behind it, rather than a bridge, a tunnel or one end of a pair. */
  readonly physical: boolean
  readonly #folder: string
  readonly #carrier: KeptFile
  readonly #changes: KeptFile

  constructor(sysRoot: string, name: string) {
    this.name = name
    this.#folder = join(sysRoot, 'class/net', name)
    this.physical = existsSync(join(this.#folder, 'device'))
    this.kind = this.#kind()
    this.#carrier = new KeptFile(join(this.#folder, 'carrier'))
    this.#changes = new KeptFile(join(this.#folder, 'carrier_changes'))
  }

  /** Whether there is a carrier: a cable with somebody at its end, an association. An interface that is down has none. */
  up(nowMs: number): boolean {
    return this.#carrier.readInteger(nowMs) === 1
  }

  /** How often the carrier came or went; undefined on kernels before 4.17. */
  carrierChanges(nowMs: number): number | undefined {
    return this.#changes.readInteger(nowMs)
  }

  /** Negotiated speed in bits per second; drivers without one answer -1 or an error. */
  speedBps(): number | undefined {
    const megabits = Number(this.#text('speed'))
    return Number.isFinite(megabits) && megabits > 0 ? megabits * 1e6 : undefined
  }

  [Symbol.dispose](): void {
    this.#carrier[Symbol.dispose]()
    this.#changes[Symbol.dispose]()
  }

  #kind(): NetworkKind {
    const has = (entry: string) => existsSync(join(this.#folder, entry))
    if (has('phy80211') || has('wireless')) return 'wifi'
    if (/^DEVTYPE=wwan$/m.test(this.#text('uevent')) || /^(wwan|ppp)\d/.test(this.name)) return 'cellular'
    return this.physical && this.#text('type').trim() === ETHERNET_TYPE ? 'ethernet' : 'other'
  }

  #text(file: string): string {
    try {
      return readFileSync(join(this.#folder, file), 'latin1')
    } catch {
      return ''
    }
  }
}
