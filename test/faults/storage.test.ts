import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openRequest, readBody } from '../../api/client/http.ts'
import { toSluiceError } from '../../api/errors.ts'
import { Assembly } from '../harness/assembly.ts'
import { twinOf } from '../harness/devices.ts'
import { counterModel } from '../harness/fleet.ts'
import { canMount, type SmallDisk, smallDisk } from '../harness/small-disk.ts'
import { isReported, readStream } from '../harness/stream.ts'
import { eventually } from '../harness/until.ts'

const countsOf = (events: ReturnType<typeof readStream>['events']): number[] =>
  events
    .filter(isReported)
    .filter((event) => event.property === 'count' && event.quality === 'good')
    .map(({ value }) => Number(value))

const health = async (
  dataDir: string,
): Promise<{ ok: boolean; conditions: { type: string; status: string; reason: string }[] }> => {
  const endpoint = { kind: 'socket', path: join(dataDir, 'agent.sock') } as const
  return JSON.parse(
    await readBody(await openRequest(endpoint, { path: '/healthz', signal: AbortSignal.timeout(5_000) })),
  )
}

// Where nobody may mount, there is no small disk to fill; CI runs as root.
describe.skipIf(!canMount)('a disk that is full', { timeout: 90_000 }, () => {
  it('stops nothing at the gateway: it goes on reading, says so, counts what it loses, and recovers by itself', async () => {
    await using house = await Assembly.start()
    house.tellOnFailure()
    const dataDir = join(house.folder, 'gateway')
    using disk = smallDisk(dataDir, 8)
    await house.createModel('counter', counterModel)
    await house.createDevice('drive', house.counterDevice(1, '20ms'))
    await using stream = readStream(house.endpoint, {}, '0')
    await using agent = await house.startAgent({ dataDir })
    await stream.until(isReported, 'the first value')

    disk.fill()
    await eventually(() => agent.core.store.failure?.code === 'SLUICE_STORE_FULL', 'the store is full')
    const { ok, conditions } = await health(dataDir)
    expect(ok).toBe(false)
    expect(conditions).toContainEqual(
      expect.objectContaining({ type: 'StoreHealthy', status: 'False', reason: 'SLUICE_STORE_FULL' }),
    )
    await house.far.afterReads(1, 100)
    const local = agent.core.engine.devices.get(`${house.namespace}/drive`)
    expect(Number(local?.properties.get('count')?.twin.reported?.value)).toBeGreaterThan(100)
    const refused = await Promise.resolve()
      .then(() => agent.core.desire(`${house.namespace}/drive`, 'speed', 5, 'test'))
      .catch(toSluiceError)
    expect(refused).toMatchObject({ code: 'SLUICE_STORE_FULL' })

    disk.free()
    await eventually(() => agent.core.store.failure === undefined, 'the store works again')
    const { served } = house.far.unit(1)
    const last = served.length
    await stream.until((e) => isReported(e) && e.property === 'count' && Number(e.value) > last, 'new values')
    const { lastSeq } = agent.core.store
    await eventually(() => agent.core.store.firstSeq > lastSeq, 'all that was kept until then is acknowledged')
    const later = served.length
    // What comes after it has it in front of it.
    await stream.until((e) => isReported(e) && e.property === 'count' && Number(e.value) > later, 'what was kept')
    const counts = countsOf(stream.events)
    expect(new Set(counts).size).toBe(counts.length)
    const got = new Set(counts)
    const lost = served.filter(({ value }) => value <= last && !got.has(value)).length
    const { droppedValues } = agent.core.store.totals
    // Every value that did not come is a dropped one that was counted; rows of the other properties count too.
    expect(lost).toBeLessThanOrEqual(droppedValues)
    expect(house.log.filter(({ code }) => code === 'SLUICE_LINK_HOLE')).toEqual([])
    expect(house.log.filter(({ message }) => /cannot grow/.test(message)).length).toBeLessThan(5)
    await house.patchDevice('drive', { spec: { desired: { speed: 77 } } })
    await house.devices.until('drive', (d) => twinOf(d, 'speed')?.state === 'synced', 'a write works again')
  })

  it('makes the hub acknowledge nothing and the API refuse cleanly; afterwards everything arrives once', async () => {
    let disk: SmallDisk | undefined
    await using house = await Assembly.start({
      prepare: (cloudData) => (disk = smallDisk(cloudData, 24)),
    })
    house.tellOnFailure()
    await house.createModel('counter', counterModel)
    await house.createDevice('drive', house.counterDevice(1, '20ms'))
    await using stream = readStream(house.endpoint, {}, '0')
    await using agent = await house.startAgent()
    await stream.until(isReported, 'the first value')

    disk!.fill()
    await eventually(() => house.logged('SLUICE_HUB_STORE_FAILED'), 'the hub says that it cannot write')
    const refused = await house.patchDevice('drive', { spec: { desired: { speed: 5 } } }).catch(toSluiceError)
    expect(refused).toMatchObject({ code: expect.stringMatching(/^SLUICE_KUBE_/) })
    const held = await house.kube.get<{ spec: object }>(
      `/apis/sluice.dev/v1alpha1/namespaces/${house.namespace}/devices/drive`,
    )
    expect(held.spec).not.toHaveProperty('desired')
    await eventually(() => agent.core.store.totals.batches > 20, 'the gateway keeps what nobody acknowledges')

    disk!.free()
    const { served } = house.far.unit(1)
    const last = served.length
    await eventually(
      () => {
        const got = new Set(countsOf(stream.events))
        return served.slice(0, last).every(({ value }) => got.has(value))
      },
      'every value is there',
      60_000,
    )
    const counts = countsOf(stream.events)
    expect(new Set(counts).size).toBe(counts.length)
    expect(house.log.filter(({ code }) => code === 'SLUICE_LINK_HOLE' || code === 'SLUICE_LINK_GAP')).toEqual([])
    await house.patchDevice('drive', { spec: { desired: { speed: 6 } } })
    await house.devices.until('drive', (d) => twinOf(d, 'speed')?.state === 'synced', 'a write works again', 60_000)
  })
})

/** What can happen to a file while nobody runs. */
const DAMAGES: Readonly<Record<string, (file: string) => void>> = {
  'cut in half': (file) => truncateSync(file, Math.floor(statSync(file).size / 2)),
  'overwritten from the start': (file) => overwrite(file, 0, 8192),
  'overwritten in the middle': (file) => overwrite(file, 4096, Math.max(4096, statSync(file).size - 8192)),
  'replaced by a few foreign bytes': (file) => writeFileSync(file, 'this is no database\n'),
}

function overwrite(file: string, at: number, length: number): void {
  const handle = openSync(file, 'r+')
  try {
    writeSync(handle, Buffer.alloc(length, 0xa5), 0, length, at)
  } finally {
    closeSync(handle)
  }
}

/** The copy of the file as it was, and whether it lies beside. */
function damage(file: string, how: (file: string) => void): { setAside(): string[] } {
  // A log that is still there would heal some of it.
  for (const suffix of ['-wal', '-shm']) if (existsSync(file + suffix)) truncateSync(file + suffix, 0)
  copyFileSync(file, `${file}.before`)
  how(file)
  return {
    setAside: () =>
      readdirSync(dirname(file)).filter((name) => new RegExp(`^${basename(file)}\\.(corrupt|damaged)-`).test(name)),
  }
}

describe('a database that was damaged', { timeout: 120_000 }, () => {
  it.each(Object.entries(DAMAGES))('at the gateway, %s, is set aside and told; everything goes on', async (_, how) => {
    await using house = await Assembly.start()
    house.tellOnFailure()
    const dataDir = join(house.folder, 'gateway')
    await house.createModel('counter', counterModel)
    await house.createDevice('drive', { ...house.counterDevice(), desired: { speed: 41 } })
    await using stream = readStream(house.endpoint, {}, '0')
    {
      await using _agent = await house.startAgent({ dataDir })
      await house.devices.until('drive', (d) => twinOf(d, 'speed')?.state === 'synced', 'speed is written')
    }
    const { setAside } = damage(join(dataDir, 'agent.db'), how)
    const before = house.far.unit(1).served.length
    await using agent = await house.startAgent({ dataDir })
    await stream.until((e) => isReported(e) && e.property === 'count' && Number(e.value) > before, 'it counts on')
    expect(setAside().length).toBeGreaterThanOrEqual(1)
    expect(house.logged('SLUICE_STORE_CORRUPT')).toMatchObject({ file: expect.stringContaining('agent.db') })
    expect(agent.core.store.setAside).toContain('agent.db')
    await house.devices.until('drive', (d) => twinOf(d, 'speed')?.state === 'synced', 'speed is still in force')
    expect(house.far.unit(1).holding.get(0)).toBe(41)
    const counts = countsOf(stream.events)
    expect(new Set(counts).size).toBe(counts.length)
  })

  it.each(Object.entries(DAMAGES))('in the cloud, %s, is set aside and told; gateways come back', async (_, how) => {
    await using house = await Assembly.start()
    house.tellOnFailure()
    await house.createModel('counter', counterModel)
    await house.createDevice('drive', { ...house.counterDevice(), desired: { speed: 42 } })
    /** Damages a file while nothing runs; everything that is started anew has no reason to wait before it connects. */
    const damaged = async (file: string): Promise<ReturnType<typeof damage>> => {
      await agent[Symbol.asyncDispose]()
      await house.stopCloud()
      const done = damage(join(house.cloudData, file), how)
      await house.startCloud()
      agent = await house.startAgent()
      return done
    }
    let agent = await house.startAgent()
    await house.devices.until('drive', (d) => twinOf(d, 'speed')?.state === 'synced', 'speed is written')
    const hub = await damaged('hub.db')
    expect(hub.setAside()).toHaveLength(1)
    await using stream = readStream(house.endpoint, {}, '0')
    const before = house.far.unit(1).served.length
    await stream.until((e) => isReported(e) && e.property === 'count' && Number(e.value) > before, 'it counts on')
    await house.patchDevice('drive', { spec: { desired: { speed: 43 } } })
    await house.devices.until('drive', (d) => twinOf(d, 'speed')?.reported?.value === 43, 'the next write')
    expect(house.log.filter(({ message }) => /set aside/.test(message))).toHaveLength(1)

    const api = await damaged(join('api', 'api.db'))
    expect(api.setAside()).toHaveLength(1)
    expect(house.log.some(({ file, message }) => `${file} ${message}`.includes('api.db'))).toBe(true)
    // The API is empty now, and with it what the gateway has to hold; a person applies the manifests again.
    await house.makeNamespace()
    await house.createModel('counter', counterModel)
    await house.createDevice('drive', { ...house.counterDevice(), desired: { speed: 44 } })
    await house.devices.until('drive', (d) => twinOf(d, 'speed')?.reported?.value === 44, 'everything again')
    expect(house.far.unit(1).holding.get(0)).toBe(44)

    const joins = await damaged('join.db')
    expect(joins.setAside()).toHaveLength(1)
    await eventually(() => house.logged('SLUICE_JOIN_CERT_UNKNOWN'), 'a certificate nobody remembers is refused')
    await agent[Symbol.asyncDispose]()
    await using again = await house.startAgent({ dataDir: join(house.folder, 'gateway-again') })
    await eventually(() => again.link?.status.connected, 'joining again helps')
  })
})
