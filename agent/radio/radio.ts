import { join } from 'node:path'
import type { Clock } from '../../api/clock.ts'
import type { NetworkStatus } from '../../api/schema/power.ts'
import { InterfaceFiles, interfaceNames } from './interface-files.ts'
import { parseNetDev, parseWireless, type WirelessLine } from './proc-net.ts'
import { ProcTable } from './proc-table.ts'
import { receptionQuality, wayQuality, wireQuality } from './quality.ts'
import { InterfaceRates } from './rates.ts'
import type { StationLook } from './station.ts'
import { type Trend, TrendOf } from './trend.ts'
import { wayTo } from './way.ts'

/** What the link to the hub knows of itself; see `agent/link/status.ts`. */
export interface HubWay {
  readonly connected: boolean
  /** Address of the hub's end of the connection, or undefined while there is none. */
  readonly peerAddress: string | undefined
  readonly roundTripMs: number | undefined
  readonly jitterMs: number
  readonly lossRatio: number | undefined
}

export interface RadioOptions {
  readonly clock: Clock
  /** Default `/proc` and `/sys`. */
  readonly procRoot?: string
  readonly sysRoot?: string
  /** The link to the hub; undefined for a gateway that never joined. */
  readonly hub: () => HubWay | undefined
  /** Asks a wireless interface for what only nl80211 says; a child process, never awaited by a sample. */
  readonly look?: (interfaceName: string) => Promise<StationLook | undefined>
}

interface Watched {
  readonly files: InterfaceFiles
  readonly rates: InterfaceRates
  readonly trend: TrendOf
  up: boolean
  wireless: WirelessLine | undefined
  smoothSignalDbm: number | undefined
  quality: number | undefined
  changes: number | undefined
  speedBps: number | undefined
  look: StationLook | undefined
  lookedMs: number
  roams: number
}

/** The link to the hub with what it runs over. */
export interface WayStatus {
  readonly interfaceName: string | undefined
  readonly kind: NetworkStatus['kind'] | undefined
  /** 0 unusable to 1 perfect; 0 while the link is down; undefined for a gateway without a hub. */
  readonly quality: number | undefined
  readonly trend: Trend
}

const MAX_INTERFACES = 32
/** Interfaces come and go, and routes change, seldom: these are looked at once in so many samples. */
const SLOW_EVERY = 10
const LOOK_AT_MOST_EVERY_MS = 60_000
/** A step of the signal after which a station may have roamed. */
const ROAM_STEP_DB = 10
const SIGNAL_MEMORY_MS = 5_000

/**
 * Every interface that leads out of the gateway, sampled from `/proc/net` and `/sys/class/net`. One sample reads two
 * files and two more an interface, no child process. What only nl80211 knows (access point, bit rate, retries of the
 * station) is asked for when the carrier or the signal made a jump, and when a person wants to know.
 */
export class Radio implements Disposable {
  readonly #options: RadioOptions
  readonly #sysRoot: string
  readonly #dev: ProcTable
  readonly #wireless: ProcTable
  readonly #routes4: ProcTable
  readonly #routes6: ProcTable
  readonly #watched = new Map<string, Watched>()
  readonly #wayTrend = new TrendOf()
  #samples = 0
  #lastMs: number | undefined
  #way: string | undefined
  #wayPeer: string | undefined
  #wayQuality: number | undefined

  constructor(options: RadioOptions) {
    this.#options = options
    const { procRoot = '/proc', sysRoot = '/sys' } = options
    this.#sysRoot = sysRoot
    this.#dev = new ProcTable(join(procRoot, 'net/dev'))
    this.#wireless = new ProcTable(join(procRoot, 'net/wireless'))
    this.#routes4 = new ProcTable(join(procRoot, 'net/route'))
    this.#routes6 = new ProcTable(join(procRoot, 'net/ipv6_route'))
  }

  /** Takes one sample; never throws. */
  sample(): void {
    const nowMs = this.#options.clock.monotonic()
    const hub = this.#options.hub()
    const slow = this.#samples++ % SLOW_EVERY === 0
    if (slow) this.#findInterfaces()
    if (slow || hub?.peerAddress !== this.#wayPeer) this.#findWay(hub)
    const counters = parseNetDev(this.#dev.read())
    const wireless = parseWireless(this.#wireless.read())
    for (const [name, watched] of this.#watched) {
      watched.rates.take(counters.get(name), wireless.get(name), nowMs)
      this.#sampleOne(watched, wireless.get(name), slow, nowMs)
    }
    this.#lastMs = nowMs
    if (hub === undefined) return
    const own = this.#way === undefined ? undefined : this.#watched.get(this.#way)?.quality
    this.#wayQuality = hub.connected ? wayQuality(own, hub.roundTripMs, hub.lossRatio) : 0
    this.#wayTrend.take(this.#wayQuality, nowMs)
  }

  /** Interfaces with hardware behind them, and whichever leads to the hub; at most 32, the way to the hub first. */
  networks(): NetworkStatus[] {
    const shown = [...this.#watched.values()].filter(({ files }) => files.physical || files.name === this.#way)
    shown.sort((a, b) => Number(b.files.name === this.#way) - Number(a.files.name === this.#way))
    return shown.slice(0, MAX_INTERFACES).map((watched) => this.#statusOf(watched))
  }

  get way(): WayStatus {
    return {
      interfaceName: this.#way,
      kind: this.#way === undefined ? undefined : this.#watched.get(this.#way)?.files.kind,
      quality: this.#wayQuality,
      trend: this.#wayTrend.trend,
    }
  }

  /** What nl80211 said last, by interface. */
  looks(): ReadonlyMap<string, StationLook> {
    return new Map(
      [...this.#watched].flatMap(([name, { look }]) => (look === undefined ? [] : [[name, look] as const])),
    )
  }

  /** Asks nl80211 about every wireless interface; for a person who waits. */
  async lookNow(): Promise<void> {
    const wifi = [...this.#watched.values()].filter(({ files }) => files.kind === 'wifi')
    await Promise.all(wifi.map((watched) => this.#look(watched, this.#options.clock.monotonic())))
  }

  [Symbol.dispose](): void {
    for (const file of [this.#dev, this.#wireless, this.#routes4, this.#routes6]) file[Symbol.dispose]()
    for (const { files } of this.#watched.values()) files[Symbol.dispose]()
    this.#watched.clear()
  }

  #findInterfaces(): void {
    const names = new Set(interfaceNames(this.#sysRoot))
    for (const [name, { files }] of this.#watched) {
      if (names.has(name)) continue
      files[Symbol.dispose]()
      this.#watched.delete(name)
    }
    for (const name of names) {
      if (this.#watched.has(name) || this.#watched.size >= MAX_INTERFACES * 8) continue
      this.#watched.set(name, {
        files: new InterfaceFiles(this.#sysRoot, name),
        rates: new InterfaceRates(),
        trend: new TrendOf(),
        up: false,
        wireless: undefined,
        smoothSignalDbm: undefined,
        quality: undefined,
        changes: undefined,
        speedBps: undefined,
        look: undefined,
        lookedMs: Number.NEGATIVE_INFINITY,
        roams: 0,
      })
    }
  }

  #findWay(hub: HubWay | undefined): void {
    this.#wayPeer = hub?.peerAddress
    // Without a connection the default route is the best guess; a hub on this very machine is reached by none.
    const name = wayTo(hub?.peerAddress, this.#routes4.read(), this.#routes6.read())
    this.#way = hub === undefined || name === 'lo' ? undefined : name
  }

  #sampleOne(watched: Watched, line: WirelessLine | undefined, slow: boolean, nowMs: number): void {
    const { files, rates } = watched
    watched.up = files.up(nowMs)
    if (slow && files.kind !== 'wifi') watched.speedBps = watched.up ? files.speedBps() : undefined
    const signal = watched.up ? line?.signalDbm : undefined
    const jumped = this.#smoothSignal(watched, signal, nowMs)
    watched.wireless = watched.up ? line : undefined
    if (files.kind === 'wifi') {
      const snr = snrOf(watched.smoothSignalDbm, line?.noiseDbm)
      watched.quality = watched.up ? receptionQuality(watched.smoothSignalDbm, snr, rates.retries.value) : 0
      const changes = files.carrierChanges(nowMs)
      const moved = watched.changes !== undefined && changes !== watched.changes
      watched.changes = changes
      const first = watched.up && watched.lookedMs === Number.NEGATIVE_INFINITY
      if ((moved || jumped || first) && nowMs - watched.lookedMs >= LOOK_AT_MOST_EVERY_MS)
        void this.#look(watched, nowMs)
    } else if (files.kind === 'ethernet') watched.quality = watched.up ? wireQuality(rates.errors.value ?? 0) : 0
    // The time before a link first came up is no past it could get better than.
    const begun = watched.up || watched.trend.smooth !== undefined
    if (watched.quality !== undefined && begun) watched.trend.take(watched.quality, nowMs)
  }

  /** Keeps a mean over a few seconds; says whether the newest value is far from it. */
  #smoothSignal(watched: Watched, signal: number | undefined, nowMs: number): boolean {
    const before = watched.smoothSignalDbm
    if (signal === undefined || before === undefined) {
      watched.smoothSignalDbm = signal
      return false
    }
    const passedMs = nowMs - (this.#lastMs ?? nowMs)
    watched.smoothSignalDbm = before + (signal - before) * (1 - Math.exp(-passedMs / SIGNAL_MEMORY_MS))
    return Math.abs(signal - before) >= ROAM_STEP_DB
  }

  async #look(watched: Watched, nowMs: number): Promise<void> {
    const { look } = this.#options
    if (look === undefined) return
    watched.lookedMs = nowMs
    const seen = await look(watched.files.name)
    const before = watched.look?.accessPoint
    if (seen === undefined) return
    if (before !== undefined && seen.accessPoint !== undefined && seen.accessPoint !== before) watched.roams++
    // A station between two access points is at none; what it was at before is still what it roams from.
    watched.look = seen.accessPoint === undefined && before !== undefined ? { ...seen, accessPoint: before } : seen
  }

  #statusOf({
    files,
    rates,
    trend,
    up,
    wireless,
    smoothSignalDbm,
    quality,
    speedBps,
    look,
    roams,
  }: Watched): NetworkStatus {
    const wifi = files.kind === 'wifi'
    const snr = snrOf(smoothSignalDbm, look?.noiseDbm ?? wireless?.noiseDbm)
    const bitrate = wifi ? (up ? look?.bitrateBps : undefined) : speedBps
    const retries = look?.retryRatio ?? rates.retries.value
    const noise = wireless?.noiseDbm ?? look?.noiseDbm
    return {
      name: files.name,
      kind: files.kind,
      up,
      ...(files.name === this.#way ? { toHub: true } : {}),
      ...(up && smoothSignalDbm !== undefined ? { signalDbm: round(smoothSignalDbm, 1) } : {}),
      ...(up && noise !== undefined ? { noiseDbm: noise } : {}),
      ...(up && snr !== undefined ? { snrDb: round(snr, 1) } : {}),
      ...(quality === undefined ? {} : { quality: round(quality, 2), trend: trend.trend }),
      ...(bitrate === undefined ? {} : { bitrateBps: bitrate }),
      ...(wifi && retries !== undefined ? { retryRatio: round(retries, 3) } : {}),
      ...(wifi ? { beaconLoss: look?.beaconLoss ?? rates.beaconLoss } : {}),
      ...(rates.errors.value === undefined ? {} : { errorRatio: round(rates.errors.value, 5) }),
      ...(wifi && up && look?.accessPoint !== undefined ? { accessPoint: look.accessPoint } : {}),
      ...(wifi ? { roams } : {}),
    }
  }
}

const snrOf = (signalDbm: number | undefined, noiseDbm: number | undefined): number | undefined =>
  signalDbm === undefined || noiseDbm === undefined ? undefined : signalDbm - noiseDbm

const round = (value: number, digits: number): number => Number(value.toFixed(digits))
