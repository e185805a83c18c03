import { useEffect, useState } from 'preact/hooks'
import { objectKey } from '../../api/resources.ts'
import type { DeviceView, GatewayView, ModelView, StreamEvent } from '../../api/views.ts'
import { readEvents } from './event-reader.ts'
import { foldEvent } from './fold.ts'
import { ApiError, call } from './http.ts'

/** What the view in front needs; the event stream and the state follow it. */
export type Scope =
  | { readonly kind: 'fleet' }
  | { readonly kind: 'devices' }
  | { readonly kind: 'gateway'; readonly name: string }
  | { readonly kind: 'device'; readonly key: string }
  | { readonly kind: 'none' }

export type Connection = { readonly state: 'opening' | 'live' } | { readonly state: 'lost'; readonly sinceMs: number }

export type Listener = (event: StreamEvent) => void

const GATEWAY_EVERY_MS = 3_000
const AGAIN_MS = 2_000
/** A table shows the first values of a device only. */
const BRIEF = '?twins=4'
/** What fits on a screen is asked for first. */
const FIRST_ROWS = 60

/** What is known of the fleet, kept live; views are told at most once a frame. */
class Store {
  gateways: ReadonlyMap<string, GatewayView> = new Map()
  models: ReadonlyMap<string, ModelView> = new Map()
  connection: Connection = { state: 'opening' }
  /** Whether the state of the scope has been read at least once. */
  loaded = false
  /** How many devices there are, while only the first of them are known. */
  total: number | undefined
  #scope: Scope = { kind: 'none' }
  #reading: AbortController | undefined
  #isGateway = false
  /** Whether all gateways are known, not only those that were looked at or heard of. */
  #allGateways = false
  /** The same of devices. */
  #allDevices = false
  readonly #watchers = new Set<() => void>()
  readonly #listeners = new Set<Listener>()
  #dirty = false
  #devices = new Map<string, DeviceView>()
  /** What was shown of them last; another map once something in it is another. */
  #shown: ReadonlyMap<string, DeviceView> | undefined
  /** What happened while the state was being read: it may be newer than what was read, and is taken after it. */
  #early: StreamEvent[] | undefined
  #loads = 0
  readonly #stirred = new Set<string>()

  /** Copied when it is looked at, which for a long table is far more seldom than something changes. */
  get devices(): ReadonlyMap<string, DeviceView> {
    this.#shown ??= new Map(this.#devices)
    return this.#shown
  }

  start(isGateway: boolean): void {
    this.#isGateway = isGateway
  }

  stop(): void {
    this.#reading?.abort()
    this.#scope = { kind: 'none' }
    this.#know(new Map())
    this.gateways = new Map()
    this.#allGateways = false
    this.#allDevices = false
    this.loaded = false
  }

  /** Follows another part of the fleet. */
  look(scope: Scope): void {
    if (JSON.stringify(scope) === JSON.stringify(this.#scope)) return
    this.#scope = scope
    this.#reading?.abort()
    if (scope.kind === 'none') return
    this.loaded = this.#holds(scope)
    const reading = new AbortController()
    this.#reading = reading
    const { signal } = reading
    // A gateway does not tell of its own figures as they move.
    if (this.#isGateway && scope.kind === 'gateway') this.#follow(signal)
    // What is small is asked for without waiting for the stream, and once more when it is open: it does not tell of before.
    if (!this.loaded && (scope.kind === 'gateway' || scope.kind === 'device')) void this.#load(scope, signal)
    void readEvents({
      query: this.#queryOf(scope),
      signal,
      onOpen: () => void this.#load(scope, signal),
      onEvents: (events) => this.#take(events),
      onLost: () => {
        if (this.connection.state === 'lost') return
        this.connection = { state: 'lost', sinceMs: Date.now() }
        this.#touch()
      },
    })
  }

  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** Hears every event as it comes: charts. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  modelOf(device: DeviceView): ModelView | undefined {
    return this.models.get(objectKey(device.namespace, device.model))
  }

  #holds(scope: Scope): boolean {
    if (scope.kind === 'fleet') return this.#allGateways
    if (scope.kind === 'devices') return this.#allDevices
    if (scope.kind === 'device') return this.#devices.has(scope.key) && this.models.size > 0
    if (scope.kind !== 'gateway' || !this.gateways.has(scope.name)) return false
    // Of the devices that are known, none may be of this one.
    return this.#isGateway || [...this.#devices.values()].some(({ gateway }) => gateway === scope.name)
  }

  #queryOf(scope: Scope): string {
    if (scope.kind === 'device') return `?device=${encodeURIComponent(scope.key)}`
    if (this.#isGateway) return ''
    if (scope.kind === 'fleet') return '?kind=gateway'
    return scope.kind === 'gateway' ? `?gateway=${encodeURIComponent(scope.name)}` : ''
  }

  async #load(scope: Scope, signal: AbortSignal): Promise<void> {
    this.#early ??= []
    this.#loads++
    let read = false
    try {
      const wanted: Promise<void>[] = []
      if (scope.kind === 'gateway' && !this.#isGateway) wanted.push(this.#loadGateway(scope.name, signal))
      else if (scope.kind === 'fleet' || this.#isGateway) wanted.push(this.#loadGateways(signal))
      if (scope.kind === 'device') wanted.push(this.#loadDevice(scope.key, signal))
      if (scope.kind === 'devices') {
        if (!this.loaded && !this.#isGateway) {
          await this.#loadDevices(`${BRIEF}&limit=${FIRST_ROWS}`, signal)
          this.loaded = true
          this.#touch()
        }
        wanted.push(this.#loadDevices(BRIEF, signal))
      }
      if (scope.kind === 'gateway') {
        wanted.push(
          this.#loadDevices(this.#isGateway ? '' : `${BRIEF}&gateway=${encodeURIComponent(scope.name)}`, signal),
        )
      }
      if (scope.kind !== 'fleet') wanted.push(this.#loadModels(signal))
      await Promise.all(wanted)
      read = true
    } catch (thrown) {
      // What was refused is refused again; the stream ends with the server, and says so; the rest may go better next time.
      const refused = thrown instanceof ApiError && thrown.status < 500
      if (!refused && !signal.aborted) setTimeout(() => !signal.aborted && void this.#load(scope, signal), AGAIN_MS)
    }
    if (--this.#loads === 0) {
      const early = this.#early
      this.#early = undefined
      this.#take(early)
    }
    if (signal.aborted) return
    if (read) {
      this.loaded = true
      this.connection = { state: 'live' }
    }
    this.#touch()
  }

  async #loadGateways(signal: AbortSignal): Promise<void> {
    const { items } = await call<{ items: GatewayView[] }>('/v1/gateways', { signal })
    this.gateways = new Map(items.map((gateway) => [gateway.name, gateway]))
    this.#allGateways = true
  }

  async #loadGateway(name: string, signal: AbortSignal): Promise<void> {
    const known = new Map(this.gateways)
    try {
      known.set(name, await call<GatewayView>(`/v1/gateways/${encodeURIComponent(name)}`, { signal }))
    } catch (thrown) {
      // The view says that there is none of this name.
      if (!(thrown instanceof ApiError && thrown.status === 404)) throw thrown
      known.delete(name)
    }
    this.gateways = known
  }

  #follow(signal: AbortSignal): void {
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible' && this.connection.state === 'live') {
        this.#loadGateways(signal).then(
          () => this.#touch(),
          () => {},
        )
      }
    }, GATEWAY_EVERY_MS)
    signal.addEventListener('abort', () => clearInterval(timer))
  }

  async #loadModels(signal: AbortSignal): Promise<void> {
    const { items } = await call<{ items: ModelView[] }>('/v1/models', { signal })
    this.models = new Map(items.map((model) => [objectKey(model.namespace, model.name), model]))
  }

  async #loadDevices(query: string, signal: AbortSignal): Promise<void> {
    const { items, total } = await call<{ items: DeviceView[]; total?: number }>(`/v1/devices${query}`, { signal })
    this.total = total === items.length ? undefined : total
    this.#allDevices = query === BRIEF || this.#isGateway
    this.#know(new Map(items.map((device) => [objectKey(device.namespace, device.name), device])))
  }

  async #loadDevice(key: string, signal: AbortSignal): Promise<void> {
    try {
      const path = key.split('/').map(encodeURIComponent).join('/')
      this.#put(key, await call<DeviceView>(`/v1/devices/${path}`, { signal }))
    } catch (thrown) {
      if (!(thrown instanceof ApiError && thrown.status === 404)) throw thrown
      // The view says that there is none of this name, until there is: nobody tells of a device that comes.
      const left = new Map(this.#devices)
      left.delete(key)
      this.#know(left)
      setTimeout(() => !signal.aborted && void this.#load({ kind: 'device', key }, signal), AGAIN_MS)
    }
  }

  #put(key: string, device: DeviceView): void {
    this.#devices.set(key, device)
    this.#shown = undefined
  }

  #know(devices: Map<string, DeviceView>): void {
    this.#devices = devices
    this.#shown = undefined
  }

  #take(events: readonly StreamEvent[]): void {
    if (this.#early !== undefined) {
      this.#early.push(...events)
      return
    }
    for (const event of events) {
      for (const listener of this.#listeners) listener(event)
      if (event.kind === 'gateway') this.#gatewayChanged(event.gateway)
      else {
        const before = this.#devices.get(event.device)
        if (before === undefined) continue
        const after = foldEvent(before, event)
        if (after !== before) this.#put(event.device, after)
      }
    }
    if (events.length > 0) this.#touch()
  }

  #gatewayChanged(gateway: GatewayView): void {
    const before = this.gateways.get(gateway.name)
    this.gateways = new Map(this.gateways).set(gateway.name, gateway)
    if (before?.state === gateway.state || this.#isGateway || this.#stirred.has(gateway.name)) return
    // A gateway that came or went changes what its devices are; nobody tells of each of them.
    const scope = this.#scope
    const signal = this.#reading?.signal
    if (signal === undefined || scope.kind === 'fleet' || scope.kind === 'none') return
    this.#stirred.add(gateway.name)
    setTimeout(() => {
      this.#stirred.delete(gateway.name)
      if (this.#scope === scope) void this.#load(scope, signal)
    }, 500)
  }

  #touch(): void {
    if (this.#dirty) return
    this.#dirty = true
    const tell = () => {
      this.#dirty = false
      for (const watcher of this.#watchers) watcher()
    }
    // A page in the background draws no frames, and must not gather a backlog either.
    if (document.visibilityState === 'visible') requestAnimationFrame(tell)
    else setTimeout(tell, 1_000)
  }
}

export const store = new Store()

/** Draws the component again when something is new, at most every so often: nobody reads a long table faster. */
export function useStore(everyMs = 0): Store {
  const [, draw] = useState(0)
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    let drawnMs = Number.NEGATIVE_INFINITY
    const now = () => {
      timer = undefined
      drawnMs = performance.now()
      draw((count) => count + 1)
    }
    let wasLoaded = store.loaded
    const unwatch = store.watch(() => {
      const waitMs = wasLoaded === store.loaded ? drawnMs + everyMs - performance.now() : 0
      wasLoaded = store.loaded
      if (waitMs <= 0) now()
      else timer ??= setTimeout(now, waitMs)
    })
    return () => {
      unwatch()
      clearTimeout(timer)
    }
  }, [everyMs])
  return store
}
