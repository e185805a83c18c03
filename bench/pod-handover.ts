import type { Device } from '../api/resources.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, objectPath } from '../cloudcore/kube/paths.ts'
import { farSide } from '../test/harness/far-side.ts'
import { counterModel } from '../test/harness/fleet.ts'
import { PodHouse } from '../test/harness/pod-house.ts'
import { eventually } from '../test/harness/until.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const bench = 'pod-handover'
const PARTS = ['device served by the other', 'asked to end', 'gone', 'runs there'] as const

/**
 * A Modbus device is moved between two gateways, and the pod that needs it follows: real cloud core, agents and processes.
 * Each part from the one before; a figure of each, because each is somebody else's: roaming, the scheduler's next look and
 * its hold, the pod's own grace, and the start.
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
  const served = async (by: string) => (await kube.get<Device>(path)).status?.gateway === by
  await eventually(() => served('gw-a'), 'gw-a serves the meter')
  await house.createPod('reader', {}, { annotations: { 'sluice.dev/device': 'meter' } })
  await house.running('reader', 'gw-a')
  const samples: number[][] = PARTS.map(() => [])
  const totals: number[] = []
  for (let round = 0; round < (quick ? 2 : 10); round++) {
    const to = round % 2 === 0 ? 'gw-b' : 'gw-a'
    // A pod stays some seconds before it is moved again.
    await new Promise((resolve) => setTimeout(resolve, 6_000))
    const startMs = performance.now()
    let lastMs = startMs
    const part = (index: number) => {
      const nowMs = performance.now()
      samples[index]!.push(nowMs - lastMs)
      lastMs = nowMs
    }
    const old = (await house.pod('reader'))!.metadata.uid
    await kube.patch(path, 'merge', { spec: { nodeName: to } })
    await eventually(() => served(to), `${to} serves it`)
    part(0)
    const still = async () => (await house.pod('reader'))?.metadata
    await eventually(async () => {
      const found = await still()
      return found === undefined || found.uid !== old || found.deletionTimestamp !== undefined
    }, 'asked to end')
    part(1)
    await eventually(async () => (await still())?.uid !== old, 'the old one is gone')
    part(2)
    await house.running('reader', to, 60_000)
    part(3)
    totals.push(performance.now() - startMs)
  }
  const doubled = house.begun('reader').length - new Set(house.begun('reader')).size
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
    { bench, figure: 'pods begun twice', value: doubled, unit: 'pods', budget: '0', ok: doubled === 0 },
  ]
}
