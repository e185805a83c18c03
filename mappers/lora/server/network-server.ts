import type { ObjectKey } from '../../../api/resources.ts'
import { durationMs } from '../../../api/twin/duration.ts'
import type { GatewayHost, LinkStats } from '../../sdk/mapper.ts'
import type { RateLimitedLog } from '../../sdk/rate-limited-log.ts'
import { airtimeMs, fskAirtimeMs } from '../airtime.ts'
import { cryptPayload, type DataFrame, dataMic, devAddrText, parseFrame } from '../codec.ts'
import type { LoraDevice } from '../device-config.ts'
import { parseMacCommands } from '../mac-commands.ts'
import type { Downlink, DownlinkEnd, Network, NetworkEvents, Uplink } from '../network.ts'
import type { Region } from '../regions/region.ts'
import type { ListenOptions } from '../schema.ts'
import { readCarried, sealSession, writeCarried } from './carried.ts'
import { judgeCounter } from './counters.ts'
import { type Copies, Deduplicator } from './dedup.ts'
import { DeviceIndex, sameRadio } from './device-index.ts'
import { Downlinks } from './downlinks.ts'
import type { BackendEvents, GatewayBackend, Heard } from './gateway.ts'
import { GatewayBook } from './gateway-book.ts'
import { Joiner } from './joiner.ts'
import { hearCommands, type NetworkWishes, startState } from './mac-layer.ts'
import { ServedDevice } from './served-device.ts'
import { ServerStats } from './server-stats.ts'
import { type DevNonces, SessionStore } from './session.ts'
import { Transmitter, windowsAfter } from './transmitter.ts'
import { radioFacts, uplinkFacts } from './uplink-facts.ts'

const DEFAULT_DEDUP_MS = 200
/** Repeats of one uplink that are acknowledged again; more is somebody replaying it. */
const MAX_REPEATS = 8

export interface NetworkServerOptions {
  readonly region: Region
  readonly listen: ListenOptions
  /** Opens the ways gateways reach this server. */
  readonly open: (events: (backend: () => GatewayBackend) => BackendEvents) => readonly GatewayBackend[]
}

interface Accepted {
  readonly served: ServedDevice
  readonly frame: DataFrame
  readonly copies: Copies
  readonly fCnt: number
  readonly missed: number
}

/**
 * A LoRaWAN 1.0.x network server for the devices of one gateway; another Sluice gateway goes on with what `carry` says. No
 * 1.1, no class B, no roaming between networks.
 */
export class NetworkServer implements Network {
  readonly #host: GatewayHost
  readonly #events: NetworkEvents
  readonly #stats: ServerStats
  readonly #store: SessionStore
  readonly #book: GatewayBook
  readonly #backends: readonly GatewayBackend[]
  readonly #dedup: Deduplicator
  readonly #transmitter: Transmitter
  readonly #downlinks: Downlinks
  readonly #joiner: Joiner
  readonly #devices = new DeviceIndex()

  constructor(host: GatewayHost, options: NetworkServerOptions, events: NetworkEvents, log: RateLimitedLog) {
    this.#host = host
    this.#events = events
    this.#stats = new ServerStats(log, (devEui) => this.#devices.byEui.has(devEui))
    this.#store = new SessionStore(host.storage)
    this.#book = new GatewayBook(host.clock)
    const wishes: NetworkWishes = {
      rx1Delay: options.listen.rxDelay ?? options.region.rx1Delay,
      rx2Dr: options.listen.rx2DataRate ?? options.region.rx2.dr,
    }
    const windowMs =
      options.listen.duplicatesWithin === undefined ? DEFAULT_DEDUP_MS : durationMs(options.listen.duplicatesWithin)
    // With one gateway there is nobody to wait for.
    this.#dedup = new Deduplicator(
      host.clock,
      () => (this.#book.present().length > 1 ? windowMs : 0),
      (frames) => this.#received(frames),
    )
    this.#transmitter = new Transmitter(host.clock, options.region, this.#book)
    this.#downlinks = new Downlinks({
      clock: host.clock,
      transmitter: this.#transmitter,
      store: this.#store,
      wishes,
      problem: (kind, reason, devEui) => this.#stats.problem(kind, reason, devEui),
      log: (level, message) => host.log(level, message),
    })
    this.#joiner = new Joiner({
      host,
      events,
      stats: this.#stats,
      store: this.#store,
      devices: this.#devices,
      transmitter: this.#transmitter,
      wishes,
      netId: Number.parseInt(options.listen.netId ?? '0', 16),
      atMs: (heard) => this.#atMs(heard),
      trouble: (served, kind, reason) => this.#trouble(served, kind, reason),
    })
    this.#backends = options.open((backend) => this.#backendEvents(backend))
  }

  get backends(): readonly GatewayBackend[] {
    return this.#backends
  }

  configure(devices: readonly LoraDevice[]): void {
    const wanted = new Map(devices.map((device) => [device.key, device]))
    for (const [key, served] of [...this.#devices.byKey]) {
      const next = wanted.get(key)
      if (next !== undefined && next === served.device) continue
      if (next !== undefined && sameRadio(next, served.device)) served.device = next
      else this.#remove(key, served)
    }
    for (const device of devices) if (!this.#devices.byKey.has(device.key)) this.#add(device)
  }

  send(downlink: Downlink): Promise<DownlinkEnd> {
    const served = this.#devices.byKey.get(downlink.device)
    if (served === undefined) {
      const reason = `${downlink.device} is not served by this gateway`
      return Promise.resolve({
        state: 'refused',
        code: 'SLUICE_WRITE_NOT_SERVED',
        reason,
        atMs: this.#host.clock.now(),
      })
    }
    return this.#downlinks.enqueue(served, downlink)
  }

  nextWindowAtMs(device: ObjectKey): number | undefined {
    return this.#devices.byKey.get(device)?.nextWindowAtMs(this.#host.clock.now())
  }

  sentAirtimeMs(device: ObjectKey): number {
    return this.#devices.byKey.get(device)?.sentAirtimeMs ?? 0
  }

  carry(key: ObjectKey): string | undefined {
    const served = this.#devices.byKey.get(key)
    if (served?.session === undefined) return undefined
    const { device, session, nonces } = served
    served.sealed ??= sealSession(device, session)
    return writeCarried(device, session, served.sealed, this.#store.joinNonce(device.devEui), nonces)
  }

  links(): readonly LinkStats[] {
    return this.#stats.links(this.#devices.byKey.size, this.#book.stats())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#dedup.dispose()
    for (const [key, served] of [...this.#devices.byKey]) this.#remove(key, served)
    await Promise.all(this.#backends.map((backend) => backend[Symbol.asyncDispose]()))
  }

  #add(device: LoraDevice): void {
    const nonces = this.#store.nonces(device.devEui)
    this.#adopt(device, nonces)
    const session = this.#store.restore(device, () => startState(device.region))
    const served = new ServedDevice(device, session, nonces)
    this.#devices.add(served)
  }

  /** Goes on where the gateway before stopped. */
  #adopt(device: LoraDevice, nonces: DevNonces): void {
    const carried = readCarried(device.carried)
    if (carried === undefined) return
    try {
      if (this.#store.adopt(device, nonces, carried)) return
      const reason = `the session of ${device.devEui} that another gateway left does not open with the key that is here`
      this.#stats.problem('carried', reason, device.devEui)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#stats.problem('storage', `the session of ${device.devEui} cannot be kept: ${reason}`, device.devEui)
    }
  }

  #remove(key: ObjectKey, served: ServedDevice): void {
    this.#devices.remove(served)
    served.drop({
      state: 'refused',
      code: 'SLUICE_WRITE_NOT_SERVED',
      reason: `${key} is not served any more`,
      atMs: this.#host.clock.now(),
    })
  }

  #backendEvents(backend: () => GatewayBackend): BackendEvents {
    return {
      heard: (frames) => {
        for (const { gateway, phy, modulation } of frames) {
          const known = this.#book.alive(gateway, backend())
          known.meter.answered(
            modulation === undefined ? fskAirtimeMs(phy.length) : airtimeMs(phy.length, modulation),
            1,
          )
        }
        this.#dedup.add(frames)
      },
      alive: (gateway, facts) => {
        if (this.#book.get(gateway) === undefined) this.#host.log('info', `lora: gateway ${gateway} is here`)
        this.#book.alive(gateway, backend(), facts)
      },
      gone: (gateway, reason) => this.#book.gone(gateway, reason),
      problem: (kind, reason, from) => this.#stats.problem(kind, reason, from),
    }
  }

  #received(frames: readonly Copies[]): void {
    const accepted: Accepted[] = []
    for (const copies of frames) {
      const { phy } = copies[0]
      const frame = parseFrame(phy)
      switch (frame.kind) {
        case 'joinRequest':
          this.#joiner.join(frame, copies)
          break
        case 'data':
          if (frame.up) this.#judge(frame, copies, accepted)
          else this.#stats.problem('foreign-downlink', 'a downlink of another network was heard', copies[0].gateway)
          break
        case 'malformed':
          this.#stats.problem('malformed', frame.reason, copies[0].gateway)
          break
        case 'rejoinRequest':
          this.#stats.problem(
            'rejoin',
            `rejoin request of ${frame.devEui}: LoRaWAN 1.1 is not spoken here`,
            frame.devEui,
          )
          break
        default:
          this.#stats.problem(frame.kind, 'not a frame for a network server', copies[0].gateway)
      }
    }
    if (accepted.length > 0) this.#accept(accepted)
  }

  #judge(frame: DataFrame, copies: Copies, accepted: Accepted[]): void {
    const { phy } = copies[0]
    const candidates = this.#devices.byAddr.get(frame.devAddr)
    if (candidates === undefined) {
      this.#stats.problem(
        'unknown-device',
        `uplink of DevAddr ${devAddrText(frame.devAddr)}, which is nobody's here`,
        devAddrText(frame.devAddr),
      )
      return
    }
    for (const served of candidates) {
      const session = served.session!
      const { nwkSKey } = session.keys
      const fits = (fCnt: number) => dataMic(nwkSKey, phy, true, frame.devAddr, fCnt) === frame.mic
      let verdict = judgeCounter(session.fUp, frame.fCnt16, fits)
      if (verdict.kind === 'replay' && served.device.counterResets && verdict.fCnt < 65_536) {
        verdict = { kind: 'next', fCnt: verdict.fCnt, missed: 0 }
      }
      if (verdict.kind === 'wrongMic') continue
      if (verdict.kind === 'next') {
        session.fUp = verdict.fCnt
        accepted.push({ served, frame, copies, fCnt: verdict.fCnt, missed: verdict.missed })
      } else if (verdict.kind === 'repeat') this.#repeat(served, frame, copies)
      else {
        this.#trouble(
          served,
          'replay',
          `frame ${verdict.fCnt} came again after ${session.fUp}: a replay, or the device lost its counter`,
        )
      }
      return
    }
    for (const served of candidates) {
      this.#trouble(served, 'mic', `an uplink with the address of ${served.device.devEui} was made with another key`)
    }
  }

  /** The device did not hear our answer. Its reading is known; only an acknowledgement may be missing. */
  #repeat(served: ServedDevice, frame: DataFrame, copies: Copies): void {
    this.#stats.count('repeat')
    if (!frame.confirmed || ++served.repeats > MAX_REPEATS) return
    const facts = this.#facts(served, frame, copies)
    if (facts === undefined) return
    const opportunities = windowsAfter(served.device.region, facts, served.session!.radio)
    void this.#downlinks.answer(served, { opportunities, copies, ack: true, answers: [], mustAnswer: true })
  }

  #accept(accepted: readonly Accepted[]): void {
    try {
      // One step for all, and on the disk before anything of it is used: after a crash none of these can be replayed.
      this.#store.counted(accepted.map(({ served }) => [served.device.devEui, served.session!] as const))
    } catch (error) {
      this.#stats.problem(
        'storage',
        `frame counters cannot be kept: ${error instanceof Error ? error.message : String(error)}`,
        'storage',
      )
    }
    this.#stats.accepted(accepted.length)
    const uplinks: Uplink[] = []
    for (const one of accepted) {
      const { frame, copies, fCnt, served } = one
      const { keys, devAddr } = served.session!
      const own = frame.port !== undefined && frame.port !== 0
      const payload = own ? cryptPayload(keys.appSKey, frame.payload, true, devAddr, fCnt) : Buffer.alloc(0)
      uplinks.push({
        device: served.device.key,
        atMs: this.#atMs(copies[0]),
        fCnt,
        ...(own ? { port: frame.port } : {}),
        payload,
        radio: radioFacts(copies),
      })
    }
    this.#events.uplinks(uplinks)
    for (const one of accepted) this.#follow(one)
  }

  /** What an uplink entails beside its reading: acknowledgements, MAC commands, rate adaptation, an answer. */
  #follow({ served, frame, copies, fCnt, missed }: Accepted): void {
    served.repeats = 0
    const facts = this.#facts(served, frame, copies)
    this.#downlinks.acknowledge(served, frame.ack)
    const { session } = served
    if (session === undefined || facts === undefined) return
    served.heard({ copies, atMs: facts.atMs, atMonoMs: copies[0].atMonoMs, dr: facts.dr })
    if (session.radio.dr !== facts.dr) {
      session.radio.dr = facts.dr
      served.adr.reset()
    }
    served.adr.add(facts.snrDb, fCnt === missed ? 0 : missed)
    const bytes =
      frame.port === 0 ? cryptPayload(session.keys.nwkSKey, frame.payload, true, session.devAddr, fCnt) : frame.fOpts
    const { commands, problem } = parseMacCommands(bytes, true)
    if (problem !== undefined)
      this.#stats.problem('mac-command', `${served.device.devEui}: ${problem}`, served.device.devEui)
    const outcome = hearCommands(served, commands, facts)
    if (outcome.changed) this.#store.radioChanged(served.device.devEui, session.radio)
    if (outcome.status !== undefined) this.#status(served, outcome.status, facts.atMs)
    void this.#downlinks
      .answer(served, {
        opportunities: windowsAfter(served.device.region, facts, session.radio),
        copies,
        ack: frame.confirmed,
        answers: outcome.answers,
        facts,
        mustAnswer: outcome.mustAnswer || frame.adrAckReq,
      })
      .then(() => (served.device.deviceClass === 'C' ? this.#downlinks.pump(served) : undefined))
  }

  #facts(served: ServedDevice, frame: DataFrame, copies: Copies) {
    return uplinkFacts(served.device.region, frame, copies, this.#atMs(copies[0]))
  }

  #status(served: ServedDevice, { battery, marginDb }: { battery: number; marginDb: number }, atMs: number): void {
    this.#events.status({
      device: served.device.key,
      atMs,
      marginDb,
      // 0: powered from outside; 255: cannot tell; else 1 to 254 from empty to full.
      ...(battery >= 1 && battery <= 254 ? { batteryPercent: Math.round(((battery - 1) / 253) * 1000) / 10 } : {}),
      ...(battery === 0 ? { externalPower: true } : {}),
    })
  }

  #atMs(heard: Heard): number {
    const { clock } = this.#host
    return Math.round(clock.now() - (clock.monotonic() - heard.atMonoMs))
  }

  #trouble(served: ServedDevice, kind: string, reason: string): void {
    this.#stats.problem(kind, reason, served.device.devEui)
    this.#events.trouble({ device: served.device.key, kind, reason, atMs: this.#host.clock.now() })
  }
}
