import { createHash } from 'node:crypto'
import type { LinkFirmwareUpdate } from '../../api/link/firmware.ts'
import type {
  LinkDevice,
  LinkGateway,
  LinkModel,
  LinkObject,
  LinkObjectKind,
  ObjectsAckFrame,
  ObjectsFrame,
  PodLinkObject,
} from '../../api/link/messages.ts'
import type { StaticPod } from '../../api/link/static-pods.ts'
import { type DeviceModelSpec, type ObjectKey, objectKey, splitKey } from '../../api/resources.ts'
import type { ModelView } from '../../api/views.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import type { DeviceBinding } from '../../mappers/sdk/mapper.ts'
import type { Log } from '../log.ts'
import type { Store } from '../store/store.ts'
import type { DeviceState } from '../twin/device-state.ts'
import type { TwinEngine } from '../twin/engine.ts'
import type { ReportBatcher } from '../twin/report-batcher.ts'
import type { CheckObject } from './check-object.ts'

export interface ObjectsOptions {
  readonly store: Store
  readonly engine: TwinEngine
  readonly batcher: ReportBatcher
  readonly check: CheckObject
  readonly log: Log
  readonly onBindings: (bindings: ReadonlyMap<ObjectKey, DeviceBinding>) => void
  /** This gateway's own object is new, changed or, with undefined, gone. Not called at the start; see `gateway`. */
  readonly onGateway: (gateway: LinkGateway | undefined) => void
  /** A Pod, ConfigMap or Secret is new, changed or gone. Not called at the start. */
  readonly onPodObjects: () => void
  /** A FirmwareUpdate is new, changed or gone. Not called at the start. */
  readonly onUpdates: () => void
}

type AckItem = ObjectsAckFrame['items'][number]

/**
 * The devices and models this gateway was given. An object is stored durably before it is acknowledged; one that
 * turned invalid is refused by name and what was there before stays in force.
 */
export class DesiredObjects {
  readonly #options: ObjectsOptions
  readonly #objects = new Map<string, LinkObject>()
  readonly #bindings = new Map<ObjectKey, DeviceBinding>()
  readonly #modelDigests = new WeakMap<DeviceModelSpec, string>()
  /** Objects whose newest version was refused, with the reason. */
  readonly refused = new Map<
    string,
    { readonly kind: LinkObjectKind; readonly key: ObjectKey; readonly message: string }
  >()
  #statics: readonly StaticPod[] = []
  #applying: Promise<unknown> = Promise.resolve()

  constructor(options: ObjectsOptions) {
    this.#options = options
  }

  get holds(): (readonly [kind: LinkObjectKind, key: ObjectKey, rev: string])[] {
    return [...this.#objects.values()].map(({ kind, key, rev }) => [kind, key, rev] as const)
  }

  /** This gateway's own object, as the hub last gave it; known without a network from the first start with one. */
  get gateway(): LinkGateway | undefined {
    for (const object of this.#objects.values()) if (object.kind === 'Gateway') return object.object
    return undefined
  }

  /** What runs here, and what it reads. */
  podObjects(): PodLinkObject[] {
    const statics = this.#statics.map((pod): PodLinkObject => ({ kind: 'Pod', rev: pod.object.uid, ...pod }))
    return [...[...this.#objects.values()].filter(isPodObject), ...statics]
  }

  /** Pods of files of this gateway; they are not in the store, and nobody acknowledges them. */
  get statics(): readonly StaticPod[] {
    return this.#statics
  }

  putStatics(pods: readonly StaticPod[]): void {
    this.#statics = pods
  }

  /** What devices are to run, by device. */
  *updates(): Generator<readonly [device: ObjectKey, update: LinkFirmwareUpdate]> {
    for (const object of this.#objects.values()) if (object.kind === 'FirmwareUpdate') yield [object.key, object.object]
  }

  /** The models in force. */
  *models(): Generator<ModelView> {
    for (const object of this.#objects.values()) {
      if (object.kind === 'DeviceModel') yield { ...splitKey(object.key), spec: object.object.spec }
    }
  }

  /** Brings back what the store holds. */
  restore(): void {
    const { store, engine } = this.#options
    for (const object of store.objects()) this.#objects.set(idOf(object.kind, object.key), object)
    const twins = Map.groupBy(store.twins(), ({ uid }) => uid)
    for (const object of this.#objects.values()) {
      if (object.kind !== 'Device') continue
      const device = this.#resolve(object.key, object.object)
      for (const stored of twins.get(object.object.uid) ?? []) {
        engine.restore(device, stored)
      }
      engine.roles.take(device, object.object.roaming, true)
      engine.takeDesired(device, object.object)
    }
    this.#options.batcher.flush()
    this.#options.onBindings(this.#bindings)
    for (const device of engine.devices.values()) engine.pump(device)
  }

  /** Applies a frame after the ones before it; resolves to what the hub is to be told. */
  apply(frame: Pick<ObjectsFrame, 'upserts' | 'deletes'>): Promise<AckItem[]> {
    const applied = this.#applying.then(() => this.#apply(frame))
    this.#applying = applied.catch(() => undefined)
    return applied
  }

  async #apply({ upserts, deletes }: Pick<ObjectsFrame, 'upserts' | 'deletes'>): Promise<AckItem[]> {
    const acks: AckItem[] = []
    const accepted: LinkObject[] = []
    for (const object of upserts) {
      const finding = await this.#check(object)
      if (finding === undefined) {
        accepted.push(object)
        this.refused.delete(idOf(object.kind, object.key))
      } else {
        this.#refuse(object, finding)
        acks.push({ ...nameOf(object), ok: false, code: finding.code, message: finding.message })
      }
    }
    const gatewayBefore = this.gateway
    const touched = new Set<DeviceState>()
    const gone: string[] = []
    for (const { kind, key, uid } of deletes) {
      const held = this.#objects.get(idOf(kind, key))
      this.refused.delete(idOf(kind, key))
      if (held === undefined || (uid !== undefined && held.object.uid !== uid)) continue
      this.#objects.delete(idOf(kind, key))
      if (kind === 'Device') gone.push(...this.#forget(key))
    }
    for (const object of accepted) {
      const held = this.#objects.get(idOf(object.kind, object.key))
      if (object.kind === 'Device' && held !== undefined && held.object.uid !== object.object.uid)
        gone.push(...this.#forget(object.key))
      this.#objects.set(idOf(object.kind, object.key), object)
    }
    for (const { kind, key, object } of accepted) {
      if (kind === 'Device') await this.#options.engine.roles.release(key, object.uid, object.roaming)
    }
    const bindingsChanged = this.#resolveTouched(accepted, deletes, touched)
    try {
      this.#options.batcher.flush((writer) => {
        for (const { kind, key } of deletes) writer.deleteObject(kind, key)
        for (const uid of gone) writer.deleteTwins(uid)
        for (const object of accepted) writer.putObject(object)
      })
      acks.push(...accepted.map((object) => ({ ...nameOf(object), ok: true })))
    } catch (error) {
      // In force but not remembered: without an acknowledgement the hub sends it again on the next connection.
      const message = error instanceof Error ? error.message : String(error)
      acks.push(...accepted.map((object) => ({ ...nameOf(object), ok: false, code: 'SLUICE_STORE_FULL', message })))
    }
    if (bindingsChanged) this.#options.onBindings(this.#bindings)
    if (this.gateway !== gatewayBefore) this.#options.onGateway(this.gateway)
    if (accepted.some(isPodObject) || deletes.some(isPodObject)) this.#options.onPodObjects()
    if ([...accepted, ...deletes].some(({ kind }) => kind === 'FirmwareUpdate')) this.#options.onUpdates()
    for (const device of touched) this.#options.engine.pump(device)
    return acks
  }

  #resolveTouched(
    accepted: readonly LinkObject[],
    deletes: ObjectsFrame['deletes'],
    touched: Set<DeviceState>,
  ): boolean {
    const { engine } = this.#options
    const before = this.#bindings.size
    let changed = deletes.length > 0
    const models = new Set<string>()
    for (const { kind, key } of [...accepted, ...deletes]) if (kind === 'DeviceModel') models.add(key)
    const devices = new Map<ObjectKey, LinkDevice>()
    for (const object of accepted) if (object.kind === 'Device') devices.set(object.key, object.object)
    if (models.size > 0) {
      for (const object of this.#objects.values()) {
        if (object.kind === 'Device' && models.has(modelKey(object.key, object.object)))
          devices.set(object.key, object.object)
      }
    }
    for (const [key, link] of devices) {
      const before = this.#bindings.get(key)
      const device = this.#resolve(key, link)
      engine.roles.take(device, link.roaming)
      engine.takeDesired(device, link)
      touched.add(device)
      changed ||= this.#bindings.get(key) !== before
    }
    return changed || this.#bindings.size !== before
  }

  /** Puts the device with the model in force into the engine and decides whether a mapper can serve it. */
  #resolve(key: ObjectKey, link: LinkDevice): DeviceState {
    const model = this.#objects.get(idOf('DeviceModel', modelKey(key, link)))?.object as LinkModel | undefined
    const device = this.#options.engine.putDevice(key, link, model?.spec)
    if (model === undefined) {
      device.problem = `model ${link.spec.model} is not known on this gateway`
      this.#bindings.delete(key)
      return device
    }
    device.problem = undefined
    if (link.spec.paused === true) {
      this.#bindings.delete(key)
      return device
    }
    const { desired: _, ...spec } = link.spec
    const revision = digest(JSON.stringify(spec) + this.#modelDigest(model.spec))
    const held = this.#bindings.get(key)
    const standby = link.roaming?.role === 'standby'
    if (held?.revision !== revision || (held.standby === true) !== standby) {
      const binding = { key, device: link.spec, model: model.spec, revision }
      const carried = link.roaming?.carry
      this.#bindings.set(key, {
        ...binding,
        ...(standby ? { standby } : carried === undefined ? {} : { carried }),
      })
    }
    return device
  }

  #forget(key: ObjectKey): string[] {
    this.#bindings.delete(key)
    const device = this.#options.engine.removeDevice(key)
    return device === undefined ? [] : [device.uid]
  }

  async #check(object: LinkObject): Promise<Finding | undefined> {
    try {
      return await this.#options.check(object)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      return { severity: 'error', code: 'SLUICE_INTERNAL', message, hint: '', path: [] }
    }
  }

  #refuse({ kind, key }: LinkObject, { code, message }: Finding): void {
    this.refused.set(idOf(kind, key), { kind, key, message })
    const kept = this.#objects.has(idOf(kind, key)) ? 'the last good one stays in force' : 'it is not used'
    this.#options.log('warn', `${kind} ${key} is invalid, ${kept}: ${message}`, { code })
  }

  #modelDigest(spec: DeviceModelSpec): string {
    let known = this.#modelDigests.get(spec)
    if (known === undefined) {
      known = digest(JSON.stringify(spec))
      this.#modelDigests.set(spec, known)
    }
    return known
  }
}

const idOf = (kind: LinkObjectKind, key: ObjectKey): string => `${kind} ${key}`

const isPodObject = <T extends { readonly kind: LinkObjectKind }>(object: T): object is T & PodLinkObject =>
  object.kind === 'Pod' || object.kind === 'ConfigMap' || object.kind === 'Secret'

const nameOf = ({ kind, key, rev }: LinkObject) => ({ kind, key, rev })

const modelKey = (device: ObjectKey, { spec }: LinkDevice): ObjectKey =>
  objectKey(splitKey(device).namespace, spec.model)

const digest = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 16)
