import type { BatchBody } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { ToldValue } from '../roaming/told-value.ts'
import { type Ownership, ownedRows } from './ownership.ts'
import type { SessionContext } from './session-context.ts'

/** Lets through the rows of a gateway that are its to tell, counts the others, and says so. */
export class RowGate {
  readonly #context: SessionContext
  readonly #gateway: string
  /** By uid, the devices that this gateway serves or has served. */
  readonly #assigned: Map<string, string>

  constructor(context: SessionContext, gateway: string) {
    this.#context = context
    this.#gateway = gateway
    this.#assigned = context.store.assignmentsOf(gateway)
  }

  /** @param offsetMs brings source times of the gateway to the hub's clock */
  pass(body: BatchBody, offsetMs: number): BatchBody {
    const { store } = this.#context
    const owned = ownedRows(body, (key, uid, term) => this.#admission(key, uid, term), offsetMs)
    this.#cover(owned.body, offsetMs)
    if (owned.fenced > 0) store.count(this.#gateway, 'fencedRows', owned.fenced)
    if (owned.refused > 0) {
      store.count(this.#gateway, 'refusedRows', owned.refused)
      const names = owned.strangers.slice(0, 3).join(', ')
      const message = `${owned.refused} row(s) for devices that are not this gateway's were refused: ${names}`
      this.#context.audit(this.#gateway, 'SLUICE_LINK_NOT_OWNED', message)
    }
    return owned.body
  }

  /** What this gateway still records of the device counts as its own from now on, also when it is moved away. */
  assign(uid: string, key: ObjectKey): void {
    if (this.#assigned.get(uid) === key) return
    this.#assigned.set(uid, key)
    this.#context.store.assign(this.#gateway, uid, key)
  }

  #admission(key: ObjectKey, uid: string, term: number): Ownership {
    const { fleet, admits } = this.#context
    const record = fleet.devices.get(key)
    if (record?.uid === uid && record.tenure !== undefined) return admits?.(uid, this.#gateway, term) ?? 'all'
    if (this.#assigned.get(uid) === key) return 'all'
    if (record === undefined || record.uid !== uid || record.gateway !== this.#gateway) return 'stranger'
    this.assign(uid, key)
    return 'all'
  }

  /** What was told under a term, the others have no news of. */
  #cover(body: BatchBody, offsetMs: number): void {
    const { fleet, onCovered } = this.#context
    if (onCovered === undefined) return
    let told: Map<number, ToldValue[]> | undefined
    for (const [index, property, value, atMs] of body.r ?? []) {
      if (fleet.devices.get(body.d[index]![0])?.tenure === undefined) continue
      told ??= new Map()
      const values = told.get(index) ?? []
      values.push({ property, value, atMs: atMs + offsetMs })
      told.set(index, values)
    }
    for (const [index, values] of told ?? []) {
      const [, uid, term = 0] = body.d[index]!
      onCovered(uid, term, values)
    }
  }
}
