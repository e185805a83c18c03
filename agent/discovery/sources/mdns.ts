import { networkInterfaces } from 'node:os'
import type { Bonjour as BonjourClass, Browser, Service, ServiceConfig } from 'bonjour-service'
import type { Timer } from '../../../api/clock.ts'
import { toSluiceError } from '../../../api/errors.ts'
import { type Announced, SERVICE_TYPES, sightingOf } from './mdns-services.ts'
import { GuardedSocket, type OpenDatagrams, openUdp } from './mdns-socket.ts'
import type { SourceHost } from './source.ts'

/** The agent's start is not disturbed by it. */
const FIRST_MS = 5000
/** How long answers are listened to, and how often. Between, no socket is open: the network may say what it likes. */
const LISTEN_MS = 6000
const EVERY_MS = 300_000
/** Questions are repeated for those that missed the first (RFC 6762, section 5.2). */
const ASK_AGAIN_MS = [1000, 3000] as const
/** Services of one round; what is more is left for somebody else's network. */
const MAX_SERVICES = 256
const MAX_INTERFACES = 8

export interface NetworkOptions {
  /** IPv4 addresses of the interfaces to ask on. Default: all but loopback. */
  readonly interfaces?: () => readonly string[]
  readonly open?: OpenDatagrams
  /** Before the first round, milliseconds. Default 5000. */
  readonly firstMs?: number
}

/** Asks the network now and then who offers what we speak. */
export function browseNetwork(host: SourceHost, options: NetworkOptions = {}): AsyncDisposable {
  const closing = new AbortController()
  let timer: Timer | undefined
  let running: Promise<void> = Promise.resolve()
  const arm = (delayMs: number) => {
    timer = host.clock.after(
      delayMs,
      () => {
        running = listenToNetwork(host, options, LISTEN_MS, closing.signal).then(
          () => {
            if (!closing.signal.aborted) arm(EVERY_MS)
          },
          (error: unknown) => {
            host.log('warn', `The network cannot be asked for devices: ${toSluiceError(error).message}`)
            if (!closing.signal.aborted) arm(EVERY_MS)
          },
        )
      },
      true,
    )
  }
  arm(options.firstMs ?? FIRST_MS)
  return {
    async [Symbol.asyncDispose]() {
      closing.abort()
      timer?.cancel()
      await running
    },
  }
}

/** One round on every interface; resolves when it is over, or the signal aborts. */
export async function listenToNetwork(
  host: SourceHost,
  options: NetworkOptions,
  listenMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { Bonjour } = await import('bonjour-service')
  if (signal.aborted) return
  const interfaces = (options.interfaces ?? ownAddresses)().slice(0, MAX_INTERFACES)
  const rounds = interfaces.map((address) => new Round(Bonjour, address, host, options.open ?? openUdp))
  const timers: Timer[] = []
  try {
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
      for (const afterMs of ASK_AGAIN_MS) {
        const ask = () => {
          for (const round of rounds) round.ask()
        }
        timers.push(host.clock.after(afterMs, ask, true))
      }
      timers.push(host.clock.after(listenMs, resolve, true))
    })
  } finally {
    for (const timer of timers) timer.cancel()
    await Promise.all(rounds.map((round) => round[Symbol.asyncDispose]()))
  }
}

class Round implements AsyncDisposable {
  readonly #host: SourceHost
  readonly #address: string
  readonly #socket: GuardedSocket
  readonly #bonjour: BonjourClass
  #browsers: Browser[] = []
  #seen = 0

  constructor(Bonjour: typeof BonjourClass, address: string, host: SourceHost, open: OpenDatagrams) {
    this.#host = host
    this.#address = address
    this.#socket = new GuardedSocket(open(), host.clock, (error) => this.#trouble(error))
    // Bound to one address it would receive nothing that is sent to the group, and without an interface it depends on a
    // default route: both are needed. The socket goes through to multicast-dns.
    const config: Partial<ServiceConfig> & { interface: string; bind: string; socket: GuardedSocket } = {
      ...{ interface: address, bind: '0.0.0.0', socket: this.#socket },
    }
    this.#bonjour = new Bonjour(config, (error: unknown) => this.#trouble(error))
    this.#browsers = SERVICE_TYPES.map((type) => {
      const browser = this.#bonjour.find({ type })
      browser.on('up', (service) => this.#found(service))
      browser.on('txt-update', (service) => this.#found(service))
      return browser
    })
  }

  ask(): void {
    for (const browser of this.#browsers) browser.update()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop()
    const { flooded, malformed } = this.#socket.refusals
    if (flooded > 0) this.#host.log('warn', `${flooded} announcements on ${this.#address} were not looked at: too many`)
    if (malformed > 0) this.#host.log('debug', `${malformed} announcements on ${this.#address} are no proper ones`)
    await new Promise<void>((resolve) => this.#bonjour.destroy(() => resolve()))
  }

  #found(service: Service): void {
    if (++this.#seen > MAX_SERVICES) {
      this.#stop()
      if (this.#seen === MAX_SERVICES + 1) {
        this.#host.log('warn', `More than ${MAX_SERVICES} services are announced on ${this.#address}; the rest is left`)
      }
      return
    }
    const found = sightingOf(announcedOf(service), this.#host.clock.now())
    if (found !== undefined) this.#host.sighted(found.protocol, [found.sighting])
  }

  #stop(): void {
    for (const browser of this.#browsers) browser.stop()
    this.#browsers = []
  }

  #trouble(error: unknown): void {
    this.#host.log('debug', `mDNS on ${this.#address}: ${toSluiceError(error).message}`)
  }
}

/** What the library parsed, of which every field may be missing or of another kind. */
function announcedOf(service: Service): Announced {
  const txt: Record<string, string> = {}
  const given: unknown = service.txt
  if (typeof given === 'object' && given !== null) {
    for (const [key, value] of Object.entries(given)) if (typeof value === 'string') txt[key] = value
  }
  return {
    type: String(service.type),
    name: String(service.name),
    host: String(service.host ?? ''),
    port: Number(service.port),
    addresses: (service.addresses ?? []).filter((one) => typeof one === 'string'),
    from: service.referer?.address,
    txt,
  }
}

const ownAddresses = (): readonly string[] =>
  Object.values(networkInterfaces()).flatMap((addresses = []) =>
    addresses.filter(({ family, internal }) => family === 'IPv4' && !internal).map(({ address }) => address),
  )
