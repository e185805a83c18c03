import type { Timer } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { HelloFrame, LinkObjectKind } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { DeviceRecord } from '../twins/device-record.ts'
import type { PresenceBoard } from '../twins/presence.ts'
import type { LinkSocket } from './link-socket.ts'
import { Session } from './session.ts'
import type { SessionContext } from './session-context.ts'

export interface HubOptions extends Omit<SessionContext, 'onHello'> {
  readonly presence: PresenceBoard
  readonly onConnected: (session: Session, hello: HelloFrame) => void
  readonly onDisconnected: (session: Session) => void
}

const SWEEP_MS = 5_000
/** As many as an agent trusts a silent hub. */
const LEASE_HEARTBEATS = 2.5

const holdersOf = ({ gateway, tenure }: DeviceRecord): readonly string[] =>
  gateway === undefined ? (tenure?.standbys ?? []) : [gateway, ...(tenure?.standbys ?? [])]

/** Every link there is: at most one a gateway, the newest. Tells each what changed of the objects it holds. */
export class Hub implements Disposable {
  readonly #options: HubOptions
  readonly #context: SessionContext
  readonly #sessions = new Map<string, Session>()
  /** When gateways that are gone asked last whether the hub is there, monotonic. */
  readonly #lastPings = new Map<string, number>()
  readonly #offsets = new Map<string, number>()
  readonly #startedMs: number
  #sweeper: Timer | undefined
  #closed = false

  constructor(options: HubOptions) {
    this.#options = options
    this.#startedMs = options.clock.monotonic()
    this.#context = {
      ...options,
      onHello: (session, hello) => {
        options.presence.connected(session.gateway)
        options.onConnected(session, hello)
      },
    }
    options.fleet.listen({
      deviceChanged: (record, previousGateway) => {
        if (previousGateway !== undefined) this.#tell(previousGateway, record)
        for (const gateway of holdersOf(record)) this.#tell(gateway, record)
      },
      deviceRemoved: (record) => {
        for (const gateway of holdersOf(record)) this.#tell(gateway, record)
      },
      heldNoMore: (record, gateways) => {
        for (const gateway of gateways) this.#tell(gateway, record)
      },
      modelChanged: (key) => this.#tellModel(key),
    })
    this.#armSweep()
  }

  get connected(): number {
    return this.#sessions.size
  }

  session(gateway: string): Session | undefined {
    return this.#sessions.get(gateway)
  }

  sessions(): IterableIterator<Session> {
    return this.#sessions.values()
  }

  /** Takes over an authenticated connection. An older one of the same gateway has to go. */
  accept(gateway: string, socket: LinkSocket, certificateExpiresMs: number): Session {
    this.disconnect(gateway, new SluiceError('SLUICE_LINK_REPLACED', 'a newer connection of this gateway took over'))
    const session = new Session(this.#context, gateway, socket, certificateExpiresMs)
    // Until its hello the clock is what it was.
    session.clockOffsetMs = this.#offsets.get(gateway) ?? 0
    this.#sessions.set(gateway, session)
    return session
  }

  /** The connection of a session is gone. */
  ended(session: Session): void {
    session.ended()
    if (this.#sessions.get(session.gateway) !== session) return
    this.#sessions.delete(session.gateway)
    this.#lastPings.set(session.gateway, session.lastPingMs)
    this.#offsets.set(session.gateway, session.clockOffsetMs)
    if (session.epoch === undefined) return
    this.#options.presence.disconnected(session.gateway, session.lastHeardWallMs)
    this.#options.onDisconnected(session)
  }

  disconnect(gateway: string, error: SluiceError): void {
    const session = this.#sessions.get(gateway)
    if (session === undefined) return
    session.fail(error, error.code !== 'SLUICE_LINK_REPLACED')
    this.ended(session)
  }

  /** Milliseconds for which a gateway may still take the hub's word that its roaming devices are its own. */
  leaseLeftMs(gateway: string): number {
    const { clock, heartbeatMs } = this.#options
    const lastPingMs = this.#sessions.get(gateway)?.lastPingMs ?? this.#lastPings.get(gateway) ?? this.#startedMs
    return Math.max(0, lastPingMs + LEASE_HEARTBEATS * heartbeatMs - clock.monotonic())
  }

  /** The hub's clock minus a gateway's, milliseconds, as of its last hello; 0 for one that never came. */
  offsetMs(gateway: string): number {
    return this.#sessions.get(gateway)?.clockOffsetMs ?? this.#offsets.get(gateway) ?? 0
  }

  /** Objects of a gateway that are not the fleet's came, went or changed. */
  objectsChanged(gateway: string, objects: readonly (readonly [LinkObjectKind, ObjectKey])[]): void {
    this.#sessions.get(gateway)?.objectsChanged(objects)
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#sweeper?.cancel()
    const error = new SluiceError('SLUICE_LINK_CLOSING', 'the hub is stopping')
    for (const session of [...this.#sessions.values()]) session.fail(error, false)
    this.#sessions.clear()
  }

  #tell(gateway: string, record: DeviceRecord): void {
    const objects: readonly (readonly [LinkObjectKind, ObjectKey])[] = [
      ['DeviceModel', record.modelKey],
      ['Device', record.key],
    ]
    this.#sessions.get(gateway)?.objectsChanged(objects)
  }

  #tellModel(key: ObjectKey): void {
    const gateways = new Set<string>()
    for (const record of this.#options.fleet.ofModel(key)) {
      for (const gateway of holdersOf(record)) gateways.add(gateway)
    }
    for (const gateway of gateways) this.#sessions.get(gateway)?.objectsChanged([['DeviceModel', key]])
  }

  #armSweep(): void {
    const { clock } = this.#options
    const dueMs = clock.monotonic() + SWEEP_MS
    this.#sweeper = clock.after(
      SWEEP_MS,
      () => {
        const lateMs = Math.max(0, clock.monotonic() - dueMs)
        for (const session of [...this.#sessions.values()]) {
          session.sweep(lateMs)
          if (session.closed) this.ended(session)
        }
        if (!this.#closed) this.#armSweep()
      },
      true,
    )
  }
}
