import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../../api/clock.ts'
import { missingForPods } from '../images/busybox.test-helper.ts'
import { ContainerdHouse, missingForContainerd } from './containerd/house.test-helper.ts'
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

function processHouse(): Promise<House> {
  const folder = mkdtempSync('/tmp/sluice-contract-')
  chmodSync(folder, 0o711)
  const logs = join(folder, 'logs')
  mkdirSync(logs)
  const onTrouble = (error: Error) => {
    throw error
  }
  return Promise.resolve({
    logs,
    open: () => Promise.resolve(new ProcessRuntime({ folder: join(folder, 'pods'), clock: systemClock, onTrouble })),
    [Symbol.asyncDispose]: () => Promise.resolve(rmSync(folder, { recursive: true, force: true })),
  })
}

const houseOf = (house: ContainerdHouse | PodmanHouse): House => ({
  logs: join(house.machine.folder, 'logs'),
  open: () => house.open(),
  daemon: { kill: () => house.kill(), up: () => house.up() },
  [Symbol.asyncDispose]: () => house[Symbol.asyncDispose](),
})
