import {
  type Device,
  type DeviceModel,
  type DeviceModelSpec,
  type DeviceSpec,
  type ObjectKey,
  objectKey,
} from './resources.ts'
import { didYouMean, listed } from './suggest.ts'
import { checkValue } from './twin/limits.ts'
import { knownProtocols, type SluiceResource } from './validate.ts'
import type { Finding } from './yaml/findings.ts'

export const DEFAULT_NAMESPACE = 'default'

export interface SetOptions {
  /** Models that are known from elsewhere, for example from the cluster or the gateway's store. */
  readonly modelOf?: (key: ObjectKey) => DeviceModelSpec | undefined
  /** Models that exist but are unsound themselves: devices may refer to them, and nothing more is said. */
  readonly brokenModels?: ReadonlySet<ObjectKey>
}

export interface SetFinding extends Finding {
  /** Position in the list given to `validateSet`. */
  readonly object: number
}

const error = (code: string, path: Finding['path'], message: string, hint: string): Finding => ({
  severity: 'error',
  code,
  message,
  hint,
  path,
})

const namespaceOf = (object: SluiceResource): string => object.metadata.namespace ?? DEFAULT_NAMESPACE

export const keyOf = (object: SluiceResource): ObjectKey =>
  object.kind === 'Gateway' ? objectKey('', object.metadata.name) : objectKey(namespaceOf(object), object.metadata.name)

const isModel = (object: SluiceResource): object is DeviceModel => object.kind === 'DeviceModel'
const isDevice = (object: SluiceResource): object is Device => object.kind === 'Device'

/** The protocol under whose key the device's address stands. */
export const protocolOf = (device: DeviceSpec): string | undefined =>
  [...knownProtocols, 'custom'].find((protocol) => device[protocol] !== undefined)

/** What is wrong with `spec.desired` and the address of a device, given its model. Paths start at the object's root. */
export function deviceFindings(device: DeviceSpec, model: DeviceModelSpec): Finding[] {
  const findings: Finding[] = []
  const byName = new Map(model.properties.map((property) => [property.name, property]))
  for (const [name, value] of Object.entries(device.desired ?? {})) {
    const path = ['spec', 'desired', name]
    const property = byName.get(name)
    if (property === undefined) {
      const hint = didYouMean(name, [...byName.keys()], 'Its properties:')
      const message = `${device.model} has no property '${name}'`
      findings.push({ ...error('SLUICE_UNKNOWN_PROPERTY', path, message, hint), at: 'key' })
    } else if ((property.access ?? 'read') === 'read') {
      const writable = model.properties.filter(({ access }) => access === 'readwrite' || access === 'write')
      const names = listed(writable.map((each) => each.name))
      const hint =
        names === '' ? `Nothing of ${device.model} can be written; remove it.` : `Remove it. Writable are: ${names}.`
      findings.push({ ...error('SLUICE_READ_ONLY', path, `'${name}' can only be read`, hint), at: 'key' })
    } else {
      const finding = checkValue(property, value)
      if (finding !== undefined) findings.push({ ...finding, path })
    }
  }
  const protocol = protocolOf(device)
  if (protocol !== undefined && !model.properties.some((property) => property[protocol] !== undefined)) {
    const bound = [...knownProtocols, 'custom'].filter((name) =>
      model.properties.some((each) => each[name] !== undefined),
    )
    const message = `the device is reached by ${protocol}, but no property of ${device.model} has a ${protocol} binding`
    const hint =
      bound.length === 0
        ? `Add a ${protocol} binding to the model's properties.`
        : `The model speaks ${listed(bound)}: give such an address, or name another model.`
    findings.push({ ...error('SLUICE_BINDING_MISSING', ['spec', protocol], message, hint), at: 'key' })
  }
  return findings
}

/**
 * What is wrong between objects that are each sound on their own: the same object twice, a model that does not exist,
 * desired values that the model does not allow. `object` says which one, `path` where inside it.
 */
export function validateSet(objects: readonly SluiceResource[], options: SetOptions = {}): SetFinding[] {
  const findings: SetFinding[] = []
  const first = new Map<string, number>()
  for (const [object, resource] of objects.entries()) {
    const id = `${resource.kind} ${keyOf(resource)}`
    if (first.has(id)) {
      const where = resource.kind === 'Gateway' ? '' : ` in namespace ${namespaceOf(resource)}`
      const message = `there is a ${resource.kind} named '${resource.metadata.name}'${where} already`
      const hint = 'Rename or remove one of the two; only one can exist.'
      findings.push({ object, ...error('SLUICE_DUPLICATE_OBJECT', ['metadata', 'name'], message, hint) })
    } else first.set(id, object)
  }
  const models = new Map(objects.filter(isModel).map((model) => [keyOf(model), model.spec]))
  for (const [object, device] of objects.entries()) {
    if (!isDevice(device)) continue
    const key = objectKey(namespaceOf(device), device.spec.model)
    if (options.brokenModels?.has(key)) continue
    const model = models.get(key) ?? options.modelOf?.(key)
    const found =
      model === undefined
        ? [unknownModel(device, [...models.keys(), ...(options.brokenModels ?? [])])]
        : deviceFindings(device.spec, model)
    findings.push(...found.map((finding) => ({ object, ...finding })))
  }
  return findings
}

function unknownModel(device: Device, known: readonly ObjectKey[]): Finding {
  const namespace = namespaceOf(device)
  const prefix = `${namespace}/`
  const here = known.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length))
  const elsewhere = known.find((key) => key.endsWith(`/${device.spec.model}`))
  const hint =
    elsewhere === undefined
      ? didYouMean(device.spec.model, here, here.length === 0 ? 'Give the file of the model too.' : 'Models given:')
      : `There is one in namespace '${elsewhere.slice(0, elsewhere.indexOf('/'))}': model and device share a namespace.`
  const message = `there is no DeviceModel named '${device.spec.model}' in namespace '${namespace}'`
  return error('SLUICE_UNKNOWN_MODEL', ['spec', 'model'], message, hint)
}
