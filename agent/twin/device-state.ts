import type { LinkDevice, RoamingRole } from '../../api/link/messages.ts'
import type { DeviceModelSpec, DeviceSpec, ModelProperty, ObjectKey } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import { type CompiledReportPolicy, compileReportPolicy, type LastReport } from '../../api/twin/report.ts'
import { type Desired, emptyTwin, type Twin, type WriteEnd } from '../../api/twin/twin.ts'
import type { DeviceReachability, Reading } from '../../mappers/sdk/mapper.ts'
import { type Stretch, stretchedMs, stretchedReports } from '../policy/stretch.ts'
import type { CatchUp } from '../roaming/catch-up.ts'
import type { Understudy } from '../roaming/understudy.ts'
import { LEAST_SILENCE_MS, Rhythm } from './rhythm.ts'
import type { WriteJob } from './writes.ts'

/** One property of one device in memory. A gateway may hold ten thousand of these: fields, not maps. */
export class PropertyState {
  readonly name: string
  /** Absent while no model defines the property. */
  definition: ModelProperty | undefined = undefined
  policy: CompiledReportPolicy = NO_POLICY
  /** `rhythm` decides where there is one. */
  staleAfterMs = DEFAULT_STALE_MS
  /** Of a property that speaks when it wants, and whose silence nobody has limited. */
  rhythm: Rhythm | undefined = undefined
  twin: Twin = emptyTwin
  lastReport: LastReport | undefined = undefined
  /** Monotonic time of the newest reading, or of the start when there was none yet. */
  lastReadingMs: number
  /** Whether a reading came since this process started. */
  fresh = false
  /** Newest reading that `minInterval` keeps back. */
  held: Reading | undefined = undefined
  /** Number of the batch that carries this property's newest report. */
  batch = 0
  /** Wall-clock time at which the desired value in force was accepted; its deadline counts from here. */
  acceptedAtMs = 0
  knownDirty = false

  constructor(name: string, nowMonotonicMs: number) {
    this.name = name
    this.lastReadingMs = nowMonotonicMs
  }
}

const DEFAULT_STALE_MS = 5000
const DEFAULT_POLL_MS = 1000
const NO_POLICY = compileReportPolicy()

/** How a device is reached, and how much of what it sent could not be used. */
export interface DeviceReach extends DeviceReachability {
  readonly unusable?: number
}

export class DeviceState {
  readonly key: ObjectKey
  readonly uid: string
  spec: DeviceSpec
  model: DeviceModelSpec | undefined = undefined
  /** Why the device cannot be served, when it cannot. */
  problem: string | undefined = undefined
  readonly properties = new Map<string, PropertyState>()
  reach: DeviceReach | undefined = undefined
  /** What the hub was told of it last, and when by the monotonic clock. */
  toldReach: DeviceReach | undefined = undefined
  toldReachMs = Number.NEGATIVE_INFINITY
  lastSeenMs: number | undefined = undefined
  /** Readings that were taken of it since this process started. */
  readings = 0
  /** Frames and answers of it that could not be used since then. */
  unusable = 0
  /** What the stage of the gateway's policy in force means for it. */
  stretch: Stretch | undefined = undefined
  readonly jobs: WriteJob[] = []
  /** What this gateway is to a device that several can serve. */
  roaming: RoamingRole | undefined = undefined
  /** What is overheard while another gateway serves the device. */
  understudy: Understudy | undefined = undefined
  /** While the understudy goes on although this gateway serves the device. */
  catchUp: CatchUp | undefined = undefined
  /** On the way from serving it to standing by. */
  releasing = false
  /** How the device was heard meanwhile. */
  overheard: DeviceReachability | undefined = undefined
  /** Monotonic time before which nothing may be written: the gateway before may still be at it. */
  writeFromMs = Number.NEGATIVE_INFINITY
  /** Index of this device in batch number `batch`. */
  batch = 0
  batchIndex = 0

  constructor(key: ObjectKey, link: LinkDevice) {
    this.key = key
    this.uid = link.uid
    this.spec = link.spec
  }

  /** Of a device that was never heard otherwise this is what is known of reaching it. */
  countUnusable(nowMs: number): void {
    this.unusable++
    const { key, unusable } = this
    const before = this.reach ?? {
      device: key,
      online: false,
      atMs: nowMs,
      reason: 'nothing it sent could be used so far',
    }
    this.reach = { ...before, unusable }
  }

  /** Another gateway serves the device. */
  get standby(): boolean {
    return this.roaming?.role === 'standby'
  }

  /** Under which values are told; 0 for a device that never changed hands. */
  get term(): number {
    return this.roaming?.term ?? 0
  }

  /** Whether another gateway may take over at any moment, also behind our back. */
  get roams(): boolean {
    return this.roaming !== undefined && this.spec.nodeSelector !== undefined
  }

  /** Takes the spec and the model in force and compiles what the readings' path needs. */
  configure(
    spec: DeviceSpec,
    model: DeviceModelSpec | undefined,
    nowMonotonicMs: number,
    listens: Listens = () => false,
  ): void {
    this.spec = spec
    this.model = model
    const known = new Set<string>()
    for (const definition of model?.properties ?? []) {
      known.add(definition.name)
      const property = this.property(definition.name, nowMonotonicMs)
      property.definition = definition
      const asked = !listens(definition, spec)
      property.policy = stretchedReports(compileReportPolicy(definition.report, spec.report), this.stretch)
      setStaleAfter(property, definition, spec, !asked)
      if (asked && this.stretch !== undefined) property.staleAfterMs *= stretchRatio(definition, spec, this.stretch)
    }
    for (const property of this.properties.values()) {
      if (!known.has(property.name)) property.definition = undefined
    }
  }

  property(name: string, nowMonotonicMs: number): PropertyState {
    let property = this.properties.get(name)
    if (property === undefined) {
      property = new PropertyState(name, nowMonotonicMs)
      this.properties.set(name, property)
    }
    return property
  }
}

/** Whether a property's values come when the device wants, not when it is asked. */
export type Listens = (definition: ModelProperty, spec: DeviceSpec) => boolean

/** What is written down wins; then what the device is said to keep to; then what is learnt. */
function setStaleAfter(property: PropertyState, definition: ModelProperty, spec: DeviceSpec, listens: boolean): void {
  const given = definition.poll?.staleAfter ?? spec.poll?.staleAfter
  const everyMs = Math.max(
    ...[definition.poll?.every, spec.poll?.every].map((text) => (text === undefined ? 0 : durationMs(text))),
  )
  const learns = listens && given === undefined && everyMs === 0
  property.rhythm = learns ? (property.rhythm ?? new Rhythm()) : undefined
  if (given !== undefined) property.staleAfterMs = durationMs(given)
  else {
    const leastMs = listens ? LEAST_SILENCE_MS : DEFAULT_STALE_MS
    property.staleAfterMs = Math.max(3 * (everyMs || DEFAULT_POLL_MS), leastMs)
  }
}

/** How many times longer than usual a property is silent under a stretch. */
function stretchRatio(definition: ModelProperty, spec: DeviceSpec, stretch: Stretch): number {
  const every = definition.poll?.every ?? spec.poll?.every
  const everyMs = every === undefined ? DEFAULT_POLL_MS : durationMs(every)
  return stretchedMs(everyMs, stretch) / everyMs
}

/** What the store keeps of a twin apart from its last value. */
export interface StoredTwinState {
  readonly desired?: Desired
  readonly write?: WriteEnd
  readonly removedVersion?: number
  readonly acceptedAtMs?: number
}

export function storedState(property: PropertyState): string {
  const { desired, write, removedVersion } = property.twin
  const state: StoredTwinState = {
    ...(desired === undefined ? {} : { desired, acceptedAtMs: property.acceptedAtMs }),
    ...(write === undefined ? {} : { write }),
    ...(removedVersion === undefined ? {} : { removedVersion }),
  }
  return JSON.stringify(state)
}
