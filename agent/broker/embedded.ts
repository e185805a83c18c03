import { readFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer } from 'node:tls'
import { Aedes, type Client, type PublishPacket } from 'aedes'
import type { Clock } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { LocalBroker } from '../../mappers/sdk/mapper.ts'
import { filterProblem, topicProblem } from '../../mappers/sdk/topic-filter.ts'
import type { Log } from '../log.ts'
import { Access, type Rights, readUsers } from './access.ts'
import { Congestion } from './congestion.ts'
import { certificateUser, remoteAddress, versionProblem } from './connection.ts'
import { Emitter, type MessageListener } from './emitter.ts'
import type { BrokerStats, GatewayBroker } from './gateway-broker.ts'
import { guardPackets } from './packet-guard.ts'
import { QuickDelivery } from './quick-delivery.ts'
import { SessionFile } from './session-file.ts'
import { DEFAULT_SESSION_LIMITS, type Packet, type SessionLimits, Sessions } from './sessions.ts'

export interface BrokerLimits extends SessionLimits {
  readonly maxClients: number
  readonly maxPayloadBytes: number
  readonly maxTopicLevels: number
  readonly maxSubscriptionsPerClient: number
}

export interface EmbeddedBrokerOptions {
  /** Holds `broker.db` and `mqtt-users.json`; without, nothing outlives the process. */
  readonly directory?: string
  /** Plain TCP; 0 picks a free port, absent means none. */
  readonly port?: number
  readonly tls?: {
    readonly port: number
    readonly certFile: string
    readonly keyFile: string
    /** Clients with a certificate of this authority are the user that its common name says. */
    readonly caFile?: string
  }
  /** Address to listen on. Default loopback, and every interface once there are users. */
  readonly host?: string
  /** Whether this machine's own programs need no password. Default true. */
  readonly anonymousLoopback?: boolean
  readonly limits?: Partial<BrokerLimits>
}

export interface BrokerDeps {
  readonly clock: Clock
  readonly log: Log
}

const DEFAULT_LIMITS: BrokerLimits = {
  ...DEFAULT_SESSION_LIMITS,
  maxClients: 1000,
  maxPayloadBytes: 1024 * 1024,
  maxTopicLevels: 32,
  maxSubscriptionsPerClient: 1000,
}

const CONNECT_TIMEOUT_MS = 10_000
const DRAIN_TIMEOUT_MS = 30_000
/** Read from one connection before the next one's turn. */
const READ_BYTES = 32 * 1024
/** Complaints of one kind are logged this often at most. */
const COMPLAIN_MS = 10_000

/** Starts the gateway's own broker; resolves when it listens. @throws SluiceError `SLUICE_BROKER_LISTEN` and the like. */
export async function openEmbeddedBroker(options: EmbeddedBrokerOptions, deps: BrokerDeps): Promise<GatewayBroker> {
  const broker = new EmbeddedBroker(options, deps)
  try {
    await broker.start()
  } catch (error) {
    await broker[Symbol.asyncDispose]()
    throw error
  }
  return broker
}

class EmbeddedBroker implements GatewayBroker {
  readonly local: LocalBroker = {
    publish: (topic, payload, options) => this.#publish(topic, payload, options?.retain ?? false, options?.qos ?? 0),
    subscribe: (filter, listener) => this.#subscribe(filter, listener),
  }
  port: number | undefined
  tlsPort: number | undefined
  readonly #options: EmbeddedBrokerOptions
  readonly #deps: BrokerDeps
  readonly #limits: BrokerLimits
  readonly #aedes: Aedes
  readonly #emitter: Emitter
  readonly #congestion: Congestion
  readonly #file: SessionFile | undefined
  readonly #sessions: Sessions
  readonly #access: Access
  readonly #rights = new WeakMap<Client, Rights>()
  readonly #users = new Map<string, string | undefined>()
  readonly #subscriptionsOf = new WeakMap<Client, Set<string>>()
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()
  readonly #complained = new Map<string, number>()
  readonly #counts: Record<string, number> = { 'too-large': 0, forbidden: 0, refused: 0, 'protocol-version': 0 }
  #isProtected: (topic: string) => boolean = () => false
  #received = 0
  #sent = 0
  #closed = false

  constructor(options: EmbeddedBrokerOptions, deps: BrokerDeps) {
    this.#options = options
    this.#deps = deps
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
    const { directory } = options
    const users = directory === undefined ? new Map() : readUsers(join(directory, 'mqtt-users.json'))
    this.#access = new Access(users, options.anonymousLoopback ?? true)
    this.#file =
      directory === undefined ? undefined : new SessionFile(join(directory, 'broker.db'), deps.log, deps.clock.now())
    this.#sessions = new Sessions(this.#file, this.#limits)
    this.#congestion = new Congestion({ clock: deps.clock })
    this.#emitter = new Emitter(this.#congestion, (error) =>
      this.#complain('listener', `A subscriber inside the agent failed: ${toSluiceError(error).message}`),
    )
    this.#aedes = new Aedes({
      mq: this.#emitter,
      persistence: this.#sessions,
      connectTimeout: CONNECT_TIMEOUT_MS,
      drainTimeout: DRAIN_TIMEOUT_MS,
      maxTopicLevels: this.#limits.maxTopicLevels,
      maxInflightInbound: 100,
      queueLimit: 1000,
      preConnect: (client, packet, done) => {
        const problem = versionProblem(packet.protocolVersion)
        if (problem !== undefined) this.#count('protocol-version', `${remoteAddress(client.conn)} ${problem}`)
        done(null, true)
      },
      authenticate: (client, user, password, done) => {
        this.#admit(client, user, password).then(
          (returnCode) =>
            returnCode === 0 ? done(null, true) : done(Object.assign(new Error('refused'), { returnCode }), false),
          (error: unknown) => done(Object.assign(toSluiceError(error), { returnCode: 3 }), false),
        )
      },
      authorizePublish: (client, packet, done) => done(this.#refusal(client, packet)),
      authorizeSubscribe: (client, subscription, done) =>
        done(null, this.#maySubscribe(client, subscription.topic) ? subscription : null),
      authorizeForward: (client, packet) => (this.#mayForward(client, packet.topic) ? packet : null),
    })
    const delivery = new QuickDelivery((client, topic) => this.#mayForward(client, topic))
    this.#aedes.on('clientError', (client, error) => {
      this.#complain(`client ${error.message}`, `MQTT client ${client.id}: ${error.message}`, 'info')
    })
    this.#aedes.on('connectionError', (_client, error) => {
      this.#complain(`connection ${error.message}`, `An MQTT connection ended: ${error.message}`, 'info')
    })
    // aedes passes what its persistence rejects to its own 'error' event.
    this.#aedes.setMaxListeners(0)
    const failed: (...args: unknown[]) => void = (error) =>
      this.#complain('broker', `The MQTT broker reports: ${toSluiceError(error).message}`)
    Reflect.apply(this.#aedes.on, this.#aedes, ['error', failed])
    this.#aedes.on('unsubscribe', (filters, client) => {
      for (const filter of filters) this.#subscriptionsOf.get(client)?.delete(filter)
    })
    // A client that takes over a name is announced after the one before it has gone.
    this.#aedes.on('client', (client) => {
      this.#users.set(client.id, this.#rights.get(client)?.user)
      delivery.attach(client)
    })
    this.#aedes.on('clientDisconnect', (client) => this.#users.delete(client.id))
  }

  async start(): Promise<void> {
    await this.#aedes.listen()
    const { port, tls, directory } = this.#options
    const host = this.#options.host ?? (this.#access.hasUsers ? '::' : '127.0.0.1')
    if (port !== undefined)
      this.port = await this.#listen(
        createServer({ highWaterMark: READ_BYTES }, (socket) => this.#take(socket)),
        host,
        port,
      )
    if (tls === undefined) return
    try {
      const server = createTlsServer(
        {
          cert: readFileSync(tls.certFile),
          key: readFileSync(tls.keyFile),
          ...(tls.caFile === undefined
            ? {}
            : { ca: readFileSync(tls.caFile), requestCert: true, rejectUnauthorized: false }),
          handshakeTimeout: CONNECT_TIMEOUT_MS,
        },
        (socket) => this.#take(socket),
      )
      this.tlsPort = await this.#listen(server, host, tls.port)
    } catch (cause) {
      if (cause instanceof SluiceError) throw cause
      throw new SluiceError('SLUICE_BROKER_TLS', `MQTT over TLS cannot start: ${toSluiceError(cause).message}`, {
        hint: `Check the certificate ${tls.certFile} and its key${directory === undefined ? '' : `; they belong into ${directory}`}.`,
        cause,
      })
    }
  }

  stats(): BrokerStats {
    return {
      clients: this.#closed ? 0 : this.#aedes.connectedClients,
      subscriptions: this.#emitter.subscriptions,
      retained: this.#sessions.retainedCount,
      received: this.#received,
      sent: this.#sent,
      dropped: {
        'slow-subscriber': this.#congestion.dropped,
        'queue-full': this.#sessions.dropped,
        'retained-full': this.#sessions.refusedRetained,
        ...this.#counts,
      },
    }
  }

  wants(topic: string): boolean {
    return this.#emitter.wants(topic)
  }

  protect(isProtected: (topic: string) => boolean): void {
    this.#isProtected = isProtected
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const closing = this.#servers.map((server) => new Promise((resolve) => server.close(resolve)))
    await new Promise<void>((resolve) => this.#aedes.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(closing)
    this.#file?.[Symbol.dispose]()
  }

  #listen(server: Server, host: string, port: number): Promise<number> {
    this.#servers.push(server)
    server.maxConnections = this.#limits.maxClients + 64
    return new Promise((resolve, reject) => {
      const failed = (cause: Error) => {
        reject(
          new SluiceError(
            'SLUICE_BROKER_LISTEN',
            `The MQTT broker cannot listen on ${host}:${port}: ${cause.message}`,
            {
              hint: 'Another broker may run on this machine: stop it, choose another port, or use it with --mqtt-broker.',
              cause,
            },
          ),
        )
      }
      server.once('error', failed)
      server.listen(port, host, () => {
        server.off('error', failed)
        server.on('error', (error) => this.#complain('server', `MQTT listener: ${error.message}`))
        const address = server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : port)
      })
    })
  }

  #take(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.setNoDelay(true)
    guardPackets(socket, this.#limits.maxPayloadBytes, () =>
      this.#count('too-large', `a packet of more than ${this.#limits.maxPayloadBytes} bytes`),
    )
    this.#aedes.handle(socket)
  }

  /** @returns the return code of CONNACK: 0 accepted, 2 identifier in use by somebody else, 3 full, 5 not authorized. */
  async #admit(client: Client, user: string | undefined, password: Buffer | undefined): Promise<0 | 2 | 3 | 5> {
    const { conn } = client
    if (this.#aedes.connectedClients >= this.#limits.maxClients) {
      this.#count('refused', `more than ${this.#limits.maxClients} clients`)
      return 3
    }
    const address = remoteAddress(conn)
    const rights = await this.#access.rights(address, client.id, user, password, certificateUser(conn))
    if (rights === undefined) {
      this.#count('refused', `${user === undefined ? 'no user name' : 'a wrong name or password'} from ${address}`)
      return 5
    }
    if (this.#users.has(client.id) && this.#users.get(client.id) !== rights.user) return 2
    this.#users.set(client.id, rights.user)
    this.#rights.set(client, rights)
    return 0
  }

  #refusal(client: Client | null, packet: PublishPacket): Error | null {
    this.#received++
    if (client === null) return null
    if (this.#rights.get(client)?.mayPublish(packet.topic) !== true || this.#isProtected(packet.topic)) {
      this.#count('forbidden', `${client.id} may not publish to ${packet.topic.slice(0, 100)}`)
      return new Error(`not allowed to publish to ${packet.topic.slice(0, 100)}`)
    }
    if (packet.qos > 0 && this.#sessions.stores(packet.topic, packet.qos, packet.retain)) this.#holdAnswers(client.conn)
    return null
  }

  /**
   * aedes acknowledges a message before it stores it. Its answers are held back until the transaction that stores it
   * has ended: two turns of the event loop are what aedes takes from here to the store.
   */
  #holdAnswers(connection: Duplex): void {
    const file = this.#file
    if (file === undefined || connection.writableNeedDrain) return
    connection.cork()
    setImmediate(() => setImmediate(() => file.afterCommit(() => connection.uncork())))
  }

  #mayForward(client: Client, topic: string): boolean {
    if (!this.#congestion.admits(client.conn) || this.#rights.get(client)?.mayRead(topic) !== true) return false
    this.#sent++
    return true
  }

  #maySubscribe(client: Client, filter: string): boolean {
    const known = this.#subscriptionsOf.get(client) ?? new Set<string>()
    this.#subscriptionsOf.set(client, known)
    const allowed =
      filterProblem(filter) === undefined &&
      this.#rights.get(client)?.maySubscribe(filter) === true &&
      (known.has(filter) || known.size < this.#limits.maxSubscriptionsPerClient)
    if (allowed) known.add(filter)
    else this.#count('forbidden', `${client.id} may not subscribe to ${filter.slice(0, 100)}`)
    return allowed
  }

  #publish(topic: string, payload: Uint8Array, retain: boolean, qos: 0 | 1): void {
    if (this.#closed) return
    const problem = topicProblem(topic)
    if (problem !== undefined) {
      throw new SluiceError('SLUICE_BROKER_TOPIC', `Cannot publish to '${topic.slice(0, 100)}': ${problem}`, {
        hint: 'Check the topics in the model.',
      })
    }
    const packet: Packet = {
      cmd: 'publish',
      brokerId: this.#aedes.id,
      brokerCounter: 0,
      topic,
      payload: Buffer.isBuffer(payload) ? payload : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      qos,
      retain,
    }
    // What the agent itself says is said anew after a restart: it costs the disk nothing.
    if (retain) this.#sessions.retain(packet, false)
    if (qos > 0) this.#sessions.enqueue(this.#sessions.matching(topic), packet)
    this.#emitter.emit(packet)
  }

  #subscribe(filter: string, listener: (topic: string, payload: Uint8Array, retained: boolean) => void): Disposable {
    const problem = filterProblem(filter)
    if (problem !== undefined) {
      throw new SluiceError('SLUICE_BROKER_TOPIC', `Cannot subscribe to '${filter.slice(0, 100)}': ${problem}`, {
        hint: 'Check the topics in the model.',
      })
    }
    let ended = false
    const onMessage: MessageListener = ({ topic, payload }, done) => {
      if (!ended) listener(topic, typeof payload === 'string' ? Buffer.from(payload) : payload, false)
      done()
    }
    this.#emitter.on(filter, onMessage)
    // Later, so that the caller holds what ends the subscription before the first message comes.
    queueMicrotask(() => {
      for (const { topic, payload } of this.#sessions.retainedMatching([filter])) {
        if (ended) return
        try {
          listener(topic, typeof payload === 'string' ? Buffer.from(payload) : payload, true)
        } catch (error) {
          this.#complain('listener', `A subscriber inside the agent failed: ${toSluiceError(error).message}`)
        }
      }
    })
    return {
      [Symbol.dispose]: () => {
        ended = true
        this.#emitter.removeListener(filter, onMessage)
      },
    }
  }

  #count(reason: string, what: string): void {
    this.#counts[reason] = (this.#counts[reason] ?? 0) + 1
    this.#complain(reason, `The MQTT broker refused: ${what}`)
  }

  #complain(kind: string, message: string, level: 'info' | 'warn' = 'warn'): void {
    const nowMs = this.#deps.clock.monotonic()
    const last = this.#complained.get(kind)
    if (last !== undefined && nowMs - last < COMPLAIN_MS) return
    if (this.#complained.size > 100) this.#complained.clear()
    this.#complained.set(kind, nowMs)
    this.#deps.log(level, message.replaceAll(/[\p{Cc}]/gu, '?'))
  }
}
