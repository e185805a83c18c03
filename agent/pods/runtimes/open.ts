import { join } from 'node:path'
import type { Clock } from '../../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../../api/errors.ts'
import { readMirrors } from '../images/mirrors.ts'
import { fetchImage } from '../images/registry.ts'
import { RuntimesByClass } from './by-class.ts'
import { ProcessRuntime } from './process/runtime.ts'
import type { PodRuntime } from './runtime.ts'
import { openWasmRuntime } from './wasm/runtime.ts'

export interface OpenRuntimesOptions {
  readonly folder: string
  readonly clock: Clock
  readonly cgroupRoot?: string
  readonly onTrouble: (error: SluiceError) => void
}

/** The runtimes of this gateway: the usual one, and beside it one for pods of the class `wasm`. */
export function openRuntimes(options: OpenRuntimesOptions): RuntimesByClass {
  const mirrorsFile = join(options.folder, 'registries.json')
  const usual = new ProcessRuntime({
    ...options,
    // Read with every pull: who changes the file does not have to start anything anew.
    fetch: async (reference, auth, folder, signal) =>
      await fetchImage(reference, auth, folder, signal, readMirrors(mirrorsFile)),
  })
  const others = new Map<string, PodRuntime | SluiceError>()
  try {
    others.set('wasm', openWasmRuntime({ ...options, folder: join(options.folder, 'wasm'), images: usual.images }))
  } catch (thrown) {
    others.set('wasm', toSluiceError(thrown))
  }
  return new RuntimesByClass(usual, others)
}
