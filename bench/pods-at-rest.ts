import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { busyboxImage } from '../agent/pods/images/busybox.test-helper.ts'
import { ProcessRuntime } from '../agent/pods/runtimes/process/runtime.ts'
import { systemClock } from '../api/clock.ts'
import type { PodStatusItem } from '../api/link/pods.ts'
import { type BenchOptions, type Figure, residentMiB } from './harness.ts'

const PODS = 50
const BUDGET_PERCENT = 1

/** Fifty pods that sleep: what the process that keeps them uses of one core, and its memory. */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  if (process.getuid?.() !== 0) throw new Error('pods of their own users need root')
  const folder = await mkdtemp('/tmp/sluice-bench-rest-')
  await chmod(folder, 0o711)
  let keeper: ChildProcess | undefined
  try {
    using image = busyboxImage()
    await using importing = new ProcessRuntime({
      folder: join(folder, 'pods'),
      clock: systemClock,
      onTrouble: () => {},
    })
    await importing.images.import(image.folder, undefined, AbortSignal.timeout(60_000))
    const file = join(folder, 'objects.json')
    const objects = Array.from({ length: PODS }, (_, at) => ({
      ...{ kind: 'Pod', key: `bench/p${at}`, rev: '1' },
      object: {
        ...{ uid: `rest-${process.pid}-${at}`, generation: 1, metadata: {} },
        spec: { containers: [{ name: 'main', image: 'test/busybox:1' }], terminationGracePeriodSeconds: 0 },
      },
    }))
    await writeFile(file, JSON.stringify(objects))
    const program = new URL('../agent/pods/life/agent.test-process.ts', import.meta.url).pathname
    keeper = spawn(process.execPath, [program, folder, file], { stdio: ['ignore', 'pipe', 'inherit'] })
    const running = new Set<string>()
    for await (const line of createInterface(keeper.stdout!)) {
      const { uid, status } = JSON.parse(line) as PodStatusItem
      if (status.phase === 'Running') running.add(uid)
      if (running.size === PODS) break
    }
    keeper.stdout!.resume()
    await pause(3000)
    const seconds = quick ? 20 : 60
    const before = await cpuSeconds(keeper.pid!)
    await pause(seconds * 1000)
    const percent = (((await cpuSeconds(keeper.pid!)) - before) / seconds) * 100
    return [
      {
        ...{ bench: 'pods-at-rest', figure: `${PODS} pods at rest: of one core`, value: percent, unit: '%' },
        ...{ budget: `<= ${BUDGET_PERCENT} %`, ok: percent <= BUDGET_PERCENT },
      },
      {
        bench: 'pods-at-rest',
        figure: `${PODS} pods at rest: memory of what keeps them, run from its sources`,
        value: await residentMiB(keeper.pid!),
        unit: 'MiB',
        ok: true,
      },
    ]
  } finally {
    keeper?.kill('SIGKILL')
    const last = new ProcessRuntime({ folder: join(folder, 'pods'), clock: systemClock, onTrouble: () => {} })
    for (const { id } of await last.list()) await last.removeSandbox(id, AbortSignal.timeout(60_000))
    await last[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Of all its threads, to the nanosecond (`/proc/PID/task/TID/schedstat`): ticks of 10 ms would be a tenth of what is measured. */
async function cpuSeconds(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`)
  const used = threads.map(async (thread) => {
    const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'latin1')
    return Number(text.split(' ')[0])
  })
  return (await Promise.all(used)).reduce((sum, one) => sum + one, 0) / 1e9
}
