import { DeviceApi } from '../../api/client/device-api.ts'
import type { Endpoint } from '../../api/client/http.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { DeviceEvent, DeviceView, GatewayView, ModelView, StreamEvent } from '../../api/views.ts'
import type { CursorKeeper } from './cursor-keeper.ts'
import { type Discovered, Finds } from './finds.ts'
import { Replay } from './replay.ts'
import { type TwinChange, TwinMirror } from './twin-mirror.ts'

export type ConnectionState =
  | { readonly is: 'connecting' }
  | { readonly is: 'connected' }
  | { readonly is: 'lost'; readonly reason: string; readonly code: string }

/** What a node of a flow hears. */
export interface Subscriber {
  /** A twin changed; `change` has how it was before. */
  twin?(change: TwinChange): void
  /** A device came, went, or told of its battery and link. */
  device?(event: Extract<DeviceEvent, { kind: 'reach' }>, view: DeviceView | undefined): void
  gateway?(view: GatewayView): void
  /** Something was seen that was not there before. Asked for every few seconds, as long as somebody hears it. */
  discovered?(found: Discovered): void
  /** The connection changed. Called once at the start too. */
  state?(state: ConnectionState): void
}

const FIRST_DELAY_MS = 500
const LONGEST_DELAY_MS = 30_000
/** Several devices that nobody knew yet are asked for in one go. */
const REFRESH_DELAY_MS = 250
const ASK_MS = 15_000
/** An agent's stream does not tell of the gateway itself: it is asked. */
const PULSE_MS = 10_000

/** Heard by every subscriber that was there, and kept a while for one that is being deployed anew. */
type Heard = { readonly event: StreamEvent; readonly change?: TwinChange }

/**
 * One connection to an agent or a cloud core, shared by all nodes of a gateway: a mirror of its twins and one event
 * stream. After a cut it goes on at its cursor; what the other side no longer has is made up for from the state.
 */
export class GatewayConnection {
  readonly api: DeviceApi
  readonly #cursor: CursorKeeper
  readonly #mirror = new TwinMirror()
  readonly #subscribers = new Map<string, Subscriber>()
  readonly #replay = new Replay<Heard>()
  readonly #stop = new AbortController()
  readonly #gateways = new Map<string, GatewayView>()
  readonly #touched = new Set<string>()
  /** Nodes that came while nobody answered: they hear how things stand once somebody does. */
  readonly #fresh = new Set<string>()
  readonly #finds: Finds
  readonly #pulseMs: number
  #told = false
  #state: ConnectionState = { is: 'connecting' }
  #refresh: NodeJS.Timeout | undefined

  constructor(endpoint: Endpoint, cursor: CursorKeeper, { pulseMs = PULSE_MS }: { readonly pulseMs?: number } = {}) {
    this.api = new DeviceApi(endpoint)
    this.#pulseMs = pulseMs
    this.#cursor = cursor
    this.#finds = new Finds({
      ask: (signal) => this.api.discovered(signal),
      wanted: () =>
        this.#state.is === 'connected' && [...this.#subscribers.values()].some(({ discovered }) => discovered),
      tell: (found) => {
        for (const subscriber of this.#subscribers.values()) subscriber.discovered?.(found)
      },
    })
  }

  get state(): ConnectionState {
    return this.#state
  }

  get devices(): ReadonlyMap<ObjectKey, DeviceView> {
    return this.#mirror.devices
  }

  get models(): ReadonlyMap<ObjectKey, ModelView> {
    return this.#mirror.models
  }

  get gateways(): Iterable<GatewayView> {
    return this.#gateways.values()
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** Starts after the nodes of the flow had their turn to subscribe. */
  start(): void {
    setImmediate(() => {
      void this.#run()
      this.#finds.start(this.#stop.signal)
      if (this.api.endpoint.kind === 'https') return
      const timer = setInterval(() => void this.#pulse(), this.#pulseMs)
      this.#stop.signal.addEventListener('abort', () => clearInterval(timer), { once: true })
    })
  }

  /** Pods of the cluster and where they are; undefined where the other side knows of none. */
  async pods(): Promise<readonly { readonly key: string; readonly node?: string }[] | undefined> {
    if (this.api.endpoint.kind !== 'https') return undefined
    try {
      const { pods } = await this.api.work(AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ASK_MS)]))
      return pods.map(({ namespace, name, node }) => ({
        key: `${namespace}/${name}`,
        ...(node === undefined ? {} : { node }),
      }))
    } catch {
      return undefined
    }
  }

  /** `refused`: what speaks against it. Throws SLUICE_NODERED_NO_CLOUD where nobody could move a pod, and what the API says. */
  async offload(pod: string, to: string): Promise<{ readonly refused?: string }> {
    if (this.api.endpoint.kind !== 'https') {
      throw new SluiceError('SLUICE_NODERED_NO_CLOUD', 'pods are moved by a cloud core, and this gateway is an agent', {
        hint: 'Name a gateway in the node whose connection leads to a cloud core.',
      })
    }
    try {
      await this.api.offload(pod, to, AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ASK_MS)]))
      return {}
    } catch (thrown) {
      const { code, message } = toSluiceError(thrown)
      if (code === 'SLUICE_OFFLOAD_REFUSED') return { refused: message }
      throw thrown
    }
  }

  stop(): void {
    this.#stop.abort()
    clearTimeout(this.#refresh)
    this.#cursor.save()
  }

  /** Reads devices and models again, for a dialog that is open. What cannot be read now stays as it was. */
  async refresh(): Promise<void> {
    if (this.#state.is !== 'connected') return
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ASK_MS)])
    await this.#readState('new', signal).catch(() => {})
  }

  /**
   * A node that was deployed anew first hears what came while it was away, then how things stand. It hears nothing before
   * the other nodes of its flow are there to take what it sends. Call the result to leave.
   */
  subscribe(nodeId: string, subscriber: Subscriber): () => void {
    subscriber.state?.(this.#state)
    // What comes until it enters is not lost either.
    this.#replay.arrives(nodeId)
    const entering = setImmediate(() => this.#enter(nodeId, subscriber))
    return () => {
      clearImmediate(entering)
      if (this.#subscribers.get(nodeId) !== subscriber) return
      this.#subscribers.delete(nodeId)
      this.#fresh.delete(nodeId)
      this.#replay.left(nodeId)
    }
  }

  #enter(nodeId: string, subscriber: Subscriber): void {
    if (this.#stop.signal.aborted) return
    this.#subscribers.set(nodeId, subscriber)
    subscriber.state?.(this.#state)
    const missed = this.#replay.missedBy(nodeId)
    for (const heard of missed) tell(subscriber, heard, this.#mirror)
    for (const view of this.#gateways.values()) subscriber.gateway?.(view)
    // Before the first connection everything is told to everybody.
    if (!this.#told) return
    if (this.#state.is !== 'connected') this.#fresh.add(nodeId)
    else this.#tellHow(subscriber, new Set(missed.flatMap(({ event }) => twinKeyOf(event) ?? [])))
  }

  /** How twins are right now, to one node; without the twins it has just heard of. */
  #tellHow(subscriber: Subscriber, heard: ReadonlySet<string>): void {
    for (const change of this.#mirror.current()) {
      if (!heard.has(twinKeyOf(change.event) ?? '')) subscriber.twin?.(change)
    }
  }

  async #run(): Promise<void> {
    let delayMs = FIRST_DELAY_MS
    while (!this.#stop.signal.aborted) {
      try {
        await this.#follow(() => {
          delayMs = FIRST_DELAY_MS
        })
        this.#become({ is: 'lost', reason: 'the other side closed the connection', code: 'SLUICE_CLIENT_UNREACHABLE' })
      } catch (thrown) {
        if (this.#stop.signal.aborted) return
        const { code, message } = toSluiceError(thrown)
        this.#become({ is: 'lost', reason: message, code })
      }
      await pause(delayMs * (0.5 + Math.random() / 2), this.#stop.signal)
      delayMs = Math.min(delayMs * 2, LONGEST_DELAY_MS)
    }
  }

  async #follow(connected: () => void): Promise<void> {
    const ended = new AbortController()
    const signal = AbortSignal.any([this.#stop.signal, ended.signal])
    const before = this.#cursor.value
    // A cursor of an earlier run of this program goes on, but nobody here has heard how things stand.
    let untold = before !== undefined && !this.#told
    let reading: Promise<void> | undefined
    let failure: unknown
    const readState = (news: 'all' | 'none') => {
      reading = this.#readState(news, signal).catch((thrown: unknown) => {
        failure ??= thrown
        ended.abort()
      })
    }
    try {
      // The state is read once the stream is open: nothing can happen between the two unseen.
      const opened = () => readState(before === undefined ? 'all' : 'none')
      for await (const { id, missed, live, events } of this.api.events({}, signal, before, opened)) {
        if (missed) {
          untold = false
          readState('all')
        }
        await reading
        if (failure !== undefined) break
        const touched = untold || this.#fresh.size > 0 ? this.#touched : undefined
        for (const event of events) {
          this.#take(event)
          const key = twinKeyOf(event)
          if (key !== undefined) touched?.add(key)
        }
        if (id !== undefined) this.#cursor.value = id
        if (live !== true) continue
        if (untold) this.#tellCurrent()
        for (const id of this.#fresh) {
          const subscriber = this.#subscribers.get(id)
          if (subscriber !== undefined) this.#tellHow(subscriber, this.#touched)
        }
        this.#fresh.clear()
        this.#touched.clear()
        untold = false
        this.#told = true
        connected()
        this.#become({ is: 'connected' })
      }
    } finally {
      ended.abort()
      await reading
    }
    if (failure !== undefined) throw failure
  }

  /** The backlog has told its twins; the others are told as they are. */
  #tellCurrent(): void {
    for (const change of this.#mirror.current()) {
      if (!this.#touched.has(twinKeyOf(change.event) ?? '')) this.#hear({ event: change.event, change })
    }
  }

  /** `all`: whatever differs from what was known is told. `new`: only of devices nobody knew. */
  async #readState(news: 'all' | 'new' | 'none', signal: AbortSignal): Promise<void> {
    const [devices, models, gateways] = await Promise.all([
      this.api.devices(signal),
      this.api.models(signal),
      this.api.gateways(signal),
    ])
    const known = new Set(this.#mirror.devices.keys())
    this.#mirror.setModels(models)
    for (const change of this.#mirror.replace(devices)) {
      if (news === 'all' || (news === 'new' && !known.has(change.event.device))) {
        this.#hear({ event: change.event, change })
      }
    }
    for (const gateway of gateways) this.#takeGateway(gateway)
    // A device may have come or gone: the nodes that name it say so.
    if (this.#state.is === 'connected') this.#tellState()
  }

  async #pulse(): Promise<void> {
    if (this.#state.is !== 'connected') return
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ASK_MS)])
      for (const view of await this.api.gateways(signal)) this.#takeGateway(view)
    } catch {
      // The stream tells that nobody answers any more.
    }
  }

  #take(event: StreamEvent): void {
    if (event.kind === 'gateway') {
      this.#takeGateway(event.gateway)
      return
    }
    const known = this.#mirror.devices.has(event.device)
    const change = this.#mirror.apply(event)
    if (!known) this.#refreshSoon()
    this.#hear(change === undefined ? { event } : { event, change })
  }

  #takeGateway(view: GatewayView): void {
    const before = this.#gateways.get(view.name)
    this.#gateways.set(view.name, view)
    // Nothing else tells that a device was taken away, or that one came which says nothing.
    if (before !== undefined && before.status.devices?.total !== view.status.devices?.total) this.#refreshSoon()
    for (const subscriber of this.#subscribers.values()) subscriber.gateway?.(view)
  }

  #hear(heard: Heard): void {
    this.#replay.push(heard)
    for (const subscriber of this.#subscribers.values()) tell(subscriber, heard, this.#mirror)
  }

  #refreshSoon(): void {
    this.#refresh ??= setTimeout(() => {
      this.#refresh = undefined
      this.#readState('new', this.#stop.signal).catch(() => {
        // The stream's own failure is told; this one is tried again with the next unknown device.
      })
    }, REFRESH_DELAY_MS)
  }

  #become(state: ConnectionState): void {
    if (this.#stop.signal.aborted) return
    this.#state = state
    this.#tellState()
  }

  #tellState(): void {
    for (const subscriber of this.#subscribers.values()) subscriber.state?.(this.#state)
  }
}

/** The twin an event is about. */
const twinKeyOf = (event: StreamEvent): string | undefined =>
  'property' in event ? `${event.device}/${event.property}` : undefined

function tell(subscriber: Subscriber, { event, change }: Heard, mirror: TwinMirror): void {
  if (change !== undefined) subscriber.twin?.(change)
  else if (event.kind === 'reach') subscriber.device?.(event, mirror.devices.get(event.device))
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true },
    )
  })
}
