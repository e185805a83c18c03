import type { Clock, Timer } from '../api/clock.ts'
import { SluiceError } from '../api/errors.ts'
import type { MachineFacts } from '../api/link/machine.ts'
import { LINK_KINDS, type LinkGateway, type LinkObjectKind, POD_KINDS } from '../api/link/messages.ts'
import type { StaticPod } from '../api/link/static-pods.ts'
import { Histogram } from '../api/metrics/histogram.ts'
import type { GatewaySpec, Json, ObjectKey } from '../api/resources.ts'
import { checkValue } from '../api/twin/limits.ts'
import type { StreamEvent } from '../api/views.ts'
import type { DeviceBinding, LocalBroker, Protocol, Reading, Sighting } from '../mappers/sdk/mapper.ts'
import { type CheckObject, objectChecker } from './desired/check-object.ts'
import { DesiredObjects } from './desired/objects.ts'
import { Sightings } from './discovery/sightings.ts'
import { UpdateBoard } from './firmware/update-board.ts'
import type { Log } from './log.ts'
import { Mappers, protocolOf } from './mappers/host.ts'
import { mapperStorage } from './mappers/storage.ts'
import { Notices } from './notices/notices.ts'
import type { PodStageInForce } from './pods/admission.ts'
import { PodStatusBoard } from './pods/status-board.ts'
import type { PodPause } from './policy/pod-pause.ts'
import { stretchedBinding } from './policy/stretch.ts'
import { HeardBoard } from './roaming/heard-board.ts'
import type { Store } from './store/store.ts'
import { TETHER_STORE, Tether } from './tether/tether.ts'
import { type NewDesire, TwinEngine } from './twin/engine.ts'
import { takeChangedValues } from './twin/kept-values.ts'
import { ReportBatcher } from './twin/report-batcher.ts'
import type { StretchOf } from './twin/stretching.ts'
import { Writes } from './twin/writes.ts'

export interface CoreOptions {
  readonly store: Store
  readonly clock: Clock
  readonly random: () => number
  readonly onSighted?: (protocol: string, sightings: readonly Sighting[]) => void
  readonly broker?: () => Promise<LocalBroker>
  readonly log: Log
  readonly protocols: readonly Protocol[]
  readonly check?: CheckObject
  /** Whether anybody listens to events, and who. */
  readonly listening: () => boolean
  readonly onEvent: (event: StreamEvent) => void
  /** Whether local desired values are offered to a hub. */
  readonly offersDesires: boolean
  /** What pods run on here. Absent: none do, and their objects are neither taken nor kept. */
  readonly machine?: MachineFacts
}

/** What the link needs to know of changes. */
export interface CoreListener {
  readonly live: boolean
  onStored(): void
  onDesire(): void
  onSighted(): void
  /** There are notices the hub was not told of. */
  onNotice(): void
  /** Roaming devices were heard. */
  onHeard(): void
  /** Statuses of pods have changed. */
  onPods(): void
  /** Something became of firmware updates. */
  onUpdates(): void
  /** Whether the hub's word that this gateway serves roaming devices is recent enough to write to them. */
  readonly mayWriteRoaming: boolean
  /** `Gateway.status` has changed in a way that should not wait for the next heartbeat. */
  statusChanged(): void
}

export type GatewayListener = (spec: GatewaySpec | undefined, gateway: LinkGateway | undefined) => void

const brokerDisabled = (): Promise<LocalBroker> =>
  Promise.reject(new SluiceError('SLUICE_BROKER_DISABLED', 'This agent runs without an MQTT broker of its own'))

/** Values that the local API shows after a restart are saved this often, and at the end. */
const SAVE_VALUES_MS = 60_000

/** Store, twins, mappers and desired objects tied together: an agent without its link and its local API. */
export class AgentCore implements AsyncDisposable {
  readonly store: Store
  readonly engine: TwinEngine
  readonly mappers: Mappers
  readonly objects: DesiredObjects
  readonly batcher: ReportBatcher
  readonly sightings: Sightings
  readonly notices: Notices
  /** Who decides here: see docs/tether.md. */
  readonly tether: Tether
  readonly heard: HeardBoard
  /** What became of each pod; undefined where no pods run. */
  readonly pods: PodStatusBoard | undefined
  /** What they run on. */
  readonly machine: MachineFacts | undefined
  /** What became of firmware updates that were ordered. */
  readonly updates = new UpdateBoard(() => this.listener?.onUpdates())
  /** The hub's clock minus ours as of the last welcome, milliseconds. */
  hubOffsetMs = 0
  readonly writeLatency = new Histogram([5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000])
  readonly #options: CoreOptions
  readonly #desires = new Map<string, NewDesire>()
  readonly #gatewayListeners = new Set<GatewayListener>()
  readonly #podListeners = new Set<() => void>()
  readonly #updateListeners = new Set<() => void>()
  readonly #readingListeners = new Set<(batch: readonly Reading[]) => void>()
  listener: CoreListener | undefined
  #bindings: ReadonlyMap<ObjectKey, DeviceBinding> = new Map()
  /** Served for a moment, beside what the cloud says. */
  readonly #tried = new Map<ObjectKey, DeviceBinding>()
  #stretchOf: StretchOf | undefined
  #podStage: PodStageInForce | undefined
  #podPause: PodPause | undefined
  #saveTimer: Timer | undefined

  constructor(options: CoreOptions) {
    const { store, clock, random, log, protocols } = options
    this.#options = options
    this.store = store
    this.batcher = new ReportBatcher({
      store,
      clock,
      live: () => this.listener?.live ?? false,
      onStored: () => this.listener?.onStored(),
    })
    this.sightings = new Sightings({ clock, onChange: () => this.listener?.onSighted() })
    this.heard = new HeardBoard(clock, () => this.listener?.onHeard())
    this.tether = new Tether({ clock, storage: mapperStorage(store, TETHER_STORE) })
    this.onGatewaySpec((spec) => this.tether.configure(spec))
    this.tether.onChange(({ begins }) => {
      // With the will of its own what it does about pods comes and goes, too.
      if (this.#podStage !== undefined) this.listener?.statusChanged()
      if (!begins) return
      // Written while nobody led, and held back since.
      for (const device of this.engine.devices.values()) this.engine.pump(device)
    })
    this.machine = options.machine
    if (options.machine !== undefined) this.pods = new PodStatusBoard(() => this.listener?.onPods())
    this.notices = new Notices({ clock, onChange: () => this.listener?.onNotice() })
    const writes = new Writes({
      clock,
      checkValue,
      write: (command, signal) => this.mappers.write(command, signal),
      mayWriteRoaming: () => this.listener?.mayWriteRoaming ?? false,
      mayBegin: () => this.tether.leash.begins,
      onEnd: (device, property, end, acceptedAtMs) => {
        this.writeLatency.observe(clock.monotonic() - acceptedAtMs)
        this.engine.ended(device, property, end)
      },
    })
    this.engine = new TwinEngine({
      clock,
      checkValue,
      listens: (property, spec) => protocolOf(protocols, spec)?.listens?.(property) ?? false,
      batcher: this.batcher,
      writes,
      listening: options.listening,
      onEvent: options.onEvent,
      onHeard: (key, uid, rssiDbm) => this.heard.heard(key, uid, rssiDbm),
      hubOffsetMs: () => this.hubOffsetMs,
    })
    this.mappers = new Mappers({
      protocols,
      clock,
      random,
      log,
      onReadings: (batch) => {
        this.engine.readings(batch)
        for (const listener of this.#readingListeners) listener(batch)
      },
      onReachability: (news) => this.engine.reachability(news),
      onSighted: (protocol, sightings) => {
        this.sightings.sighted(protocol, sightings)
        options.onSighted?.(protocol, sightings)
      },
      onHappening: (event) => {
        this.notices.record(event)
        if (event.unusable === true) this.engine.unusable(event.about)
      },
      onWriteNews: (news) => this.engine.writeNews(news),
      storage: (protocol) => mapperStorage(store, protocol),
      broker: options.broker ?? brokerDisabled,
    })
    this.objects = new DesiredObjects({
      store,
      engine: this.engine,
      batcher: this.batcher,
      check: options.check ?? objectChecker(protocols),
      log,
      onBindings: (bindings) => {
        this.sightings.configured(bindings.values())
        this.#bindings = bindings
        this.#serve()
      },
      onGateway: (gateway) => {
        for (const listener of this.#gatewayListeners) listener(gateway?.spec, gateway)
      },
      onPodObjects: () => {
        for (const listener of this.#podListeners) listener()
      },
      onUpdates: () => {
        for (const listener of this.#updateListeners) listener()
      },
    })
  }

  start(): void {
    this.objects.restore()
    this.tether.begin(this.gatewaySpec)
    for (const text of this.store.desires()) {
      const desire = JSON.parse(text) as NewDesire
      this.#desires.set(desire.id, desire)
    }
    this.#armSave()
  }

  /**
   * What the cloud says of this gateway, from the store until the link is up; undefined while nobody has said anything.
   * Never older than what was acknowledged.
   */
  get gatewaySpec(): GatewaySpec | undefined {
    return this.objects.gateway?.spec
  }

  /** Calls `listener` after every change of the gateway's object, and never for the state it starts from. */
  onGatewaySpec(listener: GatewayListener): () => void {
    this.#gatewayListeners.add(listener)
    return () => void this.#gatewayListeners.delete(listener)
  }

  /** Calls `listener` after every change of the Pods, ConfigMaps and Secrets in `objects.podObjects()`. */
  onPodObjects(listener: () => void): () => void {
    this.#podListeners.add(listener)
    return () => void this.#podListeners.delete(listener)
  }

  /** These are the pods of this gateway's own files. */
  runStatics(pods: readonly StaticPod[]): void {
    this.objects.putStatics(pods)
    for (const listener of this.#podListeners) listener()
    this.listener?.onPods()
  }

  /** Calls `listener` after every change of the FirmwareUpdates in `objects.updates()`. */
  onUpdates(listener: () => void): () => void {
    this.#updateListeners.add(listener)
    return () => void this.#updateListeners.delete(listener)
  }

  /** Calls `listener` with every batch of readings, as the mappers give it. */
  onReadings(listener: (batch: readonly Reading[]) => void): () => void {
    this.#readingListeners.add(listener)
    return () => void this.#readingListeners.delete(listener)
  }

  /** Kinds of objects that the link may bring. */
  get kinds(): readonly LinkObjectKind[] {
    return this.pods === undefined ? LINK_KINDS.filter((kind) => !POD_KINDS.includes(kind)) : LINK_KINDS
  }

  /** Applies a stage of the gateway's policy: longer periods for some devices, none of them for others. */
  stretch(of: StretchOf | undefined): void {
    this.#stretchOf = of
    this.engine.stretch(of ?? (() => undefined))
    this.#serve()
  }

  /** What the stage in force does about pods; undefined while somebody else decides for this gateway. */
  get podStage(): PodStageInForce | undefined {
    return this.tether.leash.ownWill ? this.#podStage : undefined
  }

  /** A stage of the gateway's policy speaks of pods, or none does. */
  admitPods(stage: PodStageInForce | undefined): void {
    this.#podStage = stage
    for (const listener of this.#podListeners) listener()
  }

  /** Which pods the stage in force has stand still; undefined while somebody else decides for this gateway. */
  get podPause(): PodPause | undefined {
    return this.tether.leash.ownWill ? this.#podPause : undefined
  }

  /** A stage of the gateway's policy has pods stand still, or none does any more. */
  pausePods(pause: PodPause | undefined): void {
    if (JSON.stringify(pause) === JSON.stringify(this.#podPause)) return
    this.#podPause = pause
    for (const listener of this.#podListeners) listener()
  }

  /** What a device is served with; undefined while no mapper can serve it. */
  binding(key: ObjectKey): DeviceBinding | undefined {
    return this.#bindings.get(key)
  }

  /** Serves one more binding until it is disposed. There is no twin of its key: its readings go to `onReadings` alone. */
  tryOut(binding: DeviceBinding): Disposable {
    this.#tried.set(binding.key, binding)
    this.#serve()
    return {
      [Symbol.dispose]: () => {
        if (this.#tried.delete(binding.key)) this.#serve()
      },
    }
  }

  /** Local desired values that no hub has answered yet. */
  get desires(): Iterable<NewDesire> {
    return this.#desires.values()
  }

  /** Sets a desired value here and now; it is offered to the hub until that answers. */
  desire(key: string, property: string, value: Json, by: string | undefined): void {
    this.tether.needOwnWill(`'${property}' of ${key}`)
    const desire = this.engine.desireLocally(key, property, value, by)
    const replaced = [...this.#desires.values()].filter((other) => other.device === key && other.property === property)
    const offers = this.#options.offersDesires
    this.batcher.flush((writer) => {
      for (const { id } of replaced) writer.deleteDesire(id)
      if (offers) writer.putDesire(desire.id, JSON.stringify(desire))
    })
    for (const { id } of replaced) this.#desires.delete(id)
    if (offers) this.#desires.set(desire.id, desire)
    this.engine.pump(this.engine.devices.get(key)!)
    this.listener?.onDesire()
  }

  desireAnswered(id: string): void {
    if (!this.#desires.delete(id)) return
    this.store.transact('telemetry', (writer) => writer.deleteDesire(id))
  }

  saveValues(): void {
    const changed = [...takeChangedValues(this.engine.devices.values())]
    if (changed.length === 0) return
    try {
      this.store.transact('telemetry', (writer) => {
        for (const [uid, name, known] of changed) writer.putTwinKnown(uid, name, known)
      })
    } catch {
      // The store has said so; the values are saved again as they change.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#saveTimer?.cancel()
    this.sightings[Symbol.dispose]()
    this.notices[Symbol.dispose]()
    await this.mappers[Symbol.asyncDispose]()
    this.tether[Symbol.dispose]()
    this.engine.stop()
    this.batcher.stop()
    this.saveValues()
  }

  /** Gives the mappers what they are to serve under the stage in force. */
  #serve(): void {
    const of = this.#stretchOf
    if (of === undefined) {
      this.mappers.configure(this.#tried.size === 0 ? this.#bindings : new Map([...this.#bindings, ...this.#tried]))
      return
    }
    const served = new Map<ObjectKey, DeviceBinding>(this.#tried)
    for (const [key, binding] of this.#bindings) {
      const stretch = of(key, binding.device)
      const stretched = stretchedBinding(
        binding,
        this.#asks(binding) || stretch === undefined ? stretch : { ...stretch, poll: 1 },
      )
      if (stretched !== undefined) served.set(key, stretched)
    }
    this.mappers.configure(served)
  }

  /** Whether anything of a device is asked for: what speaks by itself is not slowed down by asking less often. */
  #asks({ device, model }: DeviceBinding): boolean {
    const listens = protocolOf(this.#options.protocols, device)?.listens
    return listens === undefined || !model.properties.every((property) => listens(property))
  }

  #armSave(): void {
    this.#saveTimer = this.#options.clock.after(
      SAVE_VALUES_MS,
      () => {
        this.saveValues()
        this.#armSave()
      },
      true,
    )
  }
}
