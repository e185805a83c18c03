import type { Clock, Timer } from '../../../api/clock.ts'
import { toSluiceError } from '../../../api/errors.ts'
import type { PodLinkObject } from '../../../api/link/messages.ts'
import type { LinkPod } from '../../../api/link/pods.ts'
import type { ObjectKey } from '../../../api/resources.ts'
import type { HostEvent } from '../../../mappers/sdk/mapper.ts'
import { collectImages } from '../images/collector.ts'
import { LOG_LIMITS, rotateLogs } from '../logs/rotation.ts'
import type { PodRuntime, SandboxState } from '../runtimes/runtime.ts'
import { chooseVictim, evictionWords } from './eviction.ts'
import { overLimit, type PodDisk } from './pod-disk.ts'
import { everyContainerOf } from './pod-parts.ts'
import { type NodeSupplies, PressureBoard, type Shortage, shortages } from './pressure.ts'

export interface HousekeepingOptions {
  readonly clock: Clock
  /** Knows every sandbox. */
  readonly runtime: PodRuntime
  /** Those that have images. */
  readonly stores: () => readonly PodRuntime['images'][]
  readonly objects: () => readonly PodLinkObject[]
  readonly supplies: () => NodeSupplies
  readonly disk: PodDisk
  /** Ends a pod for good, and remembers that: `Evicted: words`. */
  readonly evict: (pod: LinkPod, why: string) => void
  readonly onEvent: (event: HostEvent & { readonly pod?: true }) => void
  /** Pressures have come or gone. */
  readonly onPressure: () => void
}

const TICK_MS = 10_000
/** Images, and what is on the disk, are looked at with every so-manieth look. */
const IMAGES_EVERY = 30
const DISK_EVERY = 6

/**
 * What a gateway does for itself beside its pods: rotates their logs, removes images that nobody uses from a full disk, tells what is
 * short, and ends one pod after the other until it is not.
 */
export class Housekeeping implements AsyncDisposable {
  readonly board = new PressureBoard()
  readonly #options: HousekeepingOptions
  readonly #stop = new AbortController()
  #timer: Timer | undefined
  #round = 0
  #looking: Promise<void> | undefined
  #told = ''

  constructor(options: HousekeepingOptions) {
    this.#options = options
    this.#arm()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the agent stops'))
    this.#timer?.cancel()
    await this.#looking
  }

  /** One look; what goes wrong is told, and tried again with the next. */
  async look(): Promise<void> {
    const { runtime, clock, supplies, onEvent } = this.#options
    const { signal } = this.#stop
    const round = this.#round++
    try {
      const sandboxes = await runtime.list(signal)
      await rotateLogs(runtime, sandboxes, LOG_LIMITS, clock.now(), signal)
      let short = shortages(supplies())
      const disk = short.some(({ kind }) => kind === 'DiskPressure')
      if (disk || round % IMAGES_EVERY === 0) {
        await this.#collect(sandboxes, disk)
        short = shortages(supplies())
      }
      this.board.saw(short, clock.now())
      this.#tell()
      if (short.length > 0) await this.#relieve(short[0]!, sandboxes)
      else if (round % DISK_EVERY === 0) await this.#limits(sandboxes)
    } catch (thrown) {
      if (signal.aborted) return
      onEvent({
        about: 'gateway',
        type: 'Warning',
        reason: 'HousekeepingFailed',
        message: toSluiceError(thrown).message,
      })
    }
  }

  #arm(): void {
    this.#timer = this.#options.clock.after(
      TICK_MS,
      () => {
        this.#looking = this.look().finally(() => {
          if (!this.#stop.signal.aborted) this.#arm()
        })
      },
      true,
    )
  }

  #tell(): void {
    const now = this.board.any.map(({ kind }) => kind).sort()
    const text = now.join()
    if (text === this.#told) return
    this.#told = text
    this.#options.onPressure()
  }

  async #collect(sandboxes: readonly SandboxState[], atOnce: boolean): Promise<void> {
    const { stores, objects, supplies, clock, onEvent } = this.#options
    const { signal } = this.#stop
    const inUse = new Set(sandboxes.flatMap(({ containers }) => containers.map(({ imageId }) => imageId)))
    const names = new Set(
      objects().flatMap((one) => (one.kind === 'Pod' ? everyContainerOf(one.object).map(({ image }) => image) : [])),
    )
    for (const images of stores()) {
      // Also what a pod is about to use: without a network it could not be had again.
      for (const name of names) {
        const image = await images.find(name, signal).catch(() => undefined)
        if (image !== undefined) inUse.add(image.id)
      }
      const { removed, lackingBytes } = await collectImages(images, inUse, supplies().disk, clock.now(), signal, {
        atOnce,
      })
      if (removed.length > 0) {
        const message = `Removed images that no pod uses from a full disk: ${removed.slice(0, 10).join(', ')}`
        onEvent({ about: 'gateway', type: 'Normal', reason: 'ImagesRemoved', message })
      } else if (lackingBytes > 0) {
        const message = `The disk is full, and every image is in use; ${Math.ceil(lackingBytes / 1024 ** 2)} MiB should be free. Remove pods or files`
        onEvent({ about: 'gateway', type: 'Warning', reason: 'ImageGCFailed', message })
      }
    }
  }

  async #relieve(shortage: Shortage, sandboxes: readonly SandboxState[]): Promise<void> {
    const { runtime, disk } = this.#options
    const stats = new Map((await runtime.stats(this.#stop.signal)).map((one) => [one.podUid, one]))
    const running = this.#running(sandboxes)
    const candidates = await Promise.all(
      running.map(async ({ key, pod }) => ({
        ...{ uid: pod.uid, pod, stats: stats.get(pod.uid) },
        diskBytes: shortage.kind === 'DiskPressure' ? (await disk.use(key, pod, this.#stop.signal)).bytes : 0,
      })),
    )
    const victim = chooseVictim(shortage, candidates)
    if (victim !== undefined) this.#evict(victim.pod, evictionWords(shortage))
  }

  /** Pods that fill more than they said they would. */
  async #limits(sandboxes: readonly SandboxState[]): Promise<void> {
    for (const { key, pod } of this.#running(sandboxes)) {
      const why = await overLimit(this.#options.disk, key, pod, this.#stop.signal)
      if (why !== undefined) this.#evict(pod, why)
    }
  }

  #running(sandboxes: readonly SandboxState[]): { key: ObjectKey; pod: LinkPod }[] {
    const uids = new Set(
      sandboxes
        .filter(({ containers }) => containers.some(({ state }) => state === 'running'))
        .map(({ podUid }) => podUid),
    )
    return this.#options
      .objects()
      .flatMap((one) => (one.kind === 'Pod' && uids.has(one.object.uid) ? [{ key: one.key, pod: one.object }] : []))
  }

  #evict(pod: LinkPod, why: string): void {
    this.#options.evict(pod, `Evicted: ${why}`)
  }
}
