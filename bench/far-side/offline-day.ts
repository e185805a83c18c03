import { AgentCore } from '../../agent/core.ts'
import { createLog } from '../../agent/log.ts'
import { Store } from '../../agent/store/store.ts'
import type { Clock } from '../../api/clock.ts'
import type { Mapper, Protocol, Reading } from '../../mappers/sdk/mapper.ts'

/** What an agent without a link does with 100 values a second, at the pace of this machine instead of the clock's. */

/** Batches of reports are this long while nobody listens (agent/twin/report-batcher.ts). */
const BATCH_MS = 200
/** Of simulated time; an agent does it every second, which costs the disk more than this process wants to wait for. */
const SYNC_MS = 60_000

/** A clock that somebody else moves; nothing ever falls due. */
class MovedClock implements Clock {
  wallMs: number
  readonly #startMs: number

  constructor(startMs: number) {
    this.wallMs = startMs
    this.#startMs = startMs
  }

  now(): number {
    return this.wallMs
  }

  monotonic(): number {
    return this.wallMs - this.#startMs
  }

  after() {
    return { cancel: () => undefined }
  }
}

const silent: Mapper = {
  configure: () => undefined,
  write: async () => ({ state: 'rejected', code: 'SLUICE_BENCH', reason: 'nobody is there', atMs: 0 }),
  links: () => [],
  explain: () => undefined,
  [Symbol.asyncDispose]: async () => undefined,
}

const unused = async () => {
  throw new Error('not used by the benchmark')
}
const protocol: Protocol = {
  name: 'modbus',
  schema: unused,
  lint: unused,
  explain: unused,
  load: async () => () => silent,
}

export interface OfflineDay {
  readonly values: number
  readonly batches: number
  readonly outboxBytes: number
  readonly dropped: number
}

/**
 * Fills the outbox of a stopped agent through its own store, twins and batcher, as if it had polled its devices once a
 * second from `fromMs` to `toMs` without a link. Every value is the number of its second, counted from 0.
 */
export async function liveOffline(
  directory: string,
  devices: readonly string[],
  properties: readonly string[],
  fromMs: number,
  toMs: number,
): Promise<OfflineDay> {
  const clock = new MovedClock(fromMs)
  const log = createLog({ level: 'warn' })
  using store = new Store({ directory, clock, log })
  const core = new AgentCore({
    store,
    clock,
    random: Math.random,
    log,
    protocols: [protocol],
    listening: () => false,
    onEvent: () => undefined,
    offersDesires: true,
  })
  core.start()
  const before = store.totals
  const slots = 1000 / BATCH_MS
  for (let second = 0; fromMs + second * 1000 < toMs; second++) {
    for (let slot = 0; slot < slots; slot++) {
      clock.wallMs = fromMs + second * 1000 + slot * BATCH_MS
      for (let index = slot; index < devices.length; index += slots) {
        const device = devices[index]!
        core.engine.readings(
          properties.map(
            (property): Reading => ({ device, property, value: second, atMs: clock.wallMs, quality: 'good' }),
          ),
        )
      }
      core.batcher.flush()
    }
    if ((second * 1000) % SYNC_MS === 0) store.sync()
  }
  await core[Symbol.asyncDispose]()
  const after = store.totals
  return {
    values: after.values - before.values,
    batches: after.batches - before.batches,
    outboxBytes: after.bytes,
    dropped: after.droppedValues - before.droppedValues,
  }
}
