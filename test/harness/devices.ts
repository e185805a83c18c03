import { systemClock } from '../../api/clock.ts'
import type { Device, DeviceTwin } from '../../api/resources.ts'
import type { KubeClient } from '../../cloudcore/kube/client.ts'
import { collectionPath, DEVICES } from '../../cloudcore/kube/paths.ts'
import { watchResource } from '../../cloudcore/kube/watch.ts'
import { until } from './until.ts'

/** Follows the devices of a namespace through the API's watch, across restarts of the API. */
export interface DeviceWatch extends AsyncDisposable {
  readonly synced: Promise<void>
  readonly cache: ReadonlyMap<string, Device>
  /** Every time a resourceVersion was lower than one of the same object before: has to stay empty. */
  readonly wentBack: readonly string[]
  /** Resolves with the device as soon as it is as wanted. */
  until(name: string, wants: (device: Device) => boolean, what: string, timeoutMs?: number): Promise<Device>
  untilGone(name: string): Promise<void>
}

export function watchDevices(client: KubeClient, namespace: string): DeviceWatch {
  const stop = new AbortController()
  const listeners = new Set<(device: Device | undefined) => void>()
  const newest = new Map<string, number>()
  const wentBack: string[] = []
  const tell = (device: Device | undefined) => {
    for (const listener of [...listeners]) listener(device)
  }
  const watch = watchResource<Device, Device>(
    client,
    collectionPath(DEVICES, namespace),
    {
      upsert(device) {
        const { uid = '', name, resourceVersion } = device.metadata
        const version = Number(resourceVersion)
        const before = newest.get(uid) ?? 0
        if (version < before) wentBack.push(`${name}: ${version} after ${before}`)
        newest.set(uid, Math.max(version, before))
        tell(device)
      },
      remove: () => tell(undefined),
    },
    { clock: systemClock, signal: stop.signal, keep: (device) => device },
  )
  const subscribe = (push: (device: Device | undefined) => void) => {
    listeners.add(push)
    return () => void listeners.delete(push)
  }
  const held = (name: string) => watch.cache.get(`${namespace}/${name}`)
  return {
    synced: watch.synced,
    cache: watch.cache,
    wentBack,
    async until(name, wants, what, timeoutMs = 30_000) {
      const now = held(name)
      if (now !== undefined && wants(now)) return now
      try {
        const accept = (device: Device | undefined) => device?.metadata.name === name && wants(device)
        return (await until(subscribe, accept, what, timeoutMs))!
      } catch (error) {
        const last = held(name)
        throw new Error(`${String(error)}; last: ${JSON.stringify({ spec: last?.spec, status: last?.status })}`)
      }
    },
    async untilGone(name) {
      if (held(name) === undefined) return
      await until(subscribe, () => held(name) === undefined, `${name} is gone`)
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await watch.done
    },
  }
}

export const twinOf = (device: Device | undefined, property: string): DeviceTwin | undefined =>
  device?.status?.twins?.find(({ name }) => name === property)

export const conditionOf = (device: Device, type: string) =>
  device.status?.conditions?.find((condition) => condition.type === type)
