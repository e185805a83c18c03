import { delay } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import { Breaker } from '../sdk/breaker.ts'
import type { GatewayHost, Reading } from '../sdk/mapper.ts'
import type { ScheduledTask } from '../sdk/scheduler.ts'
import { untilAborted } from '../sdk/until-aborted.ts'
import { readPasskey } from './bind-key.ts'
import { type DeviceConfig, MIN_ON_DEMAND_MS } from './device-config.ts'
import { type CharacteristicGroup, GattSession, groupPoints } from './gatt-session.ts'
import type { Point } from './point.ts'
import type { Presence } from './presence.ts'
import type { Radio } from './radio.ts'
import { badReading, readingOf } from './readings.ts'
import type { BleLink, Heard, Pairing, RemoteCharacteristic } from './transport.ts'

/** A device that was not heard for this long is not connected to: the attempt would keep everybody else waiting. */
const AUDIBLE_MS = 30_000
const BATTERY_LEVEL = '2a19'

const CODES: Readonly<Record<string, string>> = {
  SLUICE_BLE_TIMEOUT: 'timeout',
  SLUICE_BLE_REFUSED: 'refused',
  SLUICE_BLE_DISCONNECTED: 'disconnected',
  SLUICE_BLE_RADIO: 'radio-down',
  SLUICE_BLE_CANCELLED: 'cancelled',
}

export const failureCode = (error: SluiceError): string => CODES[error.code] ?? 'internal'

/** The connection of one device: when it is made, what is read over it, and what follows when it fails. */
export class GattClient {
  readonly breaker: Breaker
  readonly #config: DeviceConfig
  readonly #radio: Radio
  readonly #host: GatewayHost
  readonly #presence: Presence
  readonly #closing = new AbortController()
  readonly #groups: readonly CharacteristicGroup[]
  #audible = Promise.withResolvers<void>()
  #heardMs = Number.NEGATIVE_INFINITY
  #random: boolean | undefined
  #session: GattSession | undefined
  #staying = false
  #wake = Promise.withResolvers<void>()
  #batch: Reading[] = []
  #started = false
  #connectedMs = 0
  #connectedAtMs: number | undefined

  constructor(config: DeviceConfig, radio: Radio, host: GatewayHost, presence: Presence) {
    this.#config = config
    this.#radio = radio
    this.#host = host
    this.#presence = presence
    this.breaker = new Breaker(host.random, { threshold: 1, backoffMaxMs: 120_000 })
    this.#groups = groupPoints(config.gattPoints)
    this.#random = config.random
  }

  /** Whether a connection that stays is up. */
  get staying(): boolean {
    return this.#staying
  }

  /** Time that connections to it were up, seconds. */
  get connectedS(): number {
    const since = this.#connectedAtMs
    return (this.#connectedMs + (since === undefined ? 0 : this.#host.clock.monotonic() - since)) / 1000
  }

  get mtu(): number | undefined {
    return this.#session?.link.mtu
  }

  /** Begins to connect by itself, unless nothing is to be read. */
  start(): void {
    if (this.#started || this.#config.mode === 'never' || !this.#groups.some(({ readable }) => readable)) return
    this.#started = true
    void this.#run()
  }

  dispose(): void {
    this.#closing.abort()
    void this.#session?.close()
  }

  heard(heard: Heard, nowMs: number): void {
    this.#heardMs = nowMs
    if (this.#config.random === undefined) this.#random = heard.random
    this.#audible.resolve()
  }

  /**
   * Runs `use` over the connection there is, or over one made for it. `stop` ends the wait; what was started ends in its
   * own time.
   */
  async within<T>(stop: AbortSignal, use: (session: GattSession) => Promise<T>): Promise<T> {
    const session = this.#session
    if (session !== undefined) return use(session)
    return this.#radio.sessions.once(
      'write',
      async () => {
        if (this.#session !== undefined) return use(this.#session)
        const opened = await this.#open(AbortSignal.any([stop, this.#closing.signal]))
        try {
          return await use(opened)
        } finally {
          await opened.close()
        }
      },
      stop,
    )
  }

  /** Turns what a characteristic said into readings, and hands them on once a turn of the event loop. */
  deliver(points: readonly Point[], data: Uint8Array): Reading[] {
    const atMs = this.#host.clock.now()
    const readings = points
      .filter(({ readable }) => readable)
      .map((point) => {
        const value: Json | ReturnType<Point['decode']> = point.decode(data)
        return readingOf(this.#config.key, point, value, atMs)
      })
    this.#push(readings)
    return readings
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    const { clock } = this.#host
    try {
      while (!signal.aborted) {
        await untilAborted(this.#radio.whenUp(), signal)
        await this.#untilAudible(signal)
        const startMs = clock.monotonic()
        const wantsToStay = this.#config.mode === 'keep'
        if (wantsToStay && this.#radio.takeStay()) await this.#stay(signal).finally(() => this.#radio.giveStay())
        else await this.#visit(signal)
        const { state } = this.breaker
        const waitMs = state.phase === 'open' ? state.retryAtMs - clock.monotonic() : this.#pauseMs(startMs)
        this.#wake = Promise.withResolvers<void>()
        await Promise.race([delay(clock, Math.max(50, waitMs), signal), this.#wake.promise])
        if (state.phase === 'open') this.breaker.takeProbe(clock.monotonic())
      }
    } catch (error) {
      if (!signal.aborted) this.#host.log('error', `ble: ${this.#config.key} stopped`, { reason: String(error) })
    }
  }

  #pauseMs(startMs: number): number {
    if (this.#config.mode === 'keep' && this.#staying) return 0
    const fastestMs = this.#groups.reduce((fastest, { everyMs }) => Math.min(fastest, everyMs), 3_600_000)
    return startMs + Math.max(MIN_ON_DEMAND_MS, fastestMs) - this.#host.clock.monotonic()
  }

  async #untilAudible(signal: AbortSignal): Promise<void> {
    if (this.#host.clock.monotonic() - this.#heardMs <= AUDIBLE_MS) return
    this.#audible = Promise.withResolvers<void>()
    await untilAborted(this.#audible.promise, signal)
  }

  async #open(signal: AbortSignal): Promise<GattSession> {
    const { clock } = this.#host
    const config = this.#config
    const pairing = config.pairing === undefined ? {} : { pairing: await pairingOf(config.pairing) }
    const startMs = clock.monotonic()
    const link: BleLink = await this.#radio.connect(
      {
        mac: config.mac,
        random: this.#random ?? false,
        ...(config.mtu === undefined ? {} : { mtu: config.mtu }),
        ...pairing,
      },
      { timeoutMs: config.connectTimeoutMs, signal },
    )
    const connectedAtMs = clock.monotonic()
    this.#connectedAtMs = connectedAtMs
    void link.ended.then(() => {
      this.#connectedMs += clock.monotonic() - connectedAtMs
      if (this.#connectedAtMs === connectedAtMs) this.#connectedAtMs = undefined
    })
    const session = await GattSession.open(config, link, signal)
    this.#session = session
    void link.ended.then(() => {
      if (this.#session === session) this.#session = undefined
    })
    this.breaker.succeeded()
    this.#presence.answered(clock.monotonic() - startMs, clock.now())
    return session
  }

  /** Connects and stays: subscribes, reads what is not told, until the connection ends. */
  async #stay(signal: AbortSignal): Promise<void> {
    let tasks: ScheduledTask[] = []
    try {
      const session = await this.#open(signal)
      this.#staying = true
      for (const group of this.#groups) await this.#subscribe(session, group, signal)
      tasks = this.#groups.flatMap((group) => this.#poll(session, group, signal))
      const reason = await Promise.race([
        session.link.ended,
        untilAborted(new Promise(() => undefined), signal).catch(() => 'stopped'),
      ])
      if (signal.aborted) await session.close()
      else this.#lost('SLUICE_BLE_DISCONNECTED', `${this.#config.mac} ${reason}`)
    } catch (thrown) {
      if (!signal.aborted) this.#failed(toSluiceError(thrown), this.#groups)
      await this.#session?.close()
    } finally {
      for (const task of tasks) task.cancel()
      this.#staying = false
    }
  }

  /** Connects, reads everything once, and leaves. */
  async #visit(signal: AbortSignal): Promise<void> {
    await this.#radio.sessions.once(
      'read',
      async () => {
        try {
          const session = await this.#open(signal)
          try {
            for (const group of this.#groups) if (group.readable) await this.#readOnce(session, group, signal)
          } finally {
            await session.close()
          }
        } catch (thrown) {
          if (!signal.aborted) this.#failed(toSluiceError(thrown), this.#groups)
        }
      },
      signal,
    )
  }

  async #subscribe(session: GattSession, group: CharacteristicGroup, signal: AbortSignal): Promise<void> {
    if (!group.readable) return
    const remote = this.#resolve(session, group)
    if (remote === undefined) return
    if (group.notify && remote.canNotify) {
      await session.subscribe(remote, (data) => this.#told(group, data), signal)
    }
    if (remote.canRead) await this.#read(session, group, remote, signal)
  }

  #told(group: CharacteristicGroup, data: Uint8Array): void {
    this.#radio.meter.answered(0, group.points.length)
    this.deliver(group.points, data)
    this.#noteBattery(group, data)
  }

  #poll(session: GattSession, group: CharacteristicGroup, signal: AbortSignal): ScheduledTask[] {
    const remote = session.find(group)
    if (remote === undefined || !group.readable || !remote.canRead || (group.notify && remote.canNotify)) return []
    let first = true
    const run = async () => {
      // The value was read just now, when the connection was made.
      if (first) first = false
      else await this.#read(session, group, remote, signal)
    }
    return [this.#radio.reads.every({ everyMs: group.everyMs, run })]
  }

  async #readOnce(session: GattSession, group: CharacteristicGroup, signal: AbortSignal): Promise<void> {
    const remote = this.#resolve(session, group)
    if (remote === undefined) return
    if (remote.canRead) return this.#read(session, group, remote, signal)
    if (!remote.canNotify) return
    const told = Promise.withResolvers<void>()
    const listener = (data: Uint8Array) => {
      this.#told(group, data)
      told.resolve()
    }
    await session.subscribe(remote, listener, signal)
    const waited = delay(this.#host.clock, this.#config.timeoutMs, signal).catch(() => undefined)
    await Promise.race([told.promise, waited, session.link.ended])
  }

  async #read(
    session: GattSession,
    group: CharacteristicGroup,
    remote: RemoteCharacteristic,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#host
    const startMs = clock.monotonic()
    try {
      const data = await session.read(remote, signal)
      const tookMs = clock.monotonic() - startMs
      this.#radio.meter.answered(tookMs, group.points.length)
      this.#presence.answered(tookMs, clock.now())
      this.deliver(group.points, data)
      this.#noteBattery(group, data)
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (signal.aborted || error.code === 'SLUICE_BLE_CANCELLED') return
      this.#complain(error, [group])
    }
  }

  #resolve(session: GattSession, group: CharacteristicGroup): RemoteCharacteristic | undefined {
    const remote = session.find(group)
    if (remote !== undefined) return remote
    const atMs = this.#host.clock.now()
    const reason = `the device has no characteristic ${group.uuid}`
    this.#push(group.points.map((point) => badReading(this.#config.key, point, 'no-characteristic', reason, atMs)))
    return undefined
  }

  #noteBattery(group: CharacteristicGroup, data: Uint8Array): void {
    const level = data[0]
    if (group.uuid === BATTERY_LEVEL && level !== undefined) this.#presence.battery(level, this.#host.clock.now())
  }

  /** A connection could not be made or used. */
  #failed(error: SluiceError, groups: readonly CharacteristicGroup[]): void {
    const { clock } = this.#host
    this.breaker.failed(clock.monotonic())
    this.#complain(error, groups)
    if (error.code !== 'SLUICE_BLE_RADIO') this.#presence.offline(error.message, clock.now())
  }

  #lost(code: string, reason: string): void {
    const { clock } = this.#host
    this.#radio.meter.failed(CODES[code] ?? 'internal')
    this.breaker.failed(clock.monotonic())
    const atMs = clock.now()
    const points = this.#groups.flatMap(({ points: some }) => some).filter(({ readable }) => readable)
    this.#push(points.map((point) => badReading(this.#config.key, point, 'disconnected', reason, atMs)))
    this.#presence.offline(reason, atMs)
  }

  #complain(error: SluiceError, groups: readonly CharacteristicGroup[]): void {
    const code = failureCode(error)
    this.#radio.meter.failed(code)
    this.#presence.failed()
    const atMs = this.#host.clock.now()
    const points = groups.flatMap(({ points: some }) => some).filter(({ readable }) => readable)
    this.#push(points.map((point) => badReading(this.#config.key, point, code, error.message, atMs)))
  }

  #push(readings: readonly Reading[]): void {
    if (this.#batch.length === 0) queueMicrotask(() => this.#flush())
    this.#batch.push(...readings)
  }

  #flush(): void {
    const batch = this.#batch
    this.#batch = []
    if (batch.length > 0 && !this.#closing.signal.aborted) this.#host.readings(batch)
  }

  /** Ends a pause: somebody wants something, or a place to stay has become free. */
  hurry(): void {
    this.#wake.resolve()
  }
}

async function pairingOf({ passkeyFile }: NonNullable<DeviceConfig['pairing']>): Promise<Pairing> {
  if (passkeyFile === undefined) return {}
  const passkey = await readPasskey(passkeyFile)
  if (typeof passkey === 'number') return { passkey }
  throw new SluiceError('SLUICE_BLE_REFUSED', passkey.problem, { hint: 'Write the six digits of the device into it.' })
}
