import type { Clock, Timer } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { HeardItem } from '../../api/link/messages.ts'
import type { DeviceSpec, ObjectKey } from '../../api/resources.ts'
import { protocols } from '../../mappers/registry.ts'
import type { DeviceRecord, Tenure } from '../twins/device-record.ts'
import type { Fleet, Placement } from '../twins/fleet.ts'
import { type Candidate, type Challenger, choose, roamingPolicy } from './choose.ts'
import { handedState } from './handed.ts'
import type { TermBook } from './terms.ts'

/** What the roamer needs to know of links. */
export interface LinkView {
  /** Whether the gateway has a link right now. */
  present(gateway: string): boolean
  /** Milliseconds for which this gateway may go on writing to its roaming devices although nobody hears of it. */
  leaseLeftMs(gateway: string): number
  /** The hub's clock minus the gateway's. */
  offsetMs(gateway: string): number
  /** Frames of this gateway wait until `until` is settled. */
  holdBack(gateway: string, until: Promise<void>): void
}

export interface RoamerOptions {
  readonly fleet: Fleet
  readonly book: TermBook
  readonly links: LinkView
  readonly clock: Clock
  /** Gateways that are known, with their labels. */
  readonly gateways: () => Iterable<readonly [name: string, labels: Readonly<Record<string, string>>]>
  /** Whether a gateway that stands by hears the device. Default: what its protocol says of itself. */
  readonly overhears?: (spec: DeviceSpec) => boolean
  readonly onTrouble: (what: string, error: SluiceError) => void
  readonly onHandOver?: (record: DeviceRecord, from: string | undefined, why: string) => void
}

/** The gateway that is to take over has so long to begin listening, while the one before still serves. */
const PREPARE_MS = 1500
/** The gateway that serves a device has so long to let go of it before it is taken away. */
const RELEASE_MS = 500
/** The one that takes over has so long to tell what it overheard before late history of others is looked at. */
const SETTLE_MS = 1000
/** A disk that is full is asked again after this. */
const RETRY_MS = 1000

const NEVER_MOVED: Tenure = { term: 0, accepts: 0, phase: 'serving', standbys: [], handed: {} }

interface Heard {
  readonly rssiDbm: number
  readonly heardMs: number
}

interface State {
  readonly heard: Map<string, Heard>
  challenger: Challenger | undefined
  again: Timer | undefined
  /** A gateway that is to take over and does not listen yet. */
  preparing: { to: string; readonly why: string; readonly timer: Timer; standsBy: boolean } | undefined
  releasing: { readonly from: string; to: string; readonly why: string; readonly timer: Timer } | undefined
  settling:
    | { readonly gateway: string; readonly from: string | undefined; settle(): void; readonly done: Promise<void> }
    | undefined
}

/**
 * Decides which gateway serves each device and brings every change of hands through: `serving` until another is to take
 * over, `releasing` while the one before lets go, `serving` again under a higher term. See docs/roaming.md.
 */
export class Roamer implements Placement {
  readonly #options: RoamerOptions
  readonly #states = new Map<DeviceRecord, State>()

  constructor(options: RoamerOptions) {
    this.#options = options
  }

  /** Who serves a device that has just become known: as it was before a restart, or as its spec says. */
  initial(record: DeviceRecord): { gateway: string | undefined; tenure: Tenure | undefined } {
    const tenancy = this.#options.book.of(record.uid)
    const { nodeName, nodeSelector } = record.spec
    if (tenancy === undefined) {
      // A device that was moved while no cloud core ran has to change hands like any other.
      return { gateway: nodeSelector === undefined ? (record.servedBefore ?? nodeName) : undefined, tenure: undefined }
    }
    const { term, gateway } = tenancy
    return { gateway, tenure: { term, accepts: term, phase: 'serving', standbys: [], handed: {} } }
  }

  changed(record: DeviceRecord): void {
    const { nodeName, nodeSelector } = record.spec
    if (nodeSelector !== undefined) {
      this.#evaluate(record)
      return
    }
    const state = this.#states.get(record)
    if (state !== undefined) {
      state.again?.cancel()
      state.heard.clear()
    }
    if (nodeName !== undefined && nodeName !== record.gateway) {
      this.#handOver(record, nodeName, 'moved')
      return
    }
    state?.preparing?.timer.cancel()
    if (state !== undefined) state.preparing = undefined
    if (state?.releasing !== undefined) state.releasing.to = nodeName ?? state.releasing.from
    else if ((record.tenure?.standbys.length ?? 0) > 0) {
      this.#options.fleet.assign(record, record.gateway, { ...record.tenure!, standbys: [] })
    }
  }

  removed(record: DeviceRecord): void {
    const state = this.#states.get(record)
    state?.again?.cancel()
    state?.preparing?.timer.cancel()
    state?.releasing?.timer.cancel()
    state?.settling?.settle()
    this.#states.delete(record)
    this.#options.book.forget(record.uid)
  }

  /** A gateway came, went, or its labels changed. */
  gatewayChanged(gateway: string): void {
    for (const [record, state] of [...this.#states]) {
      const present = this.#options.links.present(gateway)
      if (state.preparing?.to === gateway && !present) this.#release(record, state)
      if (state.releasing?.from === gateway && !present) this.#activate(record, state, true)
      if (state.settling?.gateway === gateway && !present) state.settling.settle()
    }
    for (const record of [...this.#options.fleet.devices.values()]) {
      if (record.spec.nodeSelector !== undefined) this.#evaluate(record)
    }
  }

  heard(gateway: string, items: readonly HeardItem[]): void {
    const nowMs = this.#options.clock.monotonic()
    for (const [key, uid, rssiDbm, ageMs] of items) {
      const record = this.#options.fleet.devices.get(key)
      if (record?.uid !== uid || !this.#options.fleet.isWanted(gateway, 'Device', key)) continue
      const state = this.#states.get(record)
      // What it heard before it was told to stand by, in a preparation before this one, says nothing of now.
      if (state?.preparing?.to === gateway && state.preparing.standsBy) this.#release(record, state)
      if (record.spec.nodeSelector === undefined) continue
      this.#state(record).heard.set(gateway, { rssiDbm, heardMs: nowMs - ageMs })
      this.#evaluate(record)
    }
  }

  /** A gateway has taken the Device as it was sent last, and everything it told before that is here. */
  acknowledged(gateway: string, key: ObjectKey): void {
    const record = this.#options.fleet.devices.get(key)
    const state = record === undefined ? undefined : this.#states.get(record)
    if (record === undefined || state === undefined) return
    if (state.preparing?.to === gateway) state.preparing.standsBy = true
    if (state.releasing?.from === gateway) this.#activate(record, state, false)
    else if (state.settling?.gateway === gateway) state.settling.settle()
  }

  /** Of a gateway that just came: what its late history has to wait for, if anything. */
  unsettled(gateway: string): Promise<void> | undefined {
    const waits = [...this.#states.values()].flatMap(({ settling }) =>
      settling?.from === gateway ? [settling.done] : [],
    )
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined)
  }

  close(): void {
    for (const state of this.#states.values()) {
      state.again?.cancel()
      state.preparing?.timer.cancel()
      state.releasing?.timer.cancel()
      state.settling?.settle()
    }
    this.#states.clear()
  }

  #state(record: DeviceRecord): State {
    let state = this.#states.get(record)
    if (state === undefined) {
      const none = {
        challenger: undefined,
        again: undefined,
        preparing: undefined,
        releasing: undefined,
        settling: undefined,
      }
      this.#states.set(record, (state = { heard: new Map(), ...none }))
    }
    return state
  }

  #evaluate(record: DeviceRecord): void {
    const { clock, fleet } = this.#options
    const state = this.#state(record)
    state.again?.cancel()
    state.again = undefined
    if (state.releasing !== undefined || state.preparing !== undefined) return
    const candidates = this.#candidates(record, state)
    this.#standBy(record, candidates)
    const policy = roamingPolicy(record.spec)
    const nowMs = clock.monotonic()
    const choice = choose(record.gateway, state.challenger, candidates, policy, nowMs)
    state.challenger = choice.challenger
    if (choice.gateway !== undefined && choice.gateway !== record.gateway) {
      this.#handOver(record, choice.gateway, choice.why)
      return
    }
    if (choice.againAtMs === undefined) return
    state.again = clock.after(Math.max(1, choice.againAtMs - nowMs), () => {
      if (fleet.devices.get(record.key) === record) this.#evaluate(record)
    })
  }

  #candidates(record: DeviceRecord, { heard }: State): Candidate[] {
    const { gateways, links } = this.#options
    const selector = Object.entries(record.spec.nodeSelector ?? {})
    const found: Candidate[] = []
    for (const [gateway, labels] of gateways()) {
      if (!selector.every(([name, value]) => labels[name] === value)) continue
      found.push({ gateway, present: links.present(gateway), ...heard.get(gateway) })
    }
    return found
  }

  /** Every gateway that may serve the device and does not is its understudy. */
  #standBy(record: DeviceRecord, candidates: readonly Candidate[]): void {
    const { tenure } = record
    const standbys = candidates.map(({ gateway }) => gateway).filter((name) => name !== record.gateway)
    if (sameNames(tenure?.standbys ?? [], standbys)) return
    const { book, fleet } = this.#options
    const { term = 0 } = book.of(record.uid) ?? {}
    const serving = tenure ?? ({ term, accepts: term, phase: 'serving', handed: {} } as const)
    fleet.assign(record, record.gateway, { ...serving, standbys })
  }

  #handOver(record: DeviceRecord, to: string, why: string): void {
    const state = this.#state(record)
    const tenure = record.tenure ?? NEVER_MOVED
    if (state.releasing !== undefined) {
      // One that does not listen yet has its turn afterwards: what is heard meanwhile would be nobody's.
      if (tenure.standbys.includes(to) || !this.#overheard(record)) state.releasing.to = to
      return
    }
    const { links, clock, fleet } = this.#options
    const from = record.gateway
    state.preparing?.timer.cancel()
    state.preparing = undefined
    const listens = tenure.standbys.includes(to)
    // Waiting until the new one hears the device gains nothing where it cannot.
    if (from !== undefined && !listens && this.#overheard(record) && links.present(from) && links.present(to)) {
      const timer = clock.after(PREPARE_MS, () => this.#release(record, state))
      state.preparing = { to, why, timer, standsBy: false }
      fleet.assign(record, from, { ...tenure, standbys: [...tenure.standbys, to] })
      return
    }
    this.#letGo(record, state, to, why)
  }

  /** The one that is to take over listens. */
  #release(record: DeviceRecord, state: State): void {
    const { preparing } = state
    if (preparing === undefined) return
    preparing.timer.cancel()
    state.preparing = undefined
    if (preparing.to !== record.gateway) this.#letGo(record, state, preparing.to, preparing.why)
  }

  #letGo(record: DeviceRecord, state: State, to: string, why: string): void {
    const { links, clock, fleet } = this.#options
    const from = record.gateway
    const release = (timer: Timer) => ({ from: from ?? to, to, why, timer })
    if (from === undefined || !links.present(from)) {
      state.releasing = release({ cancel: () => {} })
      this.#activate(record, state, from !== undefined)
      return
    }
    state.releasing = release(clock.after(RELEASE_MS, () => this.#activate(record, state, true)))
    const tenure = record.tenure ?? NEVER_MOVED
    const standbys = tenure.standbys.includes(from) ? tenure.standbys : [...tenure.standbys, from]
    fleet.assign(record, from, { ...tenure, phase: 'releasing', standbys })
  }

  /** The one before has let go, or is not asked any more: the next term begins. */
  #activate(record: DeviceRecord, state: State, forced: boolean): void {
    const { releasing } = state
    if (releasing === undefined) return
    releasing.timer.cancel()
    state.releasing = undefined
    const { book, fleet, links, clock, onHandOver } = this.#options
    const from = record.gateway
    const to = this.#stillFit(record, state, releasing.to)
    const term = Math.max(
      (book.of(record.uid)?.term ?? 0) + 1,
      (record.tenure?.term ?? 0) + 1,
      Number(record.resourceVersion),
    )
    const roams = record.spec.nodeSelector !== undefined
    // Written down before anybody hears of it.
    try {
      book.begin(record.uid, to, term, clock.now(), from)
    } catch (thrown) {
      this.#options.onTrouble(`change of hands of ${record.key}`, toSluiceError(thrown))
      const timer = clock.after(RETRY_MS, () => this.#activate(record, state, true))
      state.releasing = { ...releasing, timer }
      return
    }
    const leaseMs = forced && roams && from !== undefined && from !== to ? Math.ceil(links.leaseLeftMs(from)) : 0
    const handed = {
      ...handedState(record, (gateway) => (gateway === undefined ? 0 : links.offsetMs(gateway))),
      ...(leaseMs > 0 ? { writeAfterMs: leaseMs } : {}),
    }
    const standbys = roams
      ? this.#candidates(record, state).flatMap(({ gateway }) => (gateway === to ? [] : [gateway]))
      : []
    this.#settle(state, to, from, forced)
    fleet.assign(record, to, { term, accepts: term, phase: 'serving', standbys, handed })
    onHandOver?.(record, from, releasing.why)
    const { nodeName } = record.spec
    if (roams) this.#evaluate(record)
    else if (nodeName !== undefined && nodeName !== to) this.#handOver(record, nodeName, 'moved')
  }

  #overheard({ spec }: DeviceRecord): boolean {
    return (this.#options.overhears ?? overheard)(spec)
  }

  /** Until the next one has told what it overheard, nobody can say what of the one before is new. */
  #settle(state: State, gateway: string, from: string | undefined, forced: boolean): void {
    state.settling?.settle()
    if (from === undefined || from === gateway) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = this.#options.clock.after(SETTLE_MS, () => settling.settle())
    const settling = {
      gateway,
      from,
      done: promise,
      settle: () => {
        timer.cancel()
        if (state.settling === settling) state.settling = undefined
        resolve()
      },
    }
    state.settling = settling
    if (forced && this.#options.links.present(from)) this.#options.links.holdBack(from, promise)
  }

  /** The gateway that was to take over, unless it is gone by now and another one is there. */
  #stillFit(record: DeviceRecord, state: State, to: string): string {
    if (record.spec.nodeSelector === undefined || this.#options.links.present(to)) return to
    const nowMs = this.#options.clock.monotonic()
    const others = this.#candidates(record, state).filter(({ present }) => present)
    return choose(undefined, undefined, others, roamingPolicy(record.spec), nowMs).gateway ?? to
  }
}

const sameNames = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((name) => b.includes(name))

const overheard = (spec: DeviceSpec): boolean =>
  protocols.some(({ name, overhears }) => overhears === true && Object.hasOwn(spec, name))
