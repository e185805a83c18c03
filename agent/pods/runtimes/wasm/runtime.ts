import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../../../api/clock.ts'
import type { SluiceError } from '../../../../api/errors.ts'
import type { FolderImages } from '../../images/store.ts'
import { ProcessRuntime } from '../process/runtime.ts'
import { HOST_PROGRAM } from './host.ts'
import { wasmBox } from './kind.ts'

export interface WasmRuntimeOptions {
  /** Of its sandboxes; made when missing. */
  readonly folder: string
  readonly clock: Clock
  readonly images: FolderImages
  readonly cgroupRoot?: string
  readonly onTrouble: (error: SluiceError) => void
}

/** WebAssembly modules as containers; see `wasmBox`. Needs what the process runtime needs, and throws as it does. */
export function openWasmRuntime(options: WasmRuntimeOptions): ProcessRuntime {
  const { folder, images } = options
  mkdirSync(folder, { recursive: true, mode: 0o711 })
  const hostFile = join(folder, 'host.mjs')
  writeFileSync(hostFile, HOST_PROGRAM, { mode: 0o644 })
  return new ProcessRuntime({ ...options, kind: wasmBox(hostFile, (id) => images.rootOf(id)) })
}
