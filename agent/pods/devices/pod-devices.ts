import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../../api/errors.ts'
import type { PodLinkObject } from '../../../api/link/messages.ts'
import type { LinkPod } from '../../../api/link/pods.ts'
import { type ObjectKey, objectKey, splitKey } from '../../../api/resources.ts'
import type { DeviceMount, Mount } from '../runtimes/runtime.ts'
import { deviceNodes, type NodeRules } from './nodes.ts'
import { type DeviceRequests, deviceRequests } from './requests.ts'
import { type TwinAccess, TwinSocket } from './twin-socket.ts'

/** Where a pod finds the sockets of its devices: `NAME.sock`. */
export const SOCKET_FOLDER = '/run/sluice'

export interface PodDevicesOptions {
  /** One folder a pod below it, named by its uid. */
  readonly folder: string
  readonly access: TwinAccess
  readonly rules: NodeRules
  readonly onTrouble: (error: unknown) => void
}

/** What a container gets of what its pod asked for. */
export interface Attached {
  readonly mounts: readonly Mount[]
  readonly devices: readonly DeviceMount[]
  /** Groups that own the device nodes. */
  readonly groups: readonly number[]
  readonly env: readonly (readonly [name: string, value: string])[]
}

export const NOTHING: Attached = { mounts: [], devices: [], groups: [], env: [] }

/**
 * Devices that pods asked for. The sockets follow the pods that are wanted, so that an agent that begins anew opens them again where
 * pods that run look for them.
 */
export class PodDevices implements AsyncDisposable {
  readonly #options: PodDevicesOptions
  readonly #sockets = new Map<string, Promise<TwinSocket>>()

  constructor(options: PodDevicesOptions) {
    this.#options = options
    mkdirSync(options.folder, { recursive: true, mode: 0o711 })
  }

  /** Opens and closes sockets for these pods. */
  async follow(objects: readonly PodLinkObject[]): Promise<void> {
    const wanted = new Map<string, () => Promise<unknown>>()
    for (const one of objects) {
      if (one.kind !== 'Pod') continue
      for (const { name, write } of asked(one.object).devices) {
        wanted.set(socketId(one.object.uid, name, write), () => this.#held(one.key, one.object.uid, name, write))
      }
    }
    const gone = [...this.#sockets].filter(([id]) => !wanted.has(id))
    for (const [id] of gone) this.#sockets.delete(id)
    await Promise.allSettled(gone.map(async ([, socket]) => await (await socket)[Symbol.asyncDispose]()))
    await Promise.all([...wanted.values()].map((open) => open().catch(this.#options.onTrouble)))
    const uids = new Set(objects.map(({ object }) => object.uid))
    for (const uid of readdirSync(this.#options.folder)) {
      if (!uids.has(uid)) rmSync(join(this.#options.folder, uid), { recursive: true, force: true })
    }
  }

  /** Throws `SLUICE_POD_CONFIG` or `SLUICE_POD_DEVICE` while something is missing; the pod waits and goes on by itself. */
  async attach(key: ObjectKey, pod: LinkPod): Promise<Attached> {
    const { devices, nodes } = deviceRequests(pod)
    if (devices.length === 0 && nodes.length === 0) return NOTHING
    const { access, rules } = this.#options
    const { namespace } = splitKey(key)
    for (const { name } of devices) {
      if (access.view(objectKey(namespace, name)) !== undefined) continue
      throw new SluiceError('SLUICE_POD_DEVICE', `The device ${namespace}/${name} is not on this gateway`, {
        hint: 'Bring the pod to the gateway of the device, or correct the annotation sluice.dev/device; the pod goes on by itself.',
      })
    }
    for (const { name, write } of devices) await this.#held(key, pod.uid, name, write)
    const given = deviceNodes(nodes, rules)
    return {
      mounts:
        devices.length === 0
          ? []
          : [{ hostPath: this.#folderOf(pod.uid), containerPath: SOCKET_FOLDER, readOnly: true }],
      devices: given.map(({ group: _, ...mount }) => mount),
      groups: [...new Set(given.map(({ group }) => group))],
      env: devices.map(({ name }) => [variableOf(name), `${SOCKET_FOLDER}/${name}.sock`]),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#sockets.values()]
    this.#sockets.clear()
    await Promise.allSettled(all.map(async (socket) => await (await socket)[Symbol.asyncDispose]()))
  }

  /** One socket for each of what a pod asks for, opened once. */
  #held(pod: ObjectKey, uid: string, name: string, write: boolean): Promise<TwinSocket> {
    const id = socketId(uid, name, write)
    const held = this.#sockets.get(id)
    if (held !== undefined) return held
    const opening = this.#open(pod, uid, name, write)
    this.#sockets.set(id, opening)
    opening.catch(() => this.#sockets.delete(id))
    return opening
  }

  async #open(pod: ObjectKey, uid: string, name: string, write: boolean): Promise<TwinSocket> {
    const { namespace } = splitKey(pod)
    const socket = new TwinSocket({
      access: this.#options.access,
      device: objectKey(namespace, name),
      ...{ write, by: `pod:${pod}`, path: join(this.#folderOf(uid), `${name}.sock`) },
    })
    await socket.listen()
    return socket
  }

  #folderOf(uid: string): string {
    const path = join(this.#options.folder, uid)
    mkdirSync(path, { recursive: true })
    // The pod may look what there is; the folder above lets nobody look whose pod this is.
    chmodSync(path, 0o755)
    return path
  }
}

/** What cannot be read is told when the pod is to begin, and holds nobody else up. */
function asked(pod: LinkPod): DeviceRequests {
  try {
    return deviceRequests(pod)
  } catch {
    return { devices: [], nodes: [] }
  }
}

const socketId = (uid: string, name: string, write: boolean): string => `${uid} ${name} ${write}`

const VARIABLE = 'SLUICE_DEVICE_'

/** `pump-2` becomes `SLUICE_DEVICE_PUMP_2`. */
const variableOf = (name: string): string => `${VARIABLE}${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`
