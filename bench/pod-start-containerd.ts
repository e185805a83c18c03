import { once } from 'node:events'
import { join } from 'node:path'
import { busyboxImage } from '../agent/pods/images/busybox.test-helper.ts'
import { Channel } from '../agent/pods/runtimes/containerd/channel.ts'
import { CRI } from '../agent/pods/runtimes/containerd/cri.ts'
import { ContainerdHouse, missingForContainerd } from '../agent/pods/runtimes/containerd/house.test-helper.ts'
import { containerConfig, sandboxConfig } from '../agent/pods/runtimes/containerd/specs.ts'
import type { ImageState } from '../agent/pods/runtimes/runtime.ts'
import { plainContainer, plainSandbox } from '../agent/pods/runtimes/specs.test-helper.ts'
import { PodStarts } from './far-side/pod-starts.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const P50_BUDGET_MS = 250
const P99_BUDGET_MS = 600
const EXEC_BUDGET_MS = 60
const FORWARD_BUDGET_MBIT = 200
/** KubeEdge's own report of one million pods (2022), from creation to running: p99. */
const KUBEEDGE_P99_MS = 4087
const IMAGE = 'test/busybox:1'

/**
 * From the object of a bound pod, with its image there, to a status that says Running, with containerd, runc and a bridge
 * network; in turn with what containerd itself takes for the same three calls, which is the floor. Then a command in a pod,
 * from asking to its exit code, and bytes through a forwarded port. In namespaces of its own.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const missing = missingForContainerd()
  if (missing !== undefined) throw new Error(missing)
  const signal = AbortSignal.timeout(quick ? 120_000 : 300_000)
  const rounds = quick ? 10 : 100
  await using house = await ContainerdHouse.start()
  const { folder } = house.machine
  await using runtime = await house.open()
  using image = busyboxImage()
  const [state] = await runtime.images.import(image.archive, undefined, signal)
  await using starts = new PodStarts(runtime, folder)
  using channel = await Channel.open(house.socket, 'k8s.io')
  const [floors, ours, execs, execFloors]: [number[], number[], number[], number[]] = [[], [], [], []]
  for (let round = 0; round <= rounds; round++) {
    const { tookMs, sandbox } = await starts.start(IMAGE, signal)
    const { id: containerId } = sandbox.containers[0]!
    const commands = [() => command(runtime, containerId, signal), () => commandFloor(channel, containerId, signal)]
    // In turn the first: what comes second finds the files of the program in memory.
    const order = round % 2 === 0 ? [0, 1] : [1, 0]
    const took: number[] = []
    for (const at of order) took[at] = await commands[at]!()
    await starts.clear(signal)
    const floorMs = await floor(
      channel,
      `floor-${round}`,
      state!,
      join(folder, 'logs'),
      house.machine.cgroupBase,
      signal,
    )
    // The first one makes the network and unpacks the image.
    if (round === 0) continue
    ours.push(tookMs)
    execs.push(took[0]!)
    execFloors.push(took[1]!)
    floors.push(floorMs)
  }
  const forwarded = await forward(starts, runtime, quick ? 64 : 256, signal)
  await starts.clear(signal)
  const [p50, p99, floor50, floor99] = [
    percentile(ours, 0.5),
    percentile(ours, 0.99),
    percentile(floors, 0.5),
    percentile(floors, 0.99),
  ]
  const [exec, execFloor] = [percentile(execs, 0.5), percentile(execFloors, 0.5)]
  const bench = 'pod-start-containerd'
  return [
    {
      ...{ bench, figure: 'containerd: bound pod to Running, p50', value: p50, unit: 'ms' },
      ...{ peer: `its own three calls: ${floor50.toFixed(0)} ms`, ratio: p50 / floor50 },
      ...{ budget: `<= ${P50_BUDGET_MS} ms`, ok: p50 <= P50_BUDGET_MS },
    },
    {
      ...{ bench, figure: 'containerd: bound pod to Running, p99', value: p99, unit: 'ms' },
      ...{ peer: `its own three calls: ${floor99.toFixed(0)} ms; KubeEdge publishes ${KUBEEDGE_P99_MS}` },
      ...{ ratio: p99 / floor99, budget: `<= ${P99_BUDGET_MS} ms`, ok: p99 <= P99_BUDGET_MS },
    },
    {
      ...{ bench, figure: 'containerd: a command, round trip, p50', value: exec, unit: 'ms' },
      ...{ peer: `its own call, without streams: ${execFloor.toFixed(0)} ms`, ratio: exec / execFloor },
      ...{ budget: `<= ${EXEC_BUDGET_MS} ms`, ok: exec <= EXEC_BUDGET_MS },
    },
    {
      ...{ bench, figure: 'containerd: a forwarded port, from the pod', value: forwarded, unit: 'Mbit/s' },
      ...{ budget: `>= ${FORWARD_BUDGET_MBIT} Mbit/s`, ok: forwarded >= FORWARD_BUDGET_MBIT },
    },
  ]
}

/** What the engine takes by itself for such a pod: its three calls, with what the agent says in them. */
async function floor(
  channel: Channel,
  name: string,
  image: ImageState,
  logDirectory: string,
  cgroupBase: string,
  signal: AbortSignal,
): Promise<number> {
  const spec = plainSandbox(logDirectory, { name })
  const config = sandboxConfig(spec, { owner: 'floor', cgroupParent: `/${cgroupBase}/${name}` })
  const container = containerConfig(plainContainer(image), spec, 'floor')
  const startMs = performance.now()
  const { id: sandboxId } = await channel.call(CRI.runSandbox, { config }, { signal })
  const made = { sandboxId, sandboxConfig: config, config: container }
  const { id } = await channel.call(CRI.createContainer, made, { signal })
  await channel.call(CRI.startContainer, { id }, { signal })
  const tookMs = performance.now() - startMs
  await channel.call(CRI.stopSandbox, { id: sandboxId }, { signal })
  await channel.call(CRI.removeSandbox, { id: sandboxId }, { signal })
  return tookMs
}

/** From asking for a command to its exit code, as `kubectl exec` and probes run it, ms. */
async function command(
  runtime: Awaited<ReturnType<ContainerdHouse['open']>>,
  id: string,
  signal: AbortSignal,
): Promise<number> {
  const startMs = performance.now()
  await using session = await runtime.exec(id, { command: ['/bin/true'], stdin: false, tty: false }, signal)
  if ((await session.exited) !== 0) throw new Error('the command failed')
  return performance.now() - startMs
}

/** The same command by the engine's one call that waits for its end and streams nothing, ms. */
async function commandFloor(channel: Channel, id: string, signal: AbortSignal): Promise<number> {
  const startMs = performance.now()
  const { exitCode } = await channel.call(CRI.execSync, { id, command: ['/bin/true'], timeoutS: 30 }, { signal })
  if (exitCode !== 0) throw new Error('the command failed')
  return performance.now() - startMs
}

/** Megabits a second out of a pod through a forwarded port. */
async function forward(
  starts: PodStarts,
  runtime: Awaited<ReturnType<ContainerdHouse['open']>>,
  mebibytes: number,
  signal: AbortSignal,
): Promise<number> {
  const { sandbox } = await starts.start(IMAGE, signal)
  const image = (await runtime.images.find(IMAGE, signal))!
  const command = ['sh', '-c', `nc -l -p 8080 -e dd if=/dev/zero bs=1M count=${mebibytes}`]
  const id = await runtime.createContainer(sandbox.id, plainContainer(image, { name: 'source', command }), signal)
  await runtime.startContainer(id, signal)
  for (;;) {
    const connection = await runtime.portForward(sandbox.id, 8080, signal)
    const startMs = performance.now()
    let bytes = 0
    connection.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    const refused = await Promise.race([
      once(connection, 'end').then(() => false),
      new Promise<boolean>((resolve) => connection.once('error', () => resolve(true))),
    ])
    const seconds = (performance.now() - startMs) / 1000
    connection.destroy()
    // The program says nothing when it begins to listen.
    if (refused || bytes === 0) continue
    if (bytes !== mebibytes * 1024 ** 2) throw new Error(`${bytes} bytes came`)
    return (bytes * 8) / 1e6 / seconds
  }
}
