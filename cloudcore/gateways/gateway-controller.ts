import type { Clock } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { HelloFrame } from '../../api/link/messages.ts'
import { API_VERSION, type Gateway, type GatewaySpec, type GatewayStatus } from '../../api/resources.ts'
import type { GatewayView } from '../../api/views.ts'
import type { HubStore } from '../hub/store.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, GATEWAYS, objectPath } from '../kube/paths.ts'
import { type Watch, watchResource } from '../kube/watch.ts'
import { Coalescer } from '../twins/coalescer.ts'
import type { PresenceBoard } from '../twins/presence.ts'
import { iso } from '../twins/render.ts'
import type { EventRecorder, EventSubject } from './event-recorder.ts'
import type { GatewayObjects } from './gateway-objects.ts'
import type { NodeKeeper } from './node-keeper.ts'
import { keysOf, patchOf, type StatusKeys, soundVitals, steadyPart, type Vitals } from './told-vitals.ts'

export interface GatewayControllerOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly presence: PresenceBoard
  readonly nodes: NodeKeeper
  readonly events: EventRecorder
  readonly store: HubStore
  readonly onTrouble: (what: string, error: SluiceError) => void
  /** Takes every Gateway as it comes and goes. */
  readonly objects?: GatewayObjects
  /** Who decides for a gateway, as far as the supernode knows. */
  readonly tether?: (name: string) => GatewayStatus['tether']
  /** A gateway came, went, or told how it is. */
  readonly onChange?: (name: string) => void
}

interface GatewayState {
  uid: string | undefined
  /** As the agent sent it last. */
  told: GatewayStatus
  /** Of what it told of its power, heat and networks: what an API takes. */
  vitals: Vitals
  taints: GatewaySpec['taints']
  /** `Gateway.spec.pods`, as text. */
  limits?: string | undefined
  /** Parts and fields that the status in the API has. */
  present: StatusKeys
  state: NonNullable<GatewayStatus['state']>
  agentVersion: string | undefined
  epoch: string | undefined
  lastSeenMs: number | undefined
  connectedSinceMs: number | undefined
  certificateExpiresMs: number | undefined
  transitionMs: number
  written: string
  writtenMs: number
  seenDropped: number
  hostIp?: string | undefined
  supernodes?: readonly string[] | undefined
}

const STATUS_EVERY_MS = 10_000
/** Figures that always move (memory, round trip) are refreshed this often when nothing else changed. */
const REFRESH_EVERY_MS = 60_000

/** Keeps Gateway objects: one for every gateway that has a token or joined, with what its agent says of itself. */
export class GatewayController {
  readonly #options: GatewayControllerOptions
  readonly #gateways = new Map<string, GatewayState>()
  readonly #writer: Coalescer
  readonly watch: Watch<string>

  constructor(options: GatewayControllerOptions) {
    this.#options = options
    const { client, clock, signal, presence, nodes } = options
    this.#writer = new Coalescer({
      clock,
      signal,
      intervalMs: STATUS_EVERY_MS,
      parallel: 2,
      write: (name) => this.#write(name),
      onRefused: (name, error) => options.onTrouble(`status of gateway ${name}`, error),
    })
    presence.listen({
      away: (name, sinceMs) => {
        this.#transition(name, 'offline', sinceMs)
        nodes.away(name, sinceMs)
        const message = `the gateway is silent since ${iso(sinceMs)}; its twins are marked stale`
        this.#event(name, 'Warning', 'GatewayOffline', message)
      },
    })
    this.watch = watchResource<Gateway, string>(
      client,
      collectionPath(GATEWAYS),
      {
        upsert: (gateway) => {
          options.objects?.upsert(gateway)
          this.#seen(gateway)
        },
        remove: (name) => {
          options.objects?.remove(name)
          this.#gone(name)
        },
        trouble: (error) => options.onTrouble('watch of gateways', error),
      },
      { clock, signal, keep: (gateway) => gateway.metadata.uid ?? '' },
    )
  }

  /** Makes the Gateway object if there is none; `neverJoined` until its agent connects. */
  async ensure(name: string): Promise<void> {
    try {
      const body = { apiVersion: API_VERSION, kind: 'Gateway', metadata: { name }, spec: {} }
      await this.#options.client.create<Gateway>(collectionPath(GATEWAYS), body)
      this.#writer.markDirty(name)
      this.#state(name)
    } catch (thrown) {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_EXISTS') throw thrown
    }
  }

  connected(
    name: string,
    { agentVersion, machine }: Pick<HelloFrame, 'agentVersion' | 'machine'>,
    epoch: string | undefined,
    certificateExpiresMs: number,
  ): void {
    const state = this.#state(name)
    const nowMs = this.#options.clock.now()
    const wasOnline = state.state === 'online'
    state.agentVersion = agentVersion
    state.epoch = epoch
    state.certificateExpiresMs = certificateExpiresMs
    state.connectedSinceMs = nowMs
    state.lastSeenMs = nowMs
    this.#options.nodes.online(name, agentVersion, machine)
    state.hostIp = machine?.hostIp
    state.supernodes = machine?.supernodes
    this.#transition(name, 'online', nowMs)
    if (!wasOnline) this.#event(name, 'Normal', 'GatewayOnline', 'the gateway is connected')
  }

  disconnected(name: string, lastHeardMs: number): void {
    this.#state(name).lastSeenMs = lastHeardMs
    this.#options.nodes.lost(name)
  }

  /** What the agent says of itself; only known figures are taken over. */
  told(name: string, status: GatewayStatus): void {
    const state = this.#state(name)
    state.told = status
    state.vitals = soundVitals(status)
    this.#tellNode(name, state)
    state.lastSeenMs = this.#options.clock.now()
    const dropped = status.outbox?.droppedValues ?? 0
    if (dropped > state.seenDropped) {
      const more = dropped - state.seenDropped
      this.#event(name, 'Warning', 'DataDropped', `the gateway's outbox is full: ${more} more value(s) were dropped`)
    }
    state.seenDropped = dropped
    this.#writer.markDirty(name)
    this.#options.onChange?.(name)
  }

  /** The tether has changed: its status, and an Event. */
  tetherChanged(name: string, tether: GatewayStatus['tether']): void {
    if (!this.#gateways.has(name)) return
    const news = tetherNews(tether)
    if (news !== undefined) this.#event(name, ...news)
    this.#writer.hurry(name)
    this.#options.onChange?.(name)
  }

  /** Where it is in its own network, if it runs pods. */
  hostIp(name: string): string | undefined {
    return this.#gateways.get(name)?.hostIp
  }

  subject(name: string): EventSubject {
    const uid = this.#gateways.get(name)?.uid
    return { apiVersion: API_VERSION, kind: 'Gateway', name, ...(uid === undefined ? {} : { uid }) }
  }

  /** A gateway as programs read it: newer than its status in the API. */
  view(name: string): GatewayView {
    const state = this.#state(name)
    return { name, state: state.state, status: this.#render(name, state) }
  }

  drained(signal: AbortSignal): Promise<void> {
    return this.#writer.drained(signal)
  }

  #event(name: string, type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#options.events.record({ subject: this.subject(name), type, reason, message })
  }

  #state(name: string): GatewayState {
    let state = this.#gateways.get(name)
    if (state === undefined) {
      state = {
        uid: undefined,
        told: {},
        vitals: {},
        taints: undefined,
        present: {},
        state: 'neverJoined',
        agentVersion: undefined,
        epoch: undefined,
        lastSeenMs: undefined,
        connectedSinceMs: undefined,
        certificateExpiresMs: undefined,
        transitionMs: this.#options.clock.now(),
        written: '',
        writtenMs: Number.NEGATIVE_INFINITY,
        seenDropped: 0,
      }
      this.#gateways.set(name, state)
    }
    return state
  }

  #seen(gateway: Gateway): void {
    const { name, uid } = gateway.metadata
    const known = this.#gateways.has(name)
    const state = this.#state(name)
    if (JSON.stringify(state.taints) !== JSON.stringify(gateway.spec?.taints)) {
      state.taints = gateway.spec?.taints
      this.#tellNode(name, state)
    }
    const limits = JSON.stringify(gateway.spec?.pods)
    if (state.limits !== limits) this.#options.nodes.limitsChanged(name)
    state.limits = limits
    if (known && state.uid === uid) return
    const recreated = state.uid !== undefined && state.uid !== uid
    state.uid = uid
    if (recreated) {
      state.written = ''
      state.writtenMs = Number.NEGATIVE_INFINITY
      state.present = {}
      this.#writer.hurry(name)
      return
    }
    const status = gateway.status ?? {}
    state.present = keysOf(status)
    const lastSeenMs = status.lastSeen === undefined ? undefined : Date.parse(status.lastSeen)
    state.lastSeenMs ??= lastSeenMs
    state.agentVersion ??= status.agentVersion
    state.epoch ??= status.epoch
    state.seenDropped ||= status.outbox?.droppedValues ?? 0
    if (!known && status.state !== undefined) state.state = status.state
    if (status.state === undefined) this.#writer.markDirty(name)
    if (
      this.#options.presence.state(name) === undefined &&
      status.state !== 'neverJoined' &&
      lastSeenMs !== undefined
    ) {
      // After a restart of the hub every gateway gets the grace period to come back before anything turns stale.
      const alreadyAway = status.state === 'offline'
      this.#options.presence.expect(name, lastSeenMs, alreadyAway)
    }
  }

  #gone(name: string): void {
    const state = this.#gateways.get(name)
    if (state === undefined) return
    state.uid = undefined
    if (this.#options.presence.state(name) === 'online') {
      // Somebody deleted the object of a living gateway: it is made again.
      this.ensure(name).catch((thrown: unknown) => this.#options.onTrouble(`gateway ${name}`, toSluiceError(thrown)))
      return
    }
    this.#gateways.delete(name)
    this.#writer.forget(name)
    this.#options.nodes.forget(name)
    this.#options.presence.forget(name)
  }

  #tellNode(name: string, state: GatewayState): void {
    this.#options.nodes.told(name, { ...state.vitals, conditions: toldConditions(state.told) }, state.taints)
  }

  #transition(name: string, to: GatewayState['state'], atMs: number): void {
    const state = this.#state(name)
    if (state.state !== to) state.transitionMs = atMs
    state.state = to
    this.#writer.hurry(name)
    this.#options.onChange?.(name)
  }

  async #write(name: string): Promise<void> {
    const state = this.#gateways.get(name)
    if (state === undefined) return
    const nowMs = this.#options.clock.now()
    const status = this.#render(name, state)
    const digest = JSON.stringify(steadyPart(status))
    if (digest === state.written && nowMs - state.writtenMs < REFRESH_EVERY_MS) return
    const path = objectPath(GATEWAYS, name, undefined, 'status')
    try {
      const patch = { status: patchOf(status, state.present) }
      await this.#options.client.patch(path, 'merge', patch, { query: { fieldManager: 'sluice-cloudcore' } })
    } catch (thrown) {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_NOT_FOUND') throw thrown
      if (state.state !== 'online') return
      await this.ensure(name)
      return
    }
    state.written = digest
    state.writtenMs = nowMs
    state.present = keysOf(status)
  }

  #render(name: string, state: GatewayState): GatewayStatus {
    const { devices, outbox, agent } = state.told
    const { link, ...vitals } = state.vitals
    const counters = this.#options.store.counters(name)
    const tether = this.#options.tether?.(name)
    const time = (ms: number | undefined, field: string) => (ms === undefined ? {} : { [field]: iso(ms) })
    const online = state.state === 'online'
    return {
      state: state.state,
      ...time(state.lastSeenMs, 'lastSeen'),
      ...time(state.connectedSinceMs, 'connectedSince'),
      ...time(state.certificateExpiresMs, 'certificateExpires'),
      ...(state.agentVersion === undefined ? {} : { agentVersion: state.agentVersion }),
      ...(state.epoch === undefined ? {} : { epoch: state.epoch }),
      ...(devices === undefined ? {} : { devices }),
      ...(outbox === undefined ? {} : { outbox }),
      ...(agent === undefined ? {} : { agent }),
      ...(tether === undefined ? {} : { tether }),
      ...(state.supernodes === undefined ? {} : { supernodes: [...state.supernodes] }),
      ...vitals,
      link: { ...link, gapsSeen: counters.gaps + counters.unexplained },
      conditions: [
        {
          type: 'Connected',
          status: online ? 'True' : state.state === 'neverJoined' ? 'Unknown' : 'False',
          reason: online ? 'LinkUp' : state.state === 'neverJoined' ? 'NeverJoined' : 'Silent',
          message: online
            ? 'the gateway is connected'
            : state.state === 'neverJoined'
              ? `make a token with: sluice token create --gateway ${name}`
              : 'the gateway is silent; check its power and its network',
          lastTransitionTime: iso(state.transitionMs),
        },
        ...toldConditions(state.told),
      ],
    }
  }
}

/** What a person is told when a tether changes; nothing of a gateway that never had one. */
function tetherNews(tether: GatewayStatus['tether']): ['Normal' | 'Warning', string, string] | undefined {
  switch (tether?.state) {
    case 'led':
      return ['Normal', 'TetherLed', 'a lease is in force: the supernode decides']
    case 'slack':
      return ['Warning', 'TetherSlack', 'its lease is over: what runs goes on, nothing new begins']
    case 'lost': {
      const { onLoss = 'keep', releasedAt } = tether
      const where = releasedAt === undefined ? 'and never begins elsewhere by itself' : 'and may begin elsewhere now'
      const what = { keep: 'goes on', freeze: 'stands still', stop: 'is ended' }[onLoss]
      return ['Warning', 'TetherLost', `lease and grace are over: its work ${what} (onLoss: ${onLoss}) ${where}`]
    }
    default:
      return undefined
  }
}

/** Conditions the agent tells of itself; whether it is connected is not its to say. */
function toldConditions(told: GatewayStatus): NonNullable<GatewayStatus['conditions']> {
  if (!Array.isArray(told.conditions)) return []
  const sound = told.conditions.filter(
    ({ type, status, reason, message, lastTransitionTime }) =>
      type !== 'Connected' &&
      [type, reason, message, lastTransitionTime].every((text) => typeof text === 'string') &&
      (status === 'True' || status === 'False' || status === 'Unknown'),
  )
  return sound.slice(0, 15)
}
