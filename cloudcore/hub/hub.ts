import type { Timer } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { LinkObjectKind } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { DeviceRecord } from '../twins/device-record.ts'
import type { PresenceBoard } from '../twins/presence.ts'
import type { LinkSocket } from './link-socket.ts'
import { Session, type SessionContext } from './session.ts'

export interface HubOptions extends Omit<SessionContext, 'onHello'> {
  readonly presence: PresenceBoard
  readonly onConnected: (session: Session, agentVersion: string) => void
  readonly onDisconnected: (session: Session) => void
}

const SWEEP_MS = 5_000

/** Every link there is: at most one a gateway, the newest. Tells each what changed of the objects it holds. */
export class Hub implements Disposable {
  readonly #options: HubOptions
  readonly #context: SessionContext
  readonly #sessions = new Map<string, Session>()
  #sweeper: Timer | undefined
  #closed = false

  constructor(options: HubOptions) {
    this.#options = options
    this.#context = {
      ...options,
      onHello: (session, hello) => {
        options.presence.connected(session.gateway)
        options.onConnected(session, hello.agentVersion)
      },
    }
    options.fleet.listen({
      deviceChanged: (record, previousGateway) => {
        if (previousGateway !== undefined) this.#tell(previousGateway, record)
        if (record.gateway !== undefined) this.#tell(record.gateway, record)
      },
      deviceRemoved: (record) => {
        if (record.gateway !== undefined) this.#tell(record.gateway, record)
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
    this.#sessions.set(gateway, session)
    return session
  }

  /** The connection of a session is gone. */
  ended(session: Session): void {
    session.ended()
    if (this.#sessions.get(session.gateway) !== session) return
    this.#sessions.delete(session.gateway)
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
      if (record.gateway !== undefined) gateways.add(record.gateway)
    }
    for (const gateway of gateways) this.#sessions.get(gateway)?.objectsChanged([['DeviceModel', key]])
  }

  #armSweep(): void {
    this.#sweeper = this.#options.clock.after(
      SWEEP_MS,
      () => {
        for (const session of [...this.#sessions.values()]) {
          session.sweep()
          if (session.closed) this.ended(session)
        }
        if (!this.#closed) this.#armSweep()
      },
      true,
    )
  }
}
