import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import type { Clock, Timer } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { admits, type BackendEvents, type GatewayBackend, type SendResult, type Transmission } from './gateway.ts'
import { buildAck, buildPullResp, parseDatagram, readPush } from './gwmp.ts'

/** A gateway that did not ask for downlinks this long cannot be reached: forwarders ask every 5 to 10 s. */
const PULL_LIFE_MS = 60_000
/** The forwarder answers as soon as it has queued a frame; old ones never answer. */
const TX_ACK_WAIT_MS = 1500
const MAX_GATEWAYS = 256

export interface UdpBackendOptions {
  readonly host: string
  /** 0 for any free one. */
  readonly port: number
  /** EUIs that may take part; absent for all. */
  readonly gateways?: ReadonlySet<string>
}

interface PullPath {
  readonly address: string
  readonly port: number
  readonly atMonoMs: number
}

interface Waiting {
  readonly gateway: string
  readonly end: (result: SendResult) => void
  readonly timer: Timer
}

/** Gateways that run a Semtech packet forwarder. The protocol has no authentication: listen where you trust. */
export class UdpBackend implements GatewayBackend {
  readonly listening: Promise<{ readonly host: string; readonly port: number }>
  readonly #options: UdpBackendOptions
  readonly #clock: Clock
  readonly #events: BackendEvents
  readonly #socket: Socket
  /** Answers go where the last PULL_DATA came from, which is another port than that of the uplinks. */
  readonly #paths = new Map<string, PullPath>()
  readonly #waiting = new Map<number, Waiting>()
  #token = 0
  #closed = false

  constructor(options: UdpBackendOptions, clock: Clock, events: BackendEvents) {
    this.#options = options
    this.#clock = clock
    this.#events = events
    this.#socket = createSocket({ type: options.host.includes(':') ? 'udp6' : 'udp4' })
    this.listening = new Promise((resolve, reject) => {
      this.#socket.once('error', (cause) =>
        reject(
          new SluiceError(
            'SLUICE_LORA_LISTEN',
            `cannot listen for packet forwarders on ${options.host}:${options.port} (${cause.message})`,
            {
              hint: 'Another network server or mapper may hold the port; choose another with listen.udp.',
              cause,
            },
          ),
        ),
      )
      this.#socket.bind(options.port, options.host, () => {
        const { address, port } = this.#socket.address()
        resolve({ host: address, port })
      })
    })
    this.listening.catch(() => {})
    this.#socket.on('error', (error) => this.#events.problem('udp', error.message, 'socket'))
    this.#socket.on('message', (bytes, from) => this.receive(bytes, from))
  }

  reaches(gateway: string): boolean {
    const path = this.#paths.get(gateway)
    return path !== undefined && this.#clock.monotonic() - path.atMonoMs < PULL_LIFE_MS
  }

  /** One datagram from the network; public so that a benchmark can do without the kernel. */
  receive(bytes: Buffer, from: Pick<RemoteInfo, 'address' | 'port'>): void {
    const datagram = parseDatagram(bytes)
    if (datagram.kind === 'malformed') {
      this.#events.problem('bad-datagram', datagram.reason, from.address)
      return
    }
    if (!admits(this.#options.gateways, datagram.gateway)) {
      this.#events.problem('foreign-gateway', `gateway ${datagram.gateway} is not on the list`, from.address)
      return
    }
    switch (datagram.kind) {
      case 'push': {
        this.#reply(buildAck('push', datagram.token), from)
        const content = readPush(datagram.body, datagram.gateway, this.#clock.monotonic())
        if (content === undefined) {
          this.#events.problem('bad-json', `gateway ${datagram.gateway} sent no JSON object`, from.address)
          return
        }
        this.#events.alive(datagram.gateway, content.stat)
        for (const [kind, count] of Object.entries(content.dropped)) {
          this.#events.problem(kind, `${count} frames of gateway ${datagram.gateway}`, from.address)
        }
        if (content.heard.length > 0) this.#events.heard(content.heard)
        return
      }
      case 'pull':
        if (this.#paths.size >= MAX_GATEWAYS && !this.#paths.has(datagram.gateway)) this.#forgetOldest()
        this.#paths.set(datagram.gateway, { address: from.address, port: from.port, atMonoMs: this.#clock.monotonic() })
        this.#reply(buildAck('pull', datagram.token), from)
        this.#events.alive(datagram.gateway)
        return
      default:
        this.#acknowledged(datagram.token, datagram.gateway, datagram.error)
    }
  }

  send(transmission: Transmission): Promise<SendResult> {
    const path = this.#paths.get(transmission.gateway)
    if (path === undefined || this.#closed) {
      return Promise.resolve({ sent: false, reason: 'the gateway does not ask for downlinks' })
    }
    const token = this.#freeToken()
    if (token === undefined) return Promise.resolve({ sent: false, reason: 'too many downlinks are under way' })
    return new Promise((resolve) => {
      const end = (result: SendResult) => {
        this.#waiting.get(token)?.timer.cancel()
        this.#waiting.delete(token)
        resolve(result)
      }
      const timer = this.#clock.after(TX_ACK_WAIT_MS, () => {
        this.#events.problem('no-tx-ack', `gateway ${transmission.gateway} did not say whether it sent`, path.address)
        end({ sent: true })
      })
      this.#waiting.set(token, { gateway: transmission.gateway, end, timer })
      this.#socket.send(buildPullResp(token, transmission), path.port, path.address, (error) => {
        if (error !== null) end({ sent: false, reason: error.message })
      })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const { end } of [...this.#waiting.values()]) end({ sent: false, reason: 'the server is stopping' })
    await this.listening.catch(() => {})
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()))
  }

  #acknowledged(token: number, gateway: string, error: string | undefined): void {
    const waiting = this.#waiting.get(token)
    if (waiting === undefined || waiting.gateway !== gateway) return
    waiting.end(error === undefined ? { sent: true } : { sent: false, reason: error })
  }

  #reply(bytes: Buffer, to: Pick<RemoteInfo, 'address' | 'port'>): void {
    if (this.#closed || to.port === 0) return
    // An acknowledgement that cannot be sent is one that got lost: the forwarder copes with that.
    this.#socket.send(bytes, to.port, to.address, () => {})
  }

  #freeToken(): number | undefined {
    for (let tries = 0; tries < 64; tries++) {
      this.#token = (this.#token + 1) & 0xffff
      if (!this.#waiting.has(this.#token)) return this.#token
    }
    return undefined
  }

  #forgetOldest(): void {
    let oldest: string | undefined
    let atMs = Number.POSITIVE_INFINITY
    for (const [gateway, path] of this.#paths) {
      if (path.atMonoMs < atMs) {
        oldest = gateway
        atMs = path.atMonoMs
      }
    }
    if (oldest !== undefined) this.#paths.delete(oldest)
  }
}
