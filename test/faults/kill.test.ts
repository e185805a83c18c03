import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { delay, systemClock } from '../../api/clock.ts'
import type { LinkDevice, SeqRange } from '../../api/link/messages.ts'
import { addRange, contains, missing } from '../../api/link/ranges.ts'
import type { StreamEvent } from '../../api/views.ts'
import { twinOf } from '../harness/devices.ts'
import type { Served } from '../harness/far-side.ts'
import { counterModel } from '../harness/fleet.ts'
import type { SeenFrame } from '../harness/link-proxy.ts'
import type { Part } from '../harness/part.ts'
import { Stack } from '../harness/stack.ts'
import { isReported, isWrite, readStream } from '../harness/stream.ts'
import { eventually } from '../harness/until.ts'

/** `kill -9` of API, cloud core and agent in turn; SLUICE_KILLS=200 is the long run (`npm run test:soak`). */
const KILLS = Number(process.env['SLUICE_KILLS'] ?? 36)
const SEED = Number(process.env['SLUICE_SEED'] ?? 20260101)
const EVERY_MS = 50
/**
 * What an agent has read but not yet committed may die with it: everything since the last commit, at most 200 ms apart
 * while no hub listens (agent/twin/report-batcher.ts), and what is on the wire. A second's worth of reads leaves room for
 * a busy machine.
 */
const UNCOMMITTED_MS = 1_000
const UNCOMMITTED_VALUES = UNCOMMITTED_MS / EVERY_MS

function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** What went over the link, as somebody in the middle saw it. */
class LinkRecord {
  told: readonly SeqRange[] = []
  gaps: readonly SeqRange[] = []
  lostValues = 0
  /** Newest generation of the device that the agent holds. */
  generation = 0
  /** `property version` of what the agent acknowledged to hold. */
  readonly handedOut = new Set<string>()
  readonly #offered = new Map<string, LinkDevice>()

  see({ from, frame }: SeenFrame): void {
    if (from === 'hub') {
      if (frame.t !== 'objects') return
      for (const { kind, rev, object } of frame.upserts) if (kind === 'Device') this.#offered.set(rev, object)
      return
    }
    if (frame.t === 'batch') this.told = addRange(this.told, [frame.seq, frame.seq])
    if (frame.t === 'gap') {
      this.gaps = addRange(this.gaps, frame.range)
      this.lostValues += frame.values
    }
    if (frame.t !== 'objectsAck') return
    for (const { rev, ok } of frame.items) {
      const device = ok ? this.#offered.get(rev) : undefined
      if (device === undefined) continue
      this.generation = Math.max(this.generation, device.generation)
      for (const [property, { version }] of Object.entries(device.desired)) {
        this.handedOut.add(`${property} ${version}`)
      }
    }
  }
}

/** Changes a desired value again and again, waits for each answer, and notices when something answered is forgotten. */
class Writer {
  /** What was answered last, by property. */
  readonly values: Record<string, number> = {}
  readonly trouble: string[] = []
  answered = 0
  readonly #stack: Stack
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  #newest = 0

  constructor(stack: Stack) {
    this.#stack = stack
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async set(property: string, value: number): Promise<void> {
    // What was asked for and not answered may have been done or not: it is asked for again.
    for (;;) {
      try {
        const device = await this.#stack.patchDevice('drive', { spec: { desired: { [property]: value } } })
        const version = Number(device.metadata.resourceVersion)
        if (version < this.#newest) this.trouble.push(`resourceVersion ${version} after ${this.#newest}`)
        this.#newest = version
        this.values[property] = value
        for (const [name, wanted] of Object.entries(this.values)) {
          const held = device.spec.desired?.[name]
          if (held !== wanted) this.trouble.push(`${name} was answered as ${wanted} and is ${JSON.stringify(held)}`)
        }
        this.answered++
        return
      } catch {
        await delay(systemClock, 20)
      }
    }
  }

  async #run(): Promise<void> {
    for (let n = 1; !this.#stop.signal.aborted; n++) {
      await this.set(n % 3 === 0 ? 'ramp' : 'speed', n)
      await delay(systemClock, 60, this.#stop.signal).catch(() => {})
    }
  }
}

interface AgentKill {
  readonly fromMs: number
  readonly toMs: number
}

/** Kills parts in turn, sometimes two at once, each at a random point of what is going on. */
async function killAround(stack: Stack, random: () => number): Promise<AgentKill[]> {
  const parts: readonly Part[] = [stack.api!, stack.cloud, stack.agent]
  const agentKills: AgentKill[] = []
  for (let done = 0; done < KILLS; ) {
    await stack.far.afterReads(1, Math.floor(random() * 8))
    const first = done % parts.length
    const victims = [first]
    if (random() < 0.15 && done + 1 < KILLS) victims.push((first + 1) % parts.length)
    const fromMs = performance.now()
    await Promise.all(victims.map((index) => parts[index]!.kill()))
    if (victims.includes(2)) {
      // What the agent had asked for when it died is on the wire, and served a moment later.
      await stack.far.quiet()
      agentKills.push({ fromMs, toMs: performance.now() })
    }
    done += victims.length
    // The cloud core cannot begin without its API.
    for (const index of victims.toSorted()) await parts[index]!.start()
  }
  return agentKills
}

describe(`${KILLS} random kills of API, cloud core and agent`, { timeout: 120_000 + KILLS * 5_000 }, () => {
  it('lose nothing that was acknowledged, double nothing, and end every write once', async () => {
    await using stack = await Stack.start({ apart: true, between: 'frames' })
    stack.tellOnFailure()
    const link = new LinkRecord()
    stack.frames.judge = (seen) => {
      link.see(seen)
      return 'pass'
    }
    await stack.createModel('counter', counterModel)
    await stack.createDevice('drive', stack.counterDevice(1, `${EVERY_MS}ms`))
    await using stream = readStream(stack.cloudEndpoint, {}, '0')
    await stream.until(isReported, 'the first value')
    const startedMs = performance.now()
    const writer = new Writer(stack)
    const agentKills = await killAround(stack, seeded(SEED))
    await writer.stop()
    const tookMs = performance.now() - startedMs

    // Everything comes to rest: last wishes, then no more reads, then nothing on its way.
    await writer.set('speed', 40_001)
    await writer.set('ramp', 40_002)
    await stack.devices.until(
      'drive',
      (device) =>
        [40_001, 40_002].every((value, index) => {
          const twin = twinOf(device, index === 0 ? 'speed' : 'ramp')
          return twin?.state === 'synced' && twin.desired?.value === value && twin.reported?.value === value
        }),
      'the last values are synced',
      90_000,
    )
    const resting = await stack.patchDevice('drive', { spec: { poll: { every: '1h' } } })
    await eventually(() => link.generation === resting.metadata.generation, 'the agent polls slowly')
    const { served, written, holding } = stack.far.unit(1)
    await eventually(
      async () => (await stack.metric('agent', 'sluice_outbox_batches')) === 0 && isLast(stream.events, served.length),
      'the outbox is empty and the last value is in the stream',
    )
    const total = served.length

    // Twins in the API are what the far side has.
    const device = await stack.devices.until(
      'drive',
      (d) => twinOf(d, 'count')?.reported?.value === total,
      'the last count',
    )
    expect(device.spec.desired).toEqual({ speed: 40_001, ramp: 40_002 })
    expect([holding.get(0), holding.get(10)]).toEqual([40_001, 40_002])
    expect(stack.devices.wentBack).toEqual([])
    expect(writer.trouble).toEqual([])

    // The history: every number once, growing; what is missing was read just before an agent died.
    expect(stream.missed).toBe(0)
    const counts = stream.events.filter(isReported).filter((e) => e.property === 'count' && e.quality === 'good')
    const values = counts.map(({ value }) => Number(value))
    expect(new Set(values).size).toBe(values.length)
    const byTime = counts.toSorted((a, b) => a.at.localeCompare(b.at)).map(({ value }) => Number(value))
    expect(byTime).toEqual(values.toSorted((a, b) => a - b))
    const seen = new Set(values)
    const lost = served.filter(({ value }) => !seen.has(value))
    // Commits keep the order of reading: what died with the agent is the tail of what it had read, with nothing kept after it.
    const isTail = ({ atMs }: { atMs: number }) =>
      agentKills.some(
        ({ toMs }) =>
          atMs <= toMs && served.every((read) => read.atMs < atMs || read.atMs > toMs || !seen.has(read.value)),
      )
    const about = (read: Served) => ({
      ...read,
      lastSeenBefore: served.findLast((each) => each.value < read.value && seen.has(each.value)),
      nextSeen: served.find((each) => each.value > read.value && seen.has(each.value)),
      kill: agentKills.findLast(({ fromMs }) => fromMs <= read.atMs + 1_000),
    })
    // The slow poll begins with a read at once, and gives up the one on the wire: that may be the last but one.
    const isGivenUp = ({ value }: { value: number }) => value === total - 1
    expect(lost.filter((read) => !isTail(read) && !isGivenUp(read)).map(about)).toEqual([])
    expect(lost.length).toBeLessThanOrEqual(agentKills.length * UNCOMMITTED_VALUES)

    // Writes: one end for every version, no end for what was never handed out.
    const ends = stream.events.filter(isWrite)
    const named = ends.map(({ property, version }) => `${property} ${version}`)
    expect(new Set(named).size).toBe(named.length)
    expect([...link.handedOut].filter((each) => !named.includes(each))).toEqual([])
    expect(ends.filter(({ state }) => state === 'timedOut')).toEqual([])
    for (const { state, reason } of ends)
      if (state === 'rejected') expect(reason).toMatch(/replaced it before it was written|took its place/)

    // The agent's own numbers against what the hub has on its disk.
    expect(await stack.agent.stop()).toBe(0)
    expect(await stack.cloud.stop()).toBe(0)
    const hub = hubDatabase(stack)
    expect(hub.epochs).toHaveLength(1)
    expect(hub.epochs[0]).toHaveLength(1)
    const [first, last] = hub.epochs[0]![0]!
    expect(first).toBe(1)
    const rows: readonly SeqRange[] = hub.sequence.reduce<readonly SeqRange[]>(
      (all, seq) => addRange(all, [seq, seq]),
      [],
    )
    expect(new Set(hub.sequence).size).toBe(hub.sequence.length)
    for (const [from, to] of link.told) expect(missing(rows, [from, to])).toEqual([])
    for (const range of missing(rows, [1, last])) expect(missing(link.gaps, range)).toEqual([])
    expect(hub.sequence.filter((seq) => contains(link.gaps, seq))).toEqual([])
    expect(link.lostValues).toBe(0)
    expect(hub.counters).toMatchObject({ lost_values: 0, unexplained: 0, refused_rows: 0 })

    console.log(
      JSON.stringify({
        ...{ kills: KILLS, seed: SEED, seconds: Math.round(tookMs / 1000), values: total, lost: lost.length },
        ...{
          agentKills: agentKills.length,
          patches: writer.answered,
          versions: named.length,
          handedOut: link.handedOut.size,
        },
        ...{ onTheWire: written.length, batches: hub.sequence.length, duplicates: hub.counters['duplicates'] },
      }),
    )
  })
})

const isLast = (events: readonly StreamEvent[], total: number): boolean =>
  events.some((event) => isReported(event) && event.property === 'count' && event.value === total)

function hubDatabase(stack: Stack) {
  const db = new DatabaseSync(join(stack.cloudData, 'hub.db'), { readOnly: true })
  try {
    return {
      epochs: db
        .prepare('SELECT received FROM epoch')
        .all()
        .map((row) => JSON.parse(String(row['received'])) as SeqRange[]),
      sequence: db
        .prepare('SELECT seq FROM stream ORDER BY id')
        .all()
        .map((row) => Number(row['seq'])),
      counters: db.prepare('SELECT * FROM counters').get() ?? {},
    }
  } finally {
    db.close()
  }
}
