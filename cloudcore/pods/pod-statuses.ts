import { createHash } from 'node:crypto'
import type { Clock } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { PodStatus, PodStatusItem } from '../../api/link/pods.ts'
import { type ObjectKey, splitKey } from '../../api/resources.ts'
import type { KubeClient } from '../kube/client.ts'
import { objectPath, PODS } from '../kube/paths.ts'
import { Coalescer } from '../twins/coalescer.ts'
import type { BoundPod } from './pod-objects.ts'

export interface PodStatusesOptions {
  readonly client: Pick<KubeClient, 'patch' | 'delete'>
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly pod: (key: ObjectKey) => BoundPod | undefined
  /** Whether a pod that is not in the API will be: a mirror of what this gateway runs from a file. */
  readonly expects?: (gateway: string, key: ObjectKey, uid: string) => boolean
  /** Address of a gateway in its own network, as it told it. */
  readonly hostIp: (gateway: string) => string | undefined
  /** A gateway spoke of pods that are not its own. */
  readonly onRefused: (gateway: string, strangers: readonly ObjectKey[], count: number) => void
  readonly onTrouble: (what: string, error: SluiceError) => void
}

interface Told {
  readonly item: PodStatusItem
  readonly gateway: string
  /** What was written last of it. */
  written: string
}

const STATUS_EVERY_MS = 1000

/**
 * What gateways tell of their pods, as the kubelet writes it: the status into `pods/status`, and for a pod that was to
 * end and of which nothing runs any more, the deletion without grace that takes the object away.
 */
export class PodStatuses {
  readonly #options: PodStatusesOptions
  readonly #told = new Map<ObjectKey, Told>()
  readonly #writer: Coalescer

  constructor(options: PodStatusesOptions) {
    this.#options = options
    const { clock, signal, onTrouble } = options
    this.#writer = new Coalescer({
      ...{ clock, signal, intervalMs: STATUS_EVERY_MS, parallel: 4 },
      write: (key) => this.#write(key),
      onRefused: (key, error) => onTrouble(`status of pod ${key}`, error),
    })
  }

  told(gateway: string, items: readonly PodStatusItem[]): void {
    const strangers: ObjectKey[] = []
    let refused = 0
    for (const item of items) {
      const pod = this.#options.pod(item.key)
      // Nobody is harmed by news of a pod that is gone: a gateway that was away tells it, and learns so.
      if (pod === undefined) {
        if (this.#options.expects?.(gateway, item.key, item.uid) === true)
          this.#told.set(item.key, unwritten(item, gateway))
        continue
      }
      const uid = pod.mirrorOf ?? pod.uid
      if (pod.gateway !== gateway || uid !== item.uid) {
        if (this.#options.expects?.(gateway, item.key, item.uid) === true) {
          this.#told.set(item.key, unwritten(item, gateway))
          continue
        }
        refused++
        // Of one that had the same name before, it may still have something to tell.
        if (uid === item.uid) strangers.push(item.key)
        continue
      }
      const before = this.#told.get(item.key)
      this.#told.set(item.key, { item, gateway, written: before?.item.uid === item.uid ? before.written : '' })
      // What somebody may wait for is not held up; the rest can wait for what comes right after it.
      if (before === undefined || turned(before.item, item)) this.#writer.hurry(item.key)
      else this.#writer.markDirty(item.key)
    }
    if (refused > 0) this.#options.onRefused(gateway, strangers, refused)
  }

  /** The object has changed: it may be that it is to end now, and the gateway has said already that nothing runs. */
  podChanged({ key, leaving, mirrorOf }: BoundPod): void {
    const told = this.#told.get(key)
    const isNew = mirrorOf !== undefined && told?.item.uid === mirrorOf && told.written === ''
    if (isNew || (leaving && told?.item.gone === true)) this.#writer.hurry(key)
  }

  podRemoved(key: ObjectKey): void {
    const told = this.#told.get(key)
    if (told !== undefined && this.#options.expects?.(told.gateway, key, told.item.uid) === true) {
      // Its mirror comes again, and what was told of it is as true as before.
      told.written = ''
      return
    }
    this.#told.delete(key)
    this.#writer.forget(key)
  }

  /** Resolves once everything told is written; for an orderly stop. */
  drained(signal: AbortSignal): Promise<void> {
    return this.#writer.drained(signal)
  }

  async #write(key: ObjectKey): Promise<unknown> {
    const told = this.#told.get(key)
    const pod = this.#options.pod(key)
    if (told === undefined || pod === undefined || pod.gateway !== told.gateway) return false
    if ((pod.mirrorOf ?? pod.uid) !== told.item.uid) return false
    const { client, hostIp } = this.#options
    const { namespace, name } = splitKey(key)
    const status = statusPatch(told.item.status, pod, hostIp(told.gateway))
    const digest = createHash('sha1').update(JSON.stringify(status)).digest('base64url')
    const ends = told.item.gone && pod.leaving
    if (digest === told.written && !ends) return false
    try {
      if (digest !== told.written) {
        // The uid keeps it from a successor of the same name.
        const body = { metadata: { uid: pod.uid }, status }
        const query = { fieldManager: 'sluice-cloudcore' }
        await client.patch(objectPath(PODS, name, namespace, 'status'), 'strategic', body, { query })
        told.written = digest
      }
      if (!ends) return true
      const body = { gracePeriodSeconds: 0, preconditions: { uid: pod.uid } }
      await client.delete(objectPath(PODS, name, namespace), { body })
    } catch (thrown) {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_NOT_FOUND') throw thrown
    }
    return true
  }
}

const unwritten = (item: PodStatusItem, gateway: string): Told => ({ item, gateway, written: '' })

const readiness = ({ status }: PodStatusItem): string | undefined =>
  status.conditions.find(({ type }) => type === 'Ready')?.status

const turned = (before: PodStatusItem, now: PodStatusItem): boolean =>
  before.status.phase !== now.status.phase || readiness(before) !== readiness(now) || before.gone !== now.gone

/**
 * The status as a strategic merge patch: conditions are merged by type, so that those of others stay; what is not said
 * any more is taken away. The quality of service is the API server's to say.
 */
export function statusPatch(
  status: PodStatus,
  { scheduled }: Pick<BoundPod, 'scheduled'>,
  hostIp: string | undefined,
): object {
  const { phase, reason, message, startTime, podIP, conditions } = status
  const { containerStatuses, initContainerStatuses, ephemeralContainerStatuses } = status
  const replaced = (ip: string) => [{ $patch: 'replace' }, { ip }]
  return {
    phase,
    reason: reason ?? null,
    message: message ?? null,
    ...(startTime === undefined ? {} : { startTime }),
    podIP: podIP ?? null,
    podIPs: podIP === undefined ? null : replaced(podIP),
    ...(hostIp === undefined ? {} : { hostIP: hostIp, hostIPs: [{ ip: hostIp }] }),
    conditions: conditions
      // Since when it is scheduled knows whoever scheduled it.
      .filter(({ type }) => type !== 'PodScheduled' || !scheduled)
      .map(({ type, status: is, reason: why, message: words, lastTransitionTime }) => ({
        ...{ type, status: is, reason: why ?? null, message: words ?? null, lastTransitionTime },
      })),
    containerStatuses: containerStatuses ?? [],
    ...(initContainerStatuses === undefined ? {} : { initContainerStatuses }),
    ...(ephemeralContainerStatuses === undefined ? {} : { ephemeralContainerStatuses }),
  }
}
