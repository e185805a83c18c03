import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../../api/clock.ts'
import { missingForPods } from '../images/busybox.test-helper.ts'
import { ContainerdHouse, missingForContainerd } from './containerd/house.test-helper.ts'
import { clearLeftBehind, ownFolder } from './left-behind.test-helper.ts'
import { missingForPodman, PodmanHouse } from './podman/house.test-helper.ts'
import { ProcessRuntime } from './process/runtime.ts'
import type { PodRuntime } from './runtime.ts'

/** A runtime and what it stands on. */
export interface House extends AsyncDisposable {
  readonly logs: string
  open(): Promise<PodRuntime>
  /** Where a daemon is behind it, which may end and come back. */
  readonly daemon?: { kill(): Promise<void>; up(): Promise<void> }
}

/** Every runtime that is held to the contract. */
export const HOUSES: readonly {
  readonly name: string
  readonly missing: string | undefined
  readonly build: () => Promise<House>
}[] = [
  { name: 'process', missing: missingForPods(), build: processHouse },
  { name: 'containerd', missing: missingForContainerd(), build: async () => houseOf(await ContainerdHouse.start()) },
  { name: 'podman', missing: missingForPodman(), build: async () => houseOf(await PodmanHouse.start()) },
]

const KIND = 'contract'

const processRuntime = (folder: string, onTrouble: (error: Error) => void) =>
  new ProcessRuntime({ folder: join(folder, 'pods'), clock: systemClock, onTrouble })

/** Ends what runs in it: nothing else would, since nobody is the parent of pods. */
async function clearProcesses(folder: string): Promise<void> {
  if (!existsSync(join(folder, 'pods'))) return
  await using last = processRuntime(folder, () => {})
  for (const { id } of await last.list()) await last.removeSandbox(id, AbortSignal.timeout(30_000))
}

async function processHouse(): Promise<House> {
  await clearLeftBehind(KIND, clearProcesses)
  const folder = ownFolder(KIND)
  const logs = join(folder, 'logs')
  mkdirSync(logs)
  const onTrouble = (error: Error) => {
    throw error
  }
  return {
    logs,
    open: () => Promise.resolve(processRuntime(folder, onTrouble)),
    async [Symbol.asyncDispose]() {
      await clearProcesses(folder)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const houseOf = (house: ContainerdHouse | PodmanHouse): House => ({
  logs: join(house.machine.folder, 'logs'),
  open: () => house.open(),
  daemon: { kill: () => house.kill(), up: () => house.up() },
  [Symbol.asyncDispose]: () => house[Symbol.asyncDispose](),
})
