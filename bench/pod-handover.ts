import type { Device } from '../api/resources.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, EVENTS, objectPath } from '../cloudcore/kube/paths.ts'
import { farSide } from '../test/harness/far-side.ts'
import { counterModel } from '../test/harness/fleet.ts'
import { PodHouse } from '../test/harness/pod-house.ts'
import { eventually } from '../test/harness/until.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const bench = 'pod-handover'
const PARTS = [
  'the fence is taken: the other has the next term',
  'asked to end',
  'gone, its successor made and placed',
  'runs there',
] as const

interface PodEvent {
  readonly reason?: string
  readonly involvedObject?: { readonly uid?: string }
}

/**
 * A Modbus device is moved between two gateways, and the pod that needs it follows: real cloud core, agents and processes.
 * Each part from the one before; a figure of each, because each is somebody else's: roaming, the scheduler's next look and
 * its hold, the pod's own grace, and the start. A term is on the
 * hub's disk before anybody hears of it. Parts are what the API shows, looked at every 20 ms.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  await using far = await farSide()
  await using house = await PodHouse.start({ gateways: ['gw-a', 'gw-b'] })
  const { kube, namespace } = house
  await kube.create(collectionPath(DEVICE_MODELS, namespace), {
    ...{ apiVersion: 'sluice.dev/v1alpha1', kind: 'DeviceModel', metadata: { name: 'counter' }, spec: counterModel },
  })
  await kube.create(collectionPath(DEVICES, namespace), {
    ...{ apiVersion: 'sluice.dev/v1alpha1', kind: 'Device', metadata: { name: 'meter' } },
    spec: {
      ...{ model: 'counter', nodeName: 'gw-a', poll: { every: '100ms' } },
      modbus: { tcp: { host: '127.0.0.1', port: far.port }, unit: 1 },
    },
  })
  const path = objectPath(DEVICES, 'meter', namespace)
  const device = () => kube.get<Device>(path)
  const told = ({ status }: Device) =>
    (status?.twins ?? []).flatMap(({ name, reported }) => (reported?.value === undefined ? [] : [name]))
  await eventually(async () => {
    const found = await device()
    return found.status?.gateway === 'gw-a' && told(found).length > 0
  }, 'gw-a serves the meter')
  await house.createPod('reader', {}, { annotations: { 'sluice.dev/device': 'meter' } })
  await house.running('reader', 'gw-a')
  const samples: number[][] = PARTS.map(() => [])
  const totals: number[] = []
  const firstValues: number[] = []
  const moved = new Set<string>()
  let unknown = 0
  for (let round = 0; round < (quick ? 2 : 10); round++) {
    const to = round % 2 === 0 ? 'gw-b' : 'gw-a'
    // A pod stays some seconds before it is moved again.
    await new Promise((resolve) => setTimeout(resolve, 6_000))
    const old = (await house.pod('reader'))!.metadata.uid
    const before = await device()
    const term = before.status?.roaming?.term ?? 0
    let servedAt = 0
    let ownValueMs: number | undefined
    const startMs = performance.now()
    const seenMs: number[] = []
    const see = (part: number, is: boolean) => {
      if (is) seenMs[part] ??= performance.now()
    }
    await kube.patch(path, 'merge', { spec: { nodeName: to } })
    await eventually(
      async () => {
        const [found, pod] = await Promise.all([device(), house.pod('reader')])
        const serves = found.status?.gateway === to && (found.status.roaming?.term ?? 0) > term
        if (serves && seenMs[0] === undefined) {
          servedAt = Date.now()
          unknown += told(before).filter((name) => !told(found).includes(name)).length
        }
        see(0, serves)
        // Whatever is younger than the term was read by the gateway that has it.
        const youngest = (found.status?.twins ?? [])
          .map(({ reported }) => Date.parse(reported?.at ?? ''))
          .filter(Boolean)
        if (serves && Math.max(...youngest) > servedAt) ownValueMs ??= performance.now() - startMs
        const isOld = pod?.metadata.uid === old
        see(1, !isOld || pod.metadata.deletionTimestamp !== undefined)
        if (pod === undefined || isOld) return false
        moved.add(pod.metadata.uid)
        see(2, pod.spec.nodeName === to)
        see(3, pod.spec.nodeName === to && pod.status.phase === 'Running')
        return seenMs[3] !== undefined && ownValueMs !== undefined
      },
      `the pod runs on ${to}`,
      60_000,
    )
    for (const part of PARTS.keys()) samples[part]!.push(seenMs[part]! - (part === 0 ? startMs : seenMs[part - 1]!))
    firstValues.push(ownValueMs!)
    totals.push(seenMs[3]! - startMs)
  }
  const doubled = house.begun('reader').length - new Set(house.begun('reader')).size
  const events = (await kube.list<PodEvent>(collectionPath(EVENTS, namespace))).items
  const fetched = events.filter(
    ({ reason, involvedObject }) => reason === 'Pulled' && moved.has(involvedObject?.uid ?? ''),
  ).length
  return [
    ...PARTS.map((of, index): Figure => {
      const value = percentile(samples[index]!, 0.5)
      return { bench, figure: `handover of a device and its pod: ${of}, p50`, value, unit: 'ms', ok: true }
    }),
    {
      ...{
        bench,
        figure: `handover of a device and its pod, all of it, p50 of ${totals.length}`,
        unit: 'ms',
        ok: true,
      },
      value: percentile(totals, 0.5),
    },
    {
      ...{ bench, figure: 'a value that the other read is in the API, from the change on, p50', unit: 'ms', ok: true },
      value: percentile(firstValues, 0.5),
    },
    {
      ...{ bench, figure: 'properties without a value when the other serves', value: unknown, unit: 'properties' },
      ...{ budget: '0', ok: unknown === 0 },
    },
    {
      ...{ bench, figure: `images fetched for ${totals.length} handovers; both have it`, value: fetched },
      ...{ unit: 'images', budget: '0', ok: fetched === 0 },
    },
    { bench, figure: 'pods begun twice', value: doubled, unit: 'pods', budget: '0', ok: doubled === 0 },
  ]
}
