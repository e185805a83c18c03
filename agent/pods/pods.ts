import { existsSync } from 'node:fs'
import type { Clock, Timer } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import { NODE_PRESSURES, type NodePressure } from '../../api/schema/node-conditions.ts'
import type { AgentCore } from '../core.ts'
import type { Log } from '../log.ts'
import type { StreamHandler } from '../streams/host.ts'
import { type RuntimeChoice, runtimeFolders } from './runtimes/choice.ts'
import type { PodRuntime } from './runtimes/runtime.ts'
import type { PodShop } from './start.ts'

export interface PodsOptions {
  readonly core: AgentCore
  readonly clock: Clock
  readonly log: Log
  readonly gateway: string
  /** What runs them. */
  readonly choice: RuntimeChoice
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
  /** What pods share, and whether it is short; nothing before there was a pod. */
  pressures(): readonly { readonly type: NodePressure; readonly short: boolean; readonly words: string }[]
  /** The runtime, started now if it was not: for images. */
  open(): Promise<PodRuntime>
}

/**
 * Runs pods. Neither the runtime nor what keeps pods is loaded before there is one: a gateway that may run pods and has
 * none costs nothing.
 */
export function openPods(options: PodsOptions): Pods {
  const { core, log } = options
  let opened: Promise<PodShop> | undefined
  let running: PodShop | undefined
  let disposed = false
  let again: Timer | undefined
  /** Why there is no runtime, once that was told. */
  let told: string | undefined
  let handlers: ((kind: string) => StreamHandler | undefined) | undefined

  const open = () => {
    opened ??= import('./start.ts')
      .then(({ startPods }) => startPods(options))
      .then((started) => {
        running = started
        if (!disposed) started.changed()
        return started
      })
    return opened
  }
  const needed = () => {
    again?.cancel()
    if (running !== undefined) {
      running.changed()
      return
    }
    if (
      !core.objects.podObjects().some(({ kind }) => kind === 'Pod') &&
      !runtimeFolders(options.folder).some((path) => existsSync(path))
    )
      return
    open().catch((thrown: unknown) => {
      const { code, message, hint } = toSluiceError(thrown)
      const words = hint === undefined ? message : `${message}. ${hint}`
      if (words !== told) {
        log('error', message, { code, hint: hint ?? '' })
        core.notices.record({ about: 'gateway', type: 'Warning', reason: 'PodRuntimeMissing', message: words })
      }
      told = words
      opened = undefined
      // Somebody may install it, and after a reboot an engine may be slower than the agent.
      if (!disposed) again = options.clock.after(AGAIN_MS, needed, true)
    })
  }
  const unsubscribe = [core.onPodObjects(needed), core.tether.onChange(() => running?.changed())]
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
    pressures: () =>
      running === undefined
        ? []
        : NODE_PRESSURES.map((type) => {
            const words = running?.housekeeping.board.get(type)?.words
            return { type, short: words !== undefined, words: words ?? '' }
          }),
    open: async () => (await open()).runtime,
    async [Symbol.asyncDispose]() {
      disposed = true
      again?.cancel()
      for (const each of unsubscribe) each()
      const started = await opened?.catch(() => undefined)
      await started?.[Symbol.asyncDispose]()
    },
  }
}

const AGAIN_MS = 15_000
