import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../../api/errors.ts'
import { readMirrors } from '../images/mirrors.ts'
import { fetchImage } from '../images/registry.ts'
import { FolderImages } from '../images/store.ts'
import { RuntimesByClass } from './by-class.ts'
import type { ChosenRuntime, RuntimeChoice } from './choice.ts'
import { ProcessRuntime } from './process/runtime.ts'
import type { PodRuntime } from './runtime.ts'
import { openWasmRuntime } from './wasm/runtime.ts'

export interface OpenRuntimesOptions {
  readonly choice: RuntimeChoice
  readonly gateway: string
  readonly folder: string
  readonly clock: Clock
  readonly cgroupRoot?: string
  readonly onTrouble: (error: SluiceError) => void
}

const OPEN_MS = 20_000

/**
 * The runtimes of this gateway: the usual one, and beside it those for pods that name them as their class. Rejects when
 * the usual one cannot be had.
 */
export async function openRuntimes(options: OpenRuntimesOptions): Promise<RuntimesByClass> {
  const { choice, folder, clock } = options
  const [usual, ...named] = choice
  const images = new FolderImages({
    folder: join(folder, 'images'),
    clock,
    // The file is read with every pull: who changes it does not have to start anything anew.
    fetch: async (reference, auth, to, signal) =>
      await fetchImage(reference, auth, to, signal, readMirrors(join(folder, 'registries.json'))),
  })
  const runtime = await openRuntime(usual, images, options)
  const others = new Map<string, PodRuntime | SluiceError>()
  const add = async (name: string, open: () => PodRuntime | Promise<PodRuntime>) => {
    try {
      others.set(name, await open())
    } catch (thrown) {
      others.set(name, toSluiceError(thrown))
    }
  }
  // What another runtime still runs from before stays in sight: its pods would run twice otherwise.
  const left: ChosenRuntime[] = usual.name !== 'process' && hasSandboxes(folder) ? [{ name: 'process' }] : []
  for (const other of [...named, ...left]) {
    if (!others.has(other.name)) await add(other.name, () => openRuntime(other, images, options))
  }
  await add('wasm', () => openWasmRuntime({ ...options, folder: join(folder, 'wasm'), images }))
  return new RuntimesByClass(runtime, others)
}

const hasSandboxes = (folder: string): boolean =>
  existsSync(join(folder, 'sandboxes')) && readdirSync(join(folder, 'sandboxes')).length > 0

async function openRuntime(
  { name, socket }: ChosenRuntime,
  images: FolderImages,
  options: OpenRuntimesOptions,
): Promise<PodRuntime> {
  const { folder, clock, gateway, cgroupRoot } = options
  if (name === 'process') return new ProcessRuntime({ ...options, images })
  const engine = {
    owner: gateway,
    folder: join(folder, name),
    clock,
    ...(socket === undefined ? {} : { socket }),
    ...(cgroupRoot === undefined ? {} : { cgroupRoot }),
  }
  const signal = AbortSignal.timeout(OPEN_MS)
  if (name === 'podman') {
    const { PodmanRuntime } = await import('./podman/runtime.ts')
    return await PodmanRuntime.open(engine, signal)
  }
  const { ContainerdRuntime } = await import('./containerd/runtime.ts')
  return await ContainerdRuntime.open(engine, signal)
}
