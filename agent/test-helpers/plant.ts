import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LinkObject } from '../../api/link/messages.ts'
import type { DeviceModelSpec, DeviceSpec, Json } from '../../api/resources.ts'
import type { StreamEvent } from '../../api/views.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { AgentCore } from '../core.ts'
import { silentLog } from '../log.ts'
import { Store, type StoreOptions } from '../store/store.ts'
import { FakeProtocol } from './fake-protocol.ts'

export const PUMP_MODEL: DeviceModelSpec = {
  properties: [
    { name: 'level', type: 'float', unit: 'm' },
    { name: 'setpoint', type: 'float', access: 'readwrite', min: 0, max: 100 },
  ],
}

export function modelObject(spec: DeviceModelSpec = PUMP_MODEL, name = 'pump', generation = 1): LinkObject {
  return {
    kind: 'DeviceModel',
    key: `plant/${name}`,
    rev: `m${generation}`,
    object: { uid: `uid-${name}`, generation, spec },
  }
}

export interface DeviceWords {
  readonly uid?: string
  readonly spec?: Partial<DeviceSpec>
  readonly desired?: Readonly<Record<string, readonly [value: Json, version: number]>>
  readonly removed?: Readonly<Record<string, number>>
  readonly rev?: string
}

export function deviceObject(name: string, words: DeviceWords = {}): LinkObject {
  const desired = Object.entries(words.desired ?? {}).map(([property, [value, version]]) => [
    property,
    { value, version, atMs: version },
  ])
  return {
    kind: 'Device',
    key: `plant/${name}`,
    rev: words.rev ?? `d${JSON.stringify(words).length}-${JSON.stringify(words)}`,
    object: {
      uid: words.uid ?? `uid-${name}`,
      generation: 1,
      spec: { model: 'pump', nodeName: 'gw-1', fake: {}, ...words.spec },
      desired: Object.fromEntries(desired),
      ...(words.removed === undefined ? {} : { removed: words.removed }),
    },
  }
}

export function temporaryDirectory(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'sluice-agent-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** An agent's core on a real file with a fake protocol, in virtual time. */
export class Plant {
  readonly directory: string
  readonly clock: VirtualClock
  readonly fake = new FakeProtocol()
  readonly events: StreamEvent[] = []
  readonly store: Store
  readonly core: AgentCore
  /** Objects that are found invalid, by key. */
  readonly invalid = new Map<string, string>()

  constructor(directory: string, clock = new VirtualClock(), store: Partial<StoreOptions> = {}) {
    this.directory = directory
    this.clock = clock
    this.store = new Store({ directory, clock, log: silentLog, ...store })
    this.core = new AgentCore({
      store: this.store,
      clock,
      random: () => 0.5,
      log: silentLog,
      protocols: [this.fake.protocol],
      check: async ({ key }) => {
        const message = this.invalid.get(key)
        return message === undefined
          ? undefined
          : { severity: 'error', code: 'SLUICE_MODEL_BAD', message, hint: '', path: [] }
      },
      listening: () => true,
      onEvent: (event) => void this.events.push(event),
      offersDesires: true,
    })
    this.core.start()
  }

  async put(...upserts: LinkObject[]) {
    const acks = await this.core.objects.apply({ upserts, deletes: [] })
    await this.clock.advance(0)
    return acks
  }

  read(device: string, property: string, value: Json, quality: 'good' | 'bad(timeout)' = 'good'): void {
    const base = { device: `plant/${device}`, property, atMs: this.clock.now(), quality }
    this.fake.read(quality === 'good' ? { ...base, value } : base)
  }

  property(device: string, property: string) {
    return this.core.engine.devices.get(`plant/${device}`)!.properties.get(property)!
  }

  /** Everything in the outbox, oldest first. */
  outbox() {
    return this.store.batches(0, this.store.lastSeq, 1_000_000).map(({ seq, body }) => ({ seq, ...JSON.parse(body) }))
  }

  /** Ends cleanly. */
  async stop(): Promise<void> {
    await this.core[Symbol.asyncDispose]()
    this.store[Symbol.dispose]()
  }
}
