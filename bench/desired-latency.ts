import { setTimeout as pause } from 'node:timers/promises'
import type { Device } from '../api/resources.ts'
import { DEVICES, objectPath } from '../cloudcore/kube/paths.ts'
import { addressOf, BenchHouse } from './far-side/house.ts'
import { startFarSide } from './far-side/process.ts'
import { type BenchOptions, type Figure, machineMs, percentile } from './harness.ts'

const bench = 'desired-latency'
const DEVICE_COUNT = 10
/** KubeEdge v1.23.1 on this kind of machine, 100 devices: median and p95 to its mapper's call, before any wire. */
const RECORDED = { ms: 10.2, words: "KubeEdge, recorded: median from the patch to its mapper's call" }

/**
 * Changes of `spec.desired`, one after the other over ten devices that are polled twice a second meanwhile: from sending
 * the patch to the Kubernetes API until the bytes of the write arrive at the device's socket.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const rounds = quick ? 200 : 1000
  await using far = await startFarSide(new URL('./far-side/registers.ts', import.meta.url))
  await using house = await BenchHouse.open()
  await house.createModel('drive', [
    { name: 'speed', type: 'int', access: 'readwrite', modbus: { holding: 2000 } },
    { name: 'current', type: 'int', modbus: { holding: 10 } },
  ])
  const names = Array.from({ length: DEVICE_COUNT }, (_, i) => `drive-${i}`)
  for (const [index, name] of names.entries()) {
    const spec = { model: 'drive', poll: { every: '500ms' }, ...addressOf(index, Number(far.ready['port'])) }
    await house.createDevice(name, spec)
  }
  await house.startAgent()
  await pause(3000)
  const fromSent: number[] = []
  const fromAnswer: number[] = []
  const patch = async (round: number) => {
    const value = 1 + (round % 60_000)
    const written = far.next((message) => message['value'] === value, 5000)
    const sentMs = machineMs()
    const path = objectPath(DEVICES, names[round % names.length]!, 'default')
    const answered = house.kube
      .patch<Device>(path, 'merge', { spec: { desired: { speed: value } } })
      .then(() => machineMs())
    const atMs = Number((await written)['atMs'])
    return { sent: atMs - sentMs, answer: atMs - (await answered) }
  }
  for (let round = 0; round < rounds + 20; round++) {
    const { sent, answer } = await patch(round)
    if (round >= 20) {
      fromSent.push(sent)
      fromAnswer.push(answer)
    }
    await pause(10 + (round % 10))
  }
  const [p50, p99] = [percentile(fromSent, 0.5), percentile(fromSent, 0.99)]
  const what = 'desired value, patch sent to bytes at the device'
  return [
    {
      bench,
      figure: `${what}, p50`,
      value: p50,
      unit: 'ms',
      peer: RECORDED.words,
      ratio: p50 / RECORDED.ms,
      budget: '<= 8',
      ok: p50 <= 8,
    },
    { bench, figure: `${what}, p99`, value: p99, unit: 'ms', budget: '<= 15', ok: p99 <= 15 },
    { bench, figure: `${what}, worst of ${rounds}`, value: percentile(fromSent, 1), unit: 'ms', ok: true },
    {
      bench,
      figure: "from the patch's answer to bytes at the device, p50",
      value: percentile(fromAnswer, 0.5),
      unit: 'ms',
      ok: true,
    },
  ]
}
