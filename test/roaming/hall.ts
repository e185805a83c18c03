import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AgentCore } from '../../agent/core.ts'
import { LinkClient } from '../../agent/link/client.ts'
import { newLinkStatus } from '../../agent/link/status.ts'
import type { Dial } from '../../agent/link/transport.ts'
import { silentLog } from '../../agent/log.ts'
import { Store } from '../../agent/store/store.ts'
import { FakeProtocol } from '../../agent/test-helpers/fake-protocol.ts'
import type { Clock } from '../../api/clock.ts'
import { gatewayKey } from '../../api/link/messages.ts'
import type { Device, DeviceModel, GatewaySpec, Json } from '../../api/resources.ts'
import type { VirtualClock } from '../../api/virtual-clock.ts'
import { GatewayObjects } from '../../cloudcore/gateways/gateway-objects.ts'
import { Hub } from '../../cloudcore/hub/hub.ts'
import { inventory } from '../../cloudcore/hub/inventory.ts'
import type { Session } from '../../cloudcore/hub/session.ts'
import { HubStore, type StreamRow } from '../../cloudcore/hub/store.ts'
import { Roamer } from '../../cloudcore/roaming/roamer.ts'
import { TermBook } from '../../cloudcore/roaming/terms.ts'
import { Leases } from '../../cloudcore/tether/leases.ts'
import type { DeviceRecord } from '../../cloudcore/twins/device-record.ts'
import { Fleet } from '../../cloudcore/twins/fleet.ts'
import { PresenceBoard } from '../../cloudcore/twins/presence.ts'
import { TwinEngine } from '../../cloudcore/twins/twin-engine.ts'

export const TAG = 'hall/tag'
const UID = 'uid-tag'

/** A hub with its fence and its fleet, real but for the Kubernetes API, in virtual time. */
export class VirtualHub {
  readonly clock: VirtualClock
  readonly store: HubStore
  readonly fleet = new Fleet()
  readonly objects = new GatewayObjects()
  readonly hub: Hub
  readonly roamer: Roamer
  readonly twins: TwinEngine
  readonly leases: Leases
  readonly #stop = new AbortController()
  readonly rows: StreamRow[] = []
  /** Every change of hands, with the time of the hub's monotonic clock. */
  readonly handOvers: { readonly atMs: number; readonly from: string | undefined; readonly to: string | undefined }[] =
    []
  readonly audited: string[] = []
  /** States of tethers, each as it was told. */
  readonly tethers: string[] = []
  /** Whether the protocol of the devices can be heard by a gateway that stands by. */
  overhears = true
  #resourceVersion = 10

  constructor(clock: VirtualClock, heartbeatMs = 2000) {
    this.clock = clock
    this.store = new HubStore({ path: ':memory:', clock, onStreamRow: (row) => this.rows.push(row) })
    const book = new TermBook(this.store.db, clock.now())
    this.roamer = new Roamer({
      fleet: this.fleet,
      book,
      clock,
      links: {
        present: (gateway) => this.hub.session(gateway)?.epoch !== undefined,
        leaseLeftMs: (gateway) => this.hub.leaseLeftMs(gateway),
        offsetMs: (gateway) => this.hub.offsetMs(gateway),
        holdBack: (gateway, until) => this.hub.session(gateway)?.holdBack(until),
      },
      gateways: () => this.objects.labels(),
      overhears: () => this.overhears,
      onTrouble: (what, error) => this.audited.push(`${what}: ${error.code}`),
      onHandOver: ({ gateway }, from) => this.handOvers.push({ atMs: clock.monotonic(), from, to: gateway }),
    })
    this.fleet.placement = this.roamer
    const presence = new PresenceBoard(clock, 40_000)
    this.twins = new TwinEngine({
      ...{ fleet: this.fleet, presence, clock, signal: this.#stop.signal, log: () => {} },
      client: { patch: () => Promise.reject(new Error('there is no API in this hall')) },
    })
    this.hub = new Hub({
      clock,
      store: this.store,
      fleet: this.fleet,
      objects: inventory(this.fleet, this.objects),
      presence,
      heartbeatMs,
      window: { batches: 16, bytes: 64 * 1024 },
      ingest: (body, origin) => this.twins.ingest(body, origin),
      admits: (uid, gateway, term) => book.admits(uid, gateway, term),
      onCovered: (uid, term, values) => book.covered(uid, term, values),
      holdBack: (gateway) => this.roamer.unsettled(gateway),
      onHeard: (gateway, items) => this.roamer.heard(gateway, items),
      lease: (gateway) => this.leases.give(gateway),
      onObjectAck: (gateway, kind, key) => {
        if (kind === 'Device') this.roamer.acknowledged(gateway, key)
      },
      onStatus: () => {},
      onConnected: ({ gateway }) => queueMicrotask(() => this.roamer.gatewayChanged(gateway)),
      onDisconnected: ({ gateway }) => this.roamer.gatewayChanged(gateway),
      desire: async () => ({ ok: true }),
      audit: (gateway, code) => this.audited.push(`${gateway}: ${code}`),
    })
    this.leases = new Leases({
      ...{ db: this.store.db, clock, spec: (gateway) => this.objects.spec(gateway) },
      settled: (gateway) => this.hub.session(gateway)?.behind === 0,
      onChange: (_, tether) => this.tethers.push(tether?.state ?? 'unknown'),
    })
    this.fleet.upsertModel(MODEL)
  }

  get record(): DeviceRecord {
    return this.fleet.devices.get(TAG)!
  }

  addGateway(name: string, spec: GatewaySpec = {}): void {
    const metadata = { name, uid: `uid-${name}`, generation: ++this.#resourceVersion, labels: { hall: 'yes' } }
    this.objects.upsert({ apiVersion: 'sluice.dev/v1alpha1', kind: 'Gateway', metadata, spec })
    this.leases.specChanged(name)
    this.hub.objectsChanged(name, [['Gateway', gatewayKey(name)]])
  }

  put(spec: Partial<Device['spec']>, desired?: Record<string, Json>): void {
    const version = ++this.#resourceVersion
    this.fleet.upsertDevice(
      {
        apiVersion: 'sluice.dev/v1alpha1',
        kind: 'Device',
        metadata: { name: 'tag', namespace: 'hall', uid: UID, generation: version, resourceVersion: String(version) },
        spec: { model: 'tag', fake: {}, ...spec, ...(desired === undefined ? {} : { desired }) },
      },
      this.clock.now(),
    )
  }

  /** Values of a property in the order in which the hub took them, live and late ones. */
  values(property = 'count'): { readonly value: number; readonly gateway: string; readonly backfill: boolean }[] {
    return this.rows.flatMap(({ gateway, backfill, body }) =>
      (body.r ?? [])
        .filter((row) => row[1] === property && typeof row[2] === 'number' && row[4] === undefined)
        .map((row) => ({ value: row[2] as number, gateway, backfill })),
    )
  }

  stop(): void {
    this.#stop.abort()
    this.roamer.close()
    this.hub[Symbol.dispose]()
    this.store[Symbol.dispose]()
  }
}

const MODEL: DeviceModel = {
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'DeviceModel',
  metadata: { name: 'tag', namespace: 'hall', uid: 'uid-model', generation: 1 },
  spec: {
    properties: [
      { name: 'count', type: 'int', poll: { staleAfter: '1d' } },
      { name: 'lamp', type: 'int', access: 'readwrite', poll: { staleAfter: '1d' } },
    ],
  },
}

/** A real agent but for its protocol and its network, with a clock that may be wrong. */
export class VirtualGateway {
  readonly name: string
  readonly fake = new FakeProtocol()
  readonly core: AgentCore
  readonly client: LinkClient
  readonly #hub: VirtualHub
  readonly #store: Store
  readonly #directory: string
  readonly #clock: Clock
  latencyMs = 5
  /** What its radio stack needs to hand an advertisement on. */
  lagMs = 0
  linked = true
  #heardMs = 0
  #cut: (() => void) | undefined

  constructor(name: string, hub: VirtualHub, skewMs = 0) {
    this.name = name
    this.#hub = hub
    const { clock } = hub
    this.#clock = {
      now: () => clock.now() + skewMs,
      monotonic: () => clock.monotonic(),
      after: (delayMs, fn) => clock.after(delayMs, fn),
    }
    this.#directory = mkdtempSync(join(tmpdir(), 'sluice-hall-'))
    this.#store = new Store({ directory: this.#directory, clock: this.#clock, log: silentLog })
    this.core = new AgentCore({
      store: this.#store,
      clock: this.#clock,
      random: () => 0.5,
      log: silentLog,
      protocols: [{ ...this.fake.protocol, overhears: true }],
      check: async () => undefined,
      listening: () => false,
      onEvent: () => {},
      offersDesires: false,
    })
    this.core.start()
    this.client = new LinkClient({
      core: this.core,
      clock: this.#clock,
      random: () => 0.5,
      log: silentLog,
      gateway: name,
      agentVersion: '0',
      status: newLinkStatus('wss://hub'),
      gatewayStatus: () => ({}),
      dial: this.#dial,
    })
    this.core.listener = this.client
    hub.addGateway(name)
    this.client.start()
  }

  get now(): number {
    return this.#clock.now()
  }

  /** The device is heard here, by a radio stack that tells in order. */
  hear(value: number, rssiDbm: number): void {
    const { clock } = this.#hub
    this.#heardMs = Math.max(this.#heardMs, clock.monotonic() + this.lagMs)
    const delayMs = this.#heardMs - clock.monotonic()
    if (delayMs === 0) this.#handOn(value, rssiDbm)
    else clock.after(delayMs, () => this.#handOn(value, rssiDbm))
  }

  #handOn(value: number, rssiDbm: number): void {
    if (!this.fake.bindings.some(({ key }) => key === TAG)) return
    const atMs = this.now
    this.fake.host!.reachability([{ device: TAG, online: true, atMs, rssiDbm }])
    this.fake.host!.readings([{ device: TAG, property: 'count', value, atMs, quality: 'good' }])
  }

  /** Breaks the connection; the hub notices by itself after `hubNoticesMs`. What was on its way is lost. */
  unlink(): void {
    this.linked = false
    this.#cut?.()
  }

  link(): void {
    this.linked = true
  }

  async stop(): Promise<void> {
    this.client[Symbol.dispose]()
    await this.core[Symbol.asyncDispose]()
    this.#store[Symbol.dispose]()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  readonly #dial: Dial = (events) => {
    const { clock } = this.#hub
    let open = true
    let session: Session | undefined
    const end = (reason: string) => {
      if (!open) return
      open = false
      this.#cut = undefined
      if (session !== undefined) this.#hub.hub.ended(session)
      events.onClose(reason)
    }
    // Messages of one direction arrive in order, whatever happens to the latency meanwhile.
    const wire = () => {
      let lastMs = 0
      let paused: (() => void)[] | undefined
      const deliver = (work: () => void) => {
        if (!open) return
        if (paused === undefined) work()
        else paused.push(work)
      }
      return {
        send: (work: () => void) => {
          lastMs = Math.max(lastMs, clock.monotonic() + this.latencyMs)
          clock.after(lastMs - clock.monotonic(), () => deliver(work))
        },
        pause: () => (paused ??= []),
        resume: () => {
          const waiting = paused ?? []
          paused = undefined
          for (const work of waiting) deliver(work)
        },
      }
    }
    const up = wire()
    const down = wire()
    clock.after(this.latencyMs, () => {
      if (!open) return
      if (!this.linked) {
        end('no network')
        return
      }
      this.#cut = () => end('cut')
      session = this.#hub.hub.accept(
        this.name,
        {
          send: (text) => down.send(() => events.onMessage(text)),
          close: () => clock.after(this.latencyMs, () => end('closed')),
          pause: up.pause,
          resume: up.resume,
          bufferedBytes: 0,
        },
        Number.MAX_SAFE_INTEGER,
      )
      const taken = session
      events.onOpen({
        send: (text) => up.send(() => taken.receive(text)),
        bufferedBytes: 0,
        close: (reason) => end(reason),
      })
    })
    return { close: end }
  }
}
