import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { busyboxImage } from '../agent/pods/images/busybox.test-helper.ts'
import { wasmArtifact } from '../agent/pods/images/wasm.test-helper.ts'
import { PodKeeper } from '../agent/pods/life/keeper.ts'
import { ProcessRuntime } from '../agent/pods/runtimes/process/runtime.ts'
import { openWasmRuntime } from '../agent/pods/runtimes/wasm/runtime.ts'
import { PodStatusBoard } from '../agent/pods/status-board.ts'
import { systemClock } from '../api/clock.ts'
import type { PodLinkObject } from '../api/link/messages.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const BUDGET_MS = 40
const WASM_BUDGET_MS = 100
const EXEC_BUDGET_MS = 60
/** KubeEdge's own report of one million pods (2022): p50 1 688 ms, p99 4 087 ms from creation to running. */
const KUBEEDGE_P50_MS = 1688

/** A module that does nothing: `_start` returns (WebAssembly core specification, 5.5). */
const EMPTY_MODULE = Buffer.from(
  '0061736d01000000' +
    '01040160000003020100' +
    '0503010001' +
    '07130206' +
    '6d656d6f7279' +
    '0200' +
    '06' +
    '5f7374617274' +
    '0000' +
    '0a040102000b',
  'hex',
)

interface Start {
  /** From the object to a status that says so, ms. */
  readonly startMs: number
  /** From the object until its program has run to its end, ms; of one that does nothing. */
  readonly execMs: number | undefined
}

/**
 * From the object of a bound pod, with its image there, to a status that says Running; and a command in it, from asking
 * to its exit code. Everything in between is real: the plan, bubblewrap, control groups. Of a WebAssembly pod, whose module does
 * nothing, the time until it has ended: it is Running before Node is.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  if (process.getuid?.() !== 0) throw new Error('pods of their own users need root')
  const rounds = quick ? 20 : 100
  const native = await starts(rounds, 'process')
  const wasm = await starts(rounds, 'wasm')
  const [p50, p99] = [0.5, 0.99].map((at) =>
    percentile(
      native.map(({ startMs }) => startMs),
      at,
    ),
  ) as [number, number]
  const exec = percentile(
    native.flatMap(({ execMs }) => execMs ?? []),
    0.5,
  )
  const module = percentile(
    wasm.map(({ startMs }) => startMs),
    0.5,
  )
  return [
    {
      ...{ bench: 'pod-start', figure: 'process runtime: bound pod to Running, p50', value: p50, unit: 'ms' },
      ...{ peer: 'KubeEdge, published', ratio: p50 / KUBEEDGE_P50_MS },
      ...{ budget: `<= ${BUDGET_MS} ms`, ok: p50 <= BUDGET_MS },
    },
    {
      ...{ bench: 'pod-start', figure: 'process runtime: bound pod to Running, p99', value: p99, unit: 'ms' },
      ok: true,
    },
    {
      ...{ bench: 'pod-start', figure: 'process runtime: a command, round trip, p50', value: exec, unit: 'ms' },
      ...{ budget: `<= ${EXEC_BUDGET_MS} ms`, ok: exec <= EXEC_BUDGET_MS },
    },
    {
      ...{
        bench: 'pod-start',
        figure: 'WebAssembly: bound pod to the end of its module, p50',
        value: module,
        unit: 'ms',
      },
      ...{ budget: `<= ${WASM_BUDGET_MS} ms`, ok: module <= WASM_BUDGET_MS },
    },
  ]
}

async function starts(rounds: number, kind: 'process' | 'wasm'): Promise<readonly Start[]> {
  const folder = await mkdtemp('/tmp/sluice-bench-pods-')
  await chmod(folder, 0o711)
  const objects: PodLinkObject[] = []
  const signal = AbortSignal.timeout(120_000)
  let told = () => {}
  const board = new PodStatusBoard(() => told())
  await using process = new ProcessRuntime({ folder: join(folder, 'pods'), clock: systemClock, onTrouble: () => {} })
  await using wasm = openWasmRuntime({
    ...{ folder: join(folder, 'wasm'), clock: systemClock, images: process.images, onTrouble: () => {} },
  })
  const runtime = kind === 'wasm' ? wasm : process
  await using keeper = new PodKeeper({
    runtime,
    clock: systemClock,
    board,
    objects: () => objects,
    leash: () => ({ begins: true, ownWill: true, work: 'runs' }),
    node: { name: 'bench', hostIp: '127.0.0.1', allocatableCpu: 1, allocatableMemoryBytes: 2 ** 30 },
    folders: { disk: join(folder, 'disk'), memory: join(folder, 'memory'), logs: join(folder, 'logs') },
    refuse: () => undefined,
    onEvent: () => {},
  })
  // Nothing of what keeps pods keeps a process alive by itself.
  using _alive = setInterval(() => {}, 60_000)
  const all: Start[] = []
  const name = `test/${kind}:1`
  const wanted = kind === 'wasm' ? 'Succeeded' : 'Running'
  try {
    using image = kind === 'wasm' ? wasmArtifact(EMPTY_MODULE, name) : busyboxImage({ name })
    await runtime.images.import(image.folder, undefined, signal)
    for (let round = 0; round <= rounds; round++) {
      const uid = `bench-${globalThis.process.pid}-${kind}-${round}`
      const reached = new Promise<void>((resolve) => {
        told = () => {
          if (board.list().some((item) => item.uid === uid && item.status.phase === wanted)) resolve()
        }
      })
      const beganMs = performance.now()
      const containers = [{ name: 'main', image: name }]
      objects.splice(0, objects.length, {
        ...{ kind: 'Pod', key: `bench/p${round}`, rev: '1' },
        object: {
          ...{ uid, generation: 1, metadata: {} },
          spec: { containers, terminationGracePeriodSeconds: 0, restartPolicy: 'Never' },
        },
      })
      keeper.wake()
      await reached
      const startMs = performance.now() - beganMs
      const execMs = kind === 'wasm' ? undefined : await command(runtime, uid, signal)
      // The first one makes the groups and fills the page cache.
      if (round > 0) all.push({ startMs, execMs })
    }
  } finally {
    objects.splice(0, objects.length)
    for (const { id } of await runtime.list()) await runtime.removeSandbox(id, signal)
    await rm(folder, { recursive: true, force: true })
  }
  return all
}

async function command(runtime: ProcessRuntime, uid: string, signal: AbortSignal): Promise<number> {
  const [sandbox] = (await runtime.list()).filter(({ podUid }) => podUid === uid)
  const beganMs = performance.now()
  const wanted = { command: ['/bin/true'], stdin: false, tty: false }
  await using session = await runtime.exec(sandbox!.containers[0]!.id, wanted, signal)
  let complaint = ''
  session.stderr?.on('data', (chunk: Buffer) => {
    complaint += chunk.toString('utf8')
  })
  if ((await session.exited) !== 0) throw new Error(`the command failed: ${complaint}`)
  return performance.now() - beganMs
}
