import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { AgentCore } from '../core.ts'
import type { Log } from '../log.ts'
import { mapperStorage } from '../mappers/storage.ts'
import type { StreamHandler } from '../streams/host.ts'
import type { PodAdmission } from './admission.ts'
import type { PodKeeper } from './life/keeper.ts'
import type { RuntimesByClass } from './runtimes/by-class.ts'
import type { PodRuntime } from './runtimes/runtime.ts'

/** What `--pods` takes. */
const POD_MODES = ['off', 'auto', 'process'] as const

/** Which runtime a mode means on this machine; undefined: no pods run here. Looks at two files and loads nothing. */
export function podRuntimeOf(mode: string | undefined, fileExists: (path: string) => boolean = existsSync) {
  if (mode === undefined || mode === 'off') return undefined
  if (mode === 'process') return 'process'
  if (mode === 'auto') return fileExists('/usr/bin/bwrap') || fileExists('/bin/bwrap') ? 'process' : undefined
  throw new SluiceError('SLUICE_POD_MODE', `'${mode}' is no way to run pods`, {
    hint: `Give one of ${POD_MODES.join(', ')}.`,
  })
}

export interface PodsOptions {
  readonly core: AgentCore
  readonly clock: Clock
  readonly log: Log
  readonly gateway: string
  /** Folder of images, sandboxes, volumes and logs. */
  readonly folder: string
  readonly cgroupRoot?: string
}

/** The pods of a gateway, once they are needed. */
export interface Pods extends AsyncDisposable {
  /** Undefined until the runtime is up; it comes up with the first pod, or when something is left of one. */
  readonly runtime: PodRuntime | undefined
  /** What serves a stream that the hub asks for: logs, exec, attach, portForward, stats. */
  streams(kind: string): Promise<StreamHandler | undefined>
  /** The runtime, started now if it was not: for images. */
  open(): Promise<PodRuntime>
}

/**
 * Runs pods. Neither the runtime nor what keeps pods is loaded before there is one: a gateway that may run pods and has
 * none costs nothing.
 */
export function openPods(options: PodsOptions): Pods {
  const { core, log } = options
  let opened: Promise<Started> | undefined
  let running: Started | undefined
  let disposed = false
  let handlers: ((kind: string) => StreamHandler | undefined) | undefined

  const open = () => {
    opened ??= start(options).then((started) => {
      running = started
      if (!disposed) started.keeper.wake()
      return started
    })
    return opened
  }
  const needed = () => {
    if (running !== undefined) {
      running.admission.forgetOthers()
      running.keeper.wake()
      return
    }
    if (!core.objects.podObjects().some(({ kind }) => kind === 'Pod') && !existsSync(sandboxFolder(options.folder)))
      return
    open().catch((thrown: unknown) => {
      const { code, message, hint } = toSluiceError(thrown)
      log('error', message, { code, hint: hint ?? '' })
      core.notices.record({
        about: 'gateway',
        type: 'Warning',
        reason: 'PodRuntimeMissing',
        message: hint === undefined ? message : `${message}. ${hint}`,
      })
      // Asked again with the next object: somebody may have installed it.
      opened = undefined
    })
  }
  const unsubscribe = [core.onPodObjects(needed), core.tether.onChange(() => running?.keeper.wake())]
  needed()
  return {
    get runtime() {
      return running?.runtime
    },
    async streams(kind) {
      const { podStreams } = await import('../streams/pod-streams.ts')
      handlers ??= podStreams(() => running?.runtime.all ?? [])
      return handlers(kind)
    },
    open: async () => (await open()).runtime,
    async [Symbol.asyncDispose]() {
      disposed = true
      for (const each of unsubscribe) each()
      const started = await opened?.catch(() => undefined)
      await started?.keeper[Symbol.asyncDispose]()
      await started?.runtime[Symbol.asyncDispose]()
    },
  }
}

const sandboxFolder = (folder: string): string => join(folder, 'sandboxes')

interface Started {
  readonly runtime: RuntimesByClass
  readonly keeper: PodKeeper
  readonly admission: PodAdmission
}

async function start(options: PodsOptions): Promise<Started> {
  const { core, clock, log, folder, gateway } = options
  const [{ openRuntimes }, { PodKeeper }, { nodeFacts }, { ADMISSION_STORE, PodAdmission }] = await Promise.all([
    import('./runtimes/open.ts'),
    import('./life/keeper.ts'),
    import('./life/node.ts'),
    import('./admission.ts'),
  ])
  const runtime = openRuntimes({
    folder,
    clock,
    ...(options.cgroupRoot === undefined ? {} : { cgroupRoot: options.cgroupRoot }),
    onTrouble: ({ code, message }) => log('warn', message, { code }),
  })
  await importArchives(runtime, join(folder, 'import'), log)
  const admission = new PodAdmission({
    storage: mapperStorage(core.store, ADMISSION_STORE),
    stage: () => core.podStage,
    limits: () => core.gatewaySpec?.pods,
    pods: () => core.objects.podObjects().flatMap((one) => (one.kind === 'Pod' ? [one.object] : [])),
  })
  const keeper = new PodKeeper({
    runtime,
    runtimeOf: (pod) => runtime.of(pod),
    clock,
    board: core.pods!,
    objects: () => core.objects.podObjects(),
    leash: () => core.tether.leash,
    node: nodeFacts(gateway),
    folders: {
      disk: join(folder, 'volumes'),
      memory: existsSync('/dev/shm')
        ? join('/dev/shm', `sluice-pods-${process.getuid?.() ?? 0}`, gateway)
        : join(folder, 'volumes'),
      logs: join(folder, 'logs'),
    },
    refuse: (pod) => admission.refuse(pod),
    onEvent: (event) => core.notices.record(event),
  })
  return { runtime, keeper, admission }
}

/** Images for gateways without a registry; an archive is removed once its image is in place. */
async function importArchives(runtime: PodRuntime, folder: string, log: Log): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(folder).filter((each) => /\.(tar|oci)$/.test(each))) {
    try {
      const images = await runtime.images.import(join(folder, name), undefined, AbortSignal.timeout(IMPORT_MS))
      rmSync(join(folder, name))
      log('info', `Imported ${images.flatMap((image) => image.names).join(', ')}`, { archive: name })
    } catch (thrown) {
      const { code, message, hint } = toSluiceError(thrown)
      log('warn', `${name}: ${message}`, { code, hint: hint ?? '' })
    }
  }
}

const IMPORT_MS = 600_000
