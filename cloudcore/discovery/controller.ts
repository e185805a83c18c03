import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { SightedItem } from '../../api/link/sighted.ts'
import {
  API_VERSION,
  type DiscoveredDevice,
  type DiscoveredDeviceSpec,
  type DiscoveredDeviceStatus,
  type DiscoveryPolicy,
  objectKey,
} from '../../api/resources.ts'
import { sameValue } from '../../api/twin/twin.ts'
import type { EventNote } from '../gateways/event-recorder.ts'
import { isPassing } from '../kube/errors.ts'
import { Coalescer } from '../twins/coalescer.ts'
import { iso } from '../twins/render.ts'
import { Adoption } from './adoption.ts'
import { approve } from './approve.ts'
import { discoveredName } from './name.ts'
import type { DiscoveryObjects, SeenFields } from './objects.ts'

/** Where discoveries are put; an approval may name another namespace for the Device. */
export const DISCOVERY_NAMESPACE = 'default'
/** DiscoveredDevices kept, of all gateways and of one. */
export const MAX_DISCOVERED = 5000
export const MAX_DISCOVERED_OF_GATEWAY = 1000

const WRITE_EVERY_MS = 10_000
const SWEEP_MS = 60_000
const GONE_MS = 86_400_000
/** A count that a gateway made up may not become one that no API takes. */
const MAX_COUNT = 1e12

export interface DiscoveryOptions {
  readonly objects: DiscoveryObjects
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly record: (note: EventNote) => void
  readonly onTrouble: (what: string, error: SluiceError) => void
  /** Resolves when every object there is was told by `upsert`; nothing is written before. */
  readonly synced: Promise<void>
  readonly random?: () => number
}

type Condition = NonNullable<DiscoveredDeviceStatus['conditions']>[number]

interface Found {
  readonly namespace: string
  readonly name: string
  uid: string | undefined
  generation: number | undefined
  /** As it should be; what only a person sets is as the API last said. */
  spec: DiscoveredDeviceSpec
  /** As the API has it; undefined while there is no object. */
  held: DiscoveredDeviceSpec | undefined
  state: NonNullable<DiscoveredDeviceStatus['state']>
  lastSeenMs: number
  rssiDbm: number | undefined
  sightings: number
  /** Count that the gateway told last; its own count starts anew with its agent. */
  toldCount: number
  device: string | undefined
  condition: Condition | undefined
  written: string
}

/** Keeps a DiscoveredDevice for everything that gateways see and nobody configured, and makes Devices of approved ones. */
export class DiscoveryController {
  readonly #options: DiscoveryOptions
  readonly #found = new Map<string, Found>()
  readonly #writer: Coalescer
  readonly #full = new Set<string>()
  readonly #adoption: Adoption
  #timer: Timer | undefined

  constructor(options: DiscoveryOptions) {
    this.#options = options
    const { clock, signal, random, record, onTrouble } = options
    this.#adoption = new Adoption({
      clock,
      record,
      approvedBy: (by) => [...this.#found.values()].filter(({ spec }) => spec.approve?.by === by).length,
      writeStatus: (policy, status) =>
        void options.objects.policyStatus(policy, status).catch((thrown: unknown) => {
          onTrouble(`status of discovery policy ${policy.metadata.name}`, toSluiceError(thrown))
        }),
    })
    this.#writer = new Coalescer({
      clock,
      signal,
      intervalMs: WRITE_EVERY_MS,
      parallel: 2,
      write: (key) => this.#write(key),
      onRefused: (key, error) => options.onTrouble(`discovered device ${key}`, error),
      ...(random === undefined ? {} : { random }),
    })
    signal.addEventListener('abort', () => this.#timer?.cancel(), { once: true })
    this.#armSweep()
  }

  get size(): number {
    return this.#found.size
  }

  /** What a gateway saw. */
  sighted(gateway: string, items: readonly SightedItem[]): void {
    for (const item of items) {
      const name = discoveredName(gateway, item.protocol, item.id)
      const key = objectKey(DISCOVERY_NAMESPACE, name)
      let found = this.#found.get(key)
      if (found === undefined) {
        if (!this.#makeRoom(gateway)) continue
        found = emptyFound(DISCOVERY_NAMESPACE, name, specOf(gateway, item, undefined))
        this.#found.set(key, found)
      }
      found.spec = specOf(gateway, item, found.held)
      found.lastSeenMs = seenAtMs(item.atMs, this.#options.clock.now())
      found.rssiDbm = item.rssiDbm
      const more = item.count > found.toldCount ? item.count - found.toldCount : item.count
      found.sightings = Math.min(MAX_COUNT, found.sightings + more)
      found.toldCount = item.count
      if (found.state === 'gone') found.state = 'new'
      this.#writer.markDirty(key)
    }
  }

  /** A policy as the API has it now; every discovery that waits is looked at again. */
  policy(policy: DiscoveryPolicy): void {
    if (this.#adoption.upsert(policy)) this.#lookAgain()
  }

  policyRemoved(key: string): void {
    this.#adoption.removed(key)
  }

  /** An object as the API has it now. */
  upsert(object: DiscoveredDevice): void {
    const { name, namespace = DISCOVERY_NAMESPACE, uid } = object.metadata
    const key = objectKey(namespace, name)
    let found = this.#found.get(key)
    if (found === undefined) {
      found = emptyFound(namespace, name, object.spec)
      this.#found.set(key, found)
      found.lastSeenMs = Date.parse(object.status?.lastSeen ?? '') || this.#options.clock.now()
      found.rssiDbm = object.status?.rssiDbm
    }
    if (found.uid !== uid) {
      const { status = {} } = object
      // What was written here already is not counted once more.
      if (found.written === '') found.sightings += status.sightings ?? 0
      found.uid = uid
      found.written = ''
      found.state = status.state === 'gone' && found.toldCount > 0 ? 'new' : (status.state ?? 'new')
      found.device = status.device
      found.condition = status.conditions?.find(({ type }) => type === 'Approved')
      // Only now is its generation known, against which a policy decides.
      if (this.#adoption.size > 0) this.#writer.markDirty(key)
    }
    found.generation = object.metadata.generation
    found.held = object.spec
    found.spec = { ...seenFields(found.spec), ...identity(found.spec), ...personal(object.spec) }
    if (found.state !== 'approved') {
      const ignored = object.spec.ignore === true
      if (ignored !== (found.state === 'ignored')) {
        found.state = ignored ? 'ignored' : 'new'
        this.#writer.hurry(key)
      }
      if (object.spec.approve !== undefined) this.#writer.hurry(key)
    }
  }

  removed(key: string): void {
    this.#found.delete(key)
    this.#writer.forget(key)
    this.#full.clear()
  }

  #armSweep(): void {
    const { clock, signal } = this.#options
    if (signal.aborted) return
    this.#timer = clock.after(
      SWEEP_MS,
      () => {
        this.#sweep(clock.now())
        this.#armSweep()
      },
      true,
    )
  }

  /** Says who is gone, and tries again what could not be approved: the model may have come meanwhile. */
  #sweep(nowMs: number): void {
    for (const [key, found] of this.#found) {
      if (found.state === 'new' && found.spec.approve === undefined && nowMs - found.lastSeenMs > GONE_MS) {
        found.state = 'gone'
        this.#writer.markDirty(key)
      }
    }
    this.#lookAgain()
  }

  /** What waits for a model, or for a policy. */
  #lookAgain(): void {
    for (const [key, { state, spec }] of this.#found) {
      const waits = spec.approve !== undefined || (this.#adoption.size > 0 && spec.ignore !== true)
      if (state === 'new' && waits) this.#writer.markDirty(key)
    }
  }

  /** Whether one more of this gateway may be kept; the one gone for longest makes way. */
  #makeRoom(gateway: string): boolean {
    let ofGateway = 0
    let oldest: readonly [string, Found] | undefined
    let oldestOfGateway: readonly [string, Found] | undefined
    for (const [key, found] of this.#found) {
      const own = found.spec.gateway === gateway
      if (own) ofGateway++
      if (found.state !== 'gone') continue
      if (oldest === undefined || found.lastSeenMs < oldest[1].lastSeenMs) oldest = [key, found]
      if (own && (oldestOfGateway === undefined || found.lastSeenMs < oldestOfGateway[1].lastSeenMs)) {
        oldestOfGateway = [key, found]
      }
    }
    const crowded = ofGateway >= MAX_DISCOVERED_OF_GATEWAY
    if (!crowded && this.#found.size < MAX_DISCOVERED) return true
    const leaves = crowded ? oldestOfGateway : oldest
    if (leaves !== undefined) {
      const [key, { namespace, name }] = leaves
      this.removed(key)
      this.#options.objects.remove(namespace, name).catch((thrown: unknown) => {
        const error = toSluiceError(thrown)
        if (error.code !== 'SLUICE_KUBE_NOT_FOUND') this.#options.onTrouble(`discovered device ${key}`, error)
      })
      return true
    }
    if (!this.#full.has(gateway)) {
      this.#full.add(gateway)
      const most = crowded ? `${MAX_DISCOVERED_OF_GATEWAY} of this gateway` : `${MAX_DISCOVERED} of all gateways`
      const message = `gateway ${gateway} sees more devices than are kept (${most})`
      const hint = 'Delete DiscoveredDevices that nobody needs, or approve them.'
      this.#options.onTrouble('discovery', new SluiceError('SLUICE_DISCOVERY_FULL', message, { hint }))
    }
    return false
  }

  async #write(key: string): Promise<boolean> {
    await this.#options.synced
    const found = this.#found.get(key)
    if (found === undefined) return false
    const { objects } = this.#options
    const { namespace, name } = found
    try {
      if (found.held === undefined) {
        await this.#create(found)
      } else if (!sameSeen(found.held, found.spec)) {
        const seen = seenFields(found.spec)
        await objects.update(namespace, name, seen)
        found.held = { ...found.held, ...seen }
      }
      await this.#adopt(found)
      if (found.spec.approve !== undefined && found.state !== 'approved') await this.#approve(found)
      const status = statusOf(found)
      const text = JSON.stringify(status)
      if (text === found.written) return false
      await objects.updateStatus(namespace, name, status)
      found.written = text
      return true
    } catch (thrown) {
      // Somebody deleted it: it is made again when it is seen again.
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_NOT_FOUND') throw thrown
      if (this.#found.get(key) === found) this.removed(key)
      return false
    }
  }

  /** Lets a policy approve what waits, by the field that a person would set. */
  async #adopt(found: Found): Promise<void> {
    const { namespace, name, generation, spec, state } = found
    if (state !== 'new' || spec.approve !== undefined || spec.ignore === true || generation === undefined) return
    const approval = this.#adoption.approval(spec)
    if (approval === undefined) return
    try {
      await this.#options.objects.approve(namespace, name, generation, approval)
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (isPassing(error) || error.code === 'SLUICE_KUBE_NOT_FOUND') throw error
      // Somebody changed it meanwhile: the next look sees that.
      return
    }
    found.spec = { ...found.spec, approve: approval }
    if (found.held !== undefined) found.held = { ...found.held, approve: approval }
  }

  async #create(found: Found): Promise<void> {
    const { namespace, name, spec } = found
    const labels = spec.gateway.length <= 63 ? { labels: { 'sluice.dev/gateway': spec.gateway } } : {}
    const metadata = { name, namespace, ...labels }
    try {
      await this.#options.objects.create({ apiVersion: API_VERSION, kind: 'DiscoveredDevice', metadata, spec })
    } catch (thrown) {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_EXISTS') throw thrown
    }
    found.held ??= spec
  }

  async #approve(found: Found): Promise<void> {
    const { generation } = found
    const end = await approve(this.#options.objects, found)
    const before = found.condition
    const [status, reason] = end.ok ? (['True', 'DeviceMade'] as const) : (['False', end.reason] as const)
    if (end.ok) {
      found.state = 'approved'
      found.device = end.device
      this.#adoption.made(found.spec, end.device)
    }
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : iso(this.#options.clock.now())
    found.condition = {
      ...{ type: 'Approved', status, reason, message: end.message, lastTransitionTime },
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    }
    if (before?.reason === reason && before.message === end.message) return
    const { namespace, name, uid } = found
    this.#options.record({
      subject: {
        ...{ apiVersion: API_VERSION, kind: 'DiscoveredDevice', namespace, name },
        ...(uid === undefined ? {} : { uid }),
      },
      type: end.ok ? 'Normal' : 'Warning',
      reason,
      message: end.message,
    })
  }
}

const emptyFound = (namespace: string, name: string, spec: DiscoveredDeviceSpec): Found => ({
  namespace,
  name,
  uid: undefined,
  generation: undefined,
  spec,
  held: undefined,
  state: 'new',
  lastSeenMs: 0,
  rssiDbm: undefined,
  sightings: 0,
  toldCount: 0,
  device: undefined,
  condition: undefined,
  written: '',
})

const identity = ({ protocol, id, gateway }: DiscoveredDeviceSpec) => ({ protocol, id, gateway })

const personal = ({ approve, ignore }: DiscoveredDeviceSpec) => ({
  ...(approve === undefined ? {} : { approve }),
  ...(ignore === undefined ? {} : { ignore }),
})

const seenFields = ({ address, name, candidates, facts }: SeenFields): SeenFields => ({
  address,
  ...(name === undefined ? {} : { name }),
  candidates: candidates ?? [],
  facts: facts ?? {},
})

const sameSeen = (a: DiscoveredDeviceSpec, b: DiscoveredDeviceSpec): boolean =>
  sameValue(JSON.parse(JSON.stringify(seenFields(a))), JSON.parse(JSON.stringify(seenFields(b))))

function specOf(gateway: string, item: SightedItem, held: DiscoveredDeviceSpec | undefined): DiscoveredDeviceSpec {
  const { protocol, id, address, name = held?.name, candidates, facts } = item
  return {
    ...{ protocol, id, gateway, address },
    ...(name === undefined ? {} : { name }),
    candidates: [...candidates],
    facts,
    ...(held === undefined ? {} : personal(held)),
  }
}

/** A gateway whose clock is wrong by more than a day is not believed. */
const seenAtMs = (atMs: number, nowMs: number): number => (atMs <= nowMs && nowMs - atMs < GONE_MS ? atMs : nowMs)

const statusOf = (found: Found): DiscoveredDeviceStatus => ({
  state: found.state,
  lastSeen: iso(found.lastSeenMs),
  sightings: found.sightings,
  ...(found.spec.candidates?.[0] === undefined ? {} : { resembles: found.spec.candidates[0].model }),
  ...(found.rssiDbm === undefined ? {} : { rssiDbm: found.rssiDbm }),
  ...(found.device === undefined ? {} : { device: found.device }),
  ...(found.condition === undefined ? {} : { conditions: [found.condition] }),
})
