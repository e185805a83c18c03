import { createServer, type Server } from 'node:http'
import { WebSocket, WebSocketServer } from 'ws'
import type { Clock, Timer } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { gpsMicros } from '../mac-commands.ts'
import type { Region } from '../regions/region.ts'
import { admits, type BackendEvents, type GatewayBackend, type SendResult, type Transmission } from './gateway.ts'
import {
  dashedEui,
  downMessage,
  type JsonObject,
  parseMessage,
  readUplink,
  routerConfig,
  stationEui,
  writeMessage,
} from './station-messages.ts'

/** Station reports `dntxed` when the frame is on the air: up to the longest window away. */
const TX_SLACK_MS = 3000
const MAX_MESSAGE_BYTES = 65_536
const MAX_STATIONS = 256
const PING_MS = 30_000

export interface StationBackendOptions {
  readonly host: string
  /** 0 for any free one. */
  readonly port: number
  readonly gateways?: ReadonlySet<string>
  readonly region: Region
  readonly subBand: number
}

interface Station {
  readonly eui: string
  readonly socket: WebSocket
  /** False until it has introduced itself and was told the region. */
  ready: boolean
  heardMonoMs: number
}

interface Waiting {
  readonly end: (result: SendResult) => void
  readonly timer: Timer
}

/** Gateways that run Basic Station: discovery at `/router-info`, traffic at `/router-<eui>`. */
export class StationBackend implements GatewayBackend {
  readonly listening: Promise<{ readonly host: string; readonly port: number }>
  readonly #options: StationBackendOptions
  readonly #clock: Clock
  readonly #events: BackendEvents
  readonly #http: Server
  readonly #sockets: WebSocketServer
  readonly #stations = new Map<string, Station>()
  readonly #waiting = new Map<number, Waiting>()
  #diid = 0
  #ping: Timer | undefined
  #closed = false

  constructor(options: StationBackendOptions, clock: Clock, events: BackendEvents) {
    this.#options = options
    this.#clock = clock
    this.#events = events
    this.#http = createServer((_, response) => response.writeHead(426).end())
    this.#sockets = new WebSocketServer({ server: this.#http, maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false })
    this.#sockets.on('connection', (socket, request) =>
      this.#connected(socket, request.url ?? '/', request.headers.host ?? ''),
    )
    this.#sockets.on('error', () => {})
    this.listening = new Promise((resolve, reject) => {
      this.#http.once('error', (cause) =>
        reject(
          new SluiceError(
            'SLUICE_LORA_LISTEN',
            `cannot listen for Basic Station on ${options.host}:${options.port} (${cause.message})`,
            {
              hint: 'Another program may hold the port; choose another with listen.station.',
              cause,
            },
          ),
        ),
      )
      this.#http.listen(options.port, options.host, () => {
        const address = this.#http.address()
        resolve({
          host: options.host,
          port: typeof address === 'object' && address !== null ? address.port : options.port,
        })
      })
    })
    this.listening.then(() => this.#armPing()).catch(() => {})
  }

  reaches(gateway: string): boolean {
    return this.#stations.get(gateway)?.ready === true
  }

  send(transmission: Transmission): Promise<SendResult> {
    const station = this.#stations.get(transmission.gateway)
    if (station?.ready !== true || station.socket.readyState !== WebSocket.OPEN) {
      return Promise.resolve({ sent: false, reason: 'the station is not connected' })
    }
    const diid = (this.#diid = (this.#diid + 1) % 2 ** 31)
    const delayS = transmission.when.window === 'now' ? 0 : transmission.when.rx1DelayS + 1
    return new Promise((resolve) => {
      const end = (result: SendResult) => {
        timer.cancel()
        this.#waiting.delete(diid)
        resolve(result)
      }
      // Station says nothing when it drops a frame; whether it was sent is known only by `dntxed`.
      const timer = this.#clock.after(delayS * 1000 + TX_SLACK_MS, () =>
        end({ sent: false, reason: 'the station did not send it' }),
      )
      this.#waiting.set(diid, { end, timer })
      station.socket.send(downMessage(transmission, diid))
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#ping?.cancel()
    for (const { end } of [...this.#waiting.values()]) end({ sent: false, reason: 'the server is stopping' })
    for (const socket of this.#sockets.clients) socket.terminate()
    await this.listening.catch(() => {})
    this.#sockets.close()
    await new Promise<void>((resolve) => this.#http.close(() => resolve()))
  }

  #connected(socket: WebSocket, url: string, hostHeader: string): void {
    socket.on('error', () => socket.terminate())
    const path = url.split('?')[0]!
    if (path === '/router-info') {
      socket.on('message', (data) => this.#discover(socket, String(data), hostHeader))
      return
    }
    const eui = stationEui(path.slice(1))
    if (eui === undefined || !admits(this.#options.gateways, eui)) {
      this.#events.problem('foreign-gateway', `a station at ${path.slice(0, 64)} is not admitted`, 'station')
      socket.close(1008)
      return
    }
    if (this.#stations.size >= MAX_STATIONS && !this.#stations.has(eui)) {
      socket.close(1013)
      return
    }
    // A station that connects again has lost its old connection, whether that is noticed here or not.
    this.#stations.get(eui)?.socket.terminate()
    const station: Station = { eui, socket, ready: false, heardMonoMs: this.#clock.monotonic() }
    this.#stations.set(eui, station)
    socket.on('message', (data, binary) => {
      if (!binary) this.#message(station, String(data))
    })
    socket.on('pong', () => this.#alive(station))
    socket.on('close', () => {
      if (this.#stations.get(eui) !== station) return
      this.#stations.delete(eui)
      this.#events.gone(eui, 'the station closed its connection')
    })
  }

  #discover(socket: WebSocket, text: string, hostHeader: string): void {
    const router = parseMessage(text)?.['router']
    const eui = typeof router === 'number' ? router.toString(16).padStart(16, '0').toUpperCase() : stationEui(router)
    const host = /^[\w.:[\]-]{1,255}$/.test(hostHeader) ? hostHeader : `${this.#options.host}:${this.#options.port}`
    const answer: JsonObject =
      eui === undefined || !admits(this.#options.gateways, eui)
        ? { router: String(router ?? ''), error: 'this station is not admitted' }
        : {
            router: dashedEui(eui).toLowerCase(),
            muxs: '::0',
            uri: `ws://${host}/router-${dashedEui(eui).toLowerCase()}`,
          }
    socket.send(JSON.stringify(answer), () => socket.close())
  }

  #message(station: Station, text: string): void {
    const message = parseMessage(text)
    if (message === undefined) {
      this.#events.problem('bad-json', `station ${station.eui} sent no JSON object`, station.eui)
      return
    }
    this.#alive(station)
    switch (message['msgtype']) {
      case 'version':
        station.ready = true
        station.socket.send(JSON.stringify(routerConfig(this.#options.region, this.#options.subBand)))
        this.#events.alive(station.eui, factsOf(message))
        return
      case 'jreq':
      case 'updf':
      case 'propdf': {
        const heard = readUplink(message, station.eui, this.#options.region, this.#clock.monotonic())
        if (heard === undefined)
          this.#events.problem('bad-uplink', `station ${station.eui} sent an uplink with wrong fields`, station.eui)
        else this.#events.heard([heard])
        return
      }
      case 'dntxed':
        this.#waiting.get(Number(message['diid']))?.end({ sent: true })
        return
      case 'timesync':
        this.#timesync(station, message)
        return
      default:
        // Remote shells, events and the like: nothing that a network server needs.
        return
    }
  }

  #timesync(station: Station, message: JsonObject): void {
    const { txtime } = message
    if (typeof txtime !== 'string' || !/^\d{1,20}$/.test(txtime)) return
    const nowMs = this.#clock.now()
    station.socket.send(
      writeMessage({ msgtype: 'timesync', MuxTime: nowMs / 1000 }, { txtime, gpstime: String(gpsMicros(nowMs)) }),
    )
  }

  #alive(station: Station): void {
    station.heardMonoMs = this.#clock.monotonic()
    if (station.ready) this.#events.alive(station.eui)
  }

  /** A half-open connection looks alive for hours; three pings without an answer end it. */
  #armPing(): void {
    if (this.#closed) return
    this.#ping = this.#clock.after(
      PING_MS,
      () => {
        const nowMs = this.#clock.monotonic()
        for (const station of this.#stations.values()) {
          if (nowMs - station.heardMonoMs > 3 * PING_MS) station.socket.terminate()
          else if (station.socket.readyState === WebSocket.OPEN) station.socket.ping()
        }
        this.#armPing()
      },
      true,
    )
  }
}

const factsOf = (message: JsonObject): Record<string, string> =>
  Object.fromEntries(
    ['station', 'firmware', 'package', 'model'].flatMap((key) => {
      const value = message[key]
      return typeof value === 'string' ? [[key, value.slice(0, 64)]] : []
    }),
  )
