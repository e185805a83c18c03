import { busyboxImage } from '../agent/pods/images/busybox.test-helper.ts'
import { missingForPodman, PodmanHouse } from '../agent/pods/runtimes/podman/house.test-helper.ts'
import { PodStarts } from './far-side/pod-starts.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const EXEC_BUDGET_MS = 60

/** The same as with containerd, with podman: for machines that have it anyway. In namespaces of its own. */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const missing = missingForPodman()
  if (missing !== undefined) throw new Error(missing)
  const signal = AbortSignal.timeout(quick ? 120_000 : 300_000)
  const rounds = quick ? 5 : 40
  await using house = await PodmanHouse.start()
  await using runtime = await house.open()
  using image = busyboxImage()
  await runtime.images.import(image.archive, undefined, signal)
  await using starts = new PodStarts(runtime, house.machine.folder)
  const [took, execs]: [number[], number[]] = [[], []]
  for (let round = 0; round <= rounds; round++) {
    const { tookMs, sandbox } = await starts.start('test/busybox:1', signal)
    const execMs = performance.now()
    const command = { command: ['/bin/true'], stdin: false, tty: false }
    await using session = await runtime.exec(sandbox.containers[0]!.id, command, signal)
    if ((await session.exited) !== 0) throw new Error('the command failed')
    const execTookMs = performance.now() - execMs
    await starts.clear(signal)
    // The first one makes the network.
    if (round === 0) continue
    took.push(tookMs)
    execs.push(execTookMs)
  }
  const exec = percentile(execs, 0.5)
  const bench = 'pod-start-podman'
  return [
    { bench, figure: 'podman: bound pod to Running, p50', value: percentile(took, 0.5), unit: 'ms', ok: true },
    { bench, figure: 'podman: bound pod to Running, p99', value: percentile(took, 0.99), unit: 'ms', ok: true },
    {
      ...{ bench, figure: 'podman: a command, round trip, p50', value: exec, unit: 'ms' },
      ...{ peer: 'the budget of the other runtimes', ratio: exec / EXEC_BUDGET_MS, ok: true },
    },
  ]
}
