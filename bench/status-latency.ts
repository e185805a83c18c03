import { setTimeout as pause } from 'node:timers/promises'
import { systemClock } from '../api/clock.ts'
import type { Device } from '../api/resources.ts'
import { collectionPath, DEVICES } from '../cloudcore/kube/paths.ts'
import { watchResource } from '../cloudcore/kube/watch.ts'
import { addressOf, BenchHouse } from './far-side/house.ts'
import { startFarSide } from './far-side/process.ts'
import { ageOf, type BenchOptions, type Figure, machineMs, percentile } from './harness.ts'

const bench = 'status-latency'
const DEVICE_COUNT = 20
const CHANGE_EVERY_MS = 2000
/** KubeEdge v1.23.1 on this kind of machine, median of the time from its mapper's call to the watch event, milliseconds. */
const RECORDED = new Map([
  [1, { ms: 9.3, words: 'KubeEdge, recorded: one property' }],
  [50, { ms: 77, words: 'KubeEdge, recorded: ten properties' }],
])

/**
 * Twenty devices that each change every two seconds, read every 100 ms over Modbus TCP: from the moment the far side
 * answers with the new value until a watch of the Kubernetes API shows all of it in `Device.status`. Each device was
 * quiet for longer than the second that the cloud core keeps between two patches of one device.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const figures: Figure[] = []
  for (const properties of RECORDED.keys()) figures.push(...(await measure(properties, quick ? 8 : 60)))
  return figures
}

async function measure(count: number, seconds: number): Promise<Figure[]> {
  const args = [CHANGE_EVERY_MS, DEVICE_COUNT].map(String)
  await using far = await startFarSide(new URL('./far-side/registers.ts', import.meta.url), args)
  await using house = await BenchHouse.open()
  const properties = Array.from({ length: count }, (_, i) => ({
    name: `r${i}`,
    type: 'int',
    modbus: { holding: 1000 + i },
  }))
  await house.createModel('quiet', properties)
  for (let i = 0; i < DEVICE_COUNT; i++) {
    const spec = { model: 'quiet', poll: { every: '100ms' }, ...addressOf(i, Number(far.ready['port'])) }
    await house.createDevice(`quiet-${i}`, spec)
  }
  await house.startAgent()
  const shown = new Map<string, number>()
  const ages: number[] = []
  let measuring = false
  const closing = new AbortController()
  const watch = watchResource<Device, true>(
    house.kube,
    collectionPath(DEVICES, 'default'),
    {
      upsert({ metadata: { name }, status }) {
        const atMs = machineMs()
        const values = status?.twins?.map((twin) => twin.reported?.value) ?? []
        const [stamp] = values
        if (typeof stamp !== 'number' || values.length < count || values.some((value) => value !== stamp)) return
        if (shown.get(name) === stamp) return
        const first = !shown.has(name)
        shown.set(name, stamp)
        if (measuring && !first) ages.push(ageOf(stamp, atMs))
      },
      remove: () => undefined,
    },
    { clock: systemClock, signal: closing.signal, keep: () => true },
  )
  await watch.synced
  await pause(3 * CHANGE_EVERY_MS)
  measuring = true
  await pause(seconds * 1000)
  measuring = false
  closing.abort()
  await watch.done
  const expected = (DEVICE_COUNT * seconds * 1000) / CHANGE_EVERY_MS
  const complete = ages.length >= 0.9 * expected
  const what = `first change of a quiet device to its status, ${count} ${count === 1 ? 'property' : 'properties'}`
  const [p50, p99] = [percentile(ages, 0.5), percentile(ages, 0.99)]
  const { ms, words } = RECORDED.get(count)!
  return [
    { bench, figure: `${what}, p50`, value: p50, unit: 'ms', peer: words, ratio: p50 / ms, ok: complete },
    { bench, figure: `${what}, p99`, value: p99, unit: 'ms', budget: '<= 30', ok: complete && p99 <= 30 },
    { bench, figure: `${what}, changes seen of ${expected}`, value: ages.length, unit: '', ok: complete },
  ]
}
