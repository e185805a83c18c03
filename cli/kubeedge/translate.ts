import type { DeviceModelSpec, Json, ObjectKey, ObjectMeta } from '../../api/resources.ts'
import { type SluiceResource, validateResource } from '../../api/validate.ts'
import { DEFAULT_NAMESPACE, keyOf } from '../../api/validate-set.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { isFields } from '../../api/yaml/fragments.ts'
import { type LoadedResource, locateFindings } from '../../api/yaml/load.ts'
import type { LineColumn, LocatedFinding, SourceDocument } from '../../api/yaml/read.ts'
import type { ResolvedDocument } from '../../api/yaml/resolve.ts'
import { bindingOf, type KubeEdgeDevice, readDevice } from './device.ts'
import { GROUP } from './documents.ts'
import { type KubeEdgeProperty, readProperties } from './model.ts'
import { Notes, type Path, Reader } from './notes.ts'

const VERSIONS = ['v1beta1', 'v1alpha2']

export interface Translation {
  /** Sound resources in our own words; their documents are the manifests they come from. */
  readonly loaded: readonly LoadedResource[]
  readonly findings: readonly LocatedFinding[]
  /** Models that were given and cannot be used: whoever refers to them has said enough. */
  readonly brokenModels: ReadonlySet<ObjectKey>
}

interface Model {
  readonly notes: Notes
  readonly namespace: string
  readonly name: string
  readonly description: string | undefined
  readonly properties: readonly KubeEdgeProperty[]
  readonly defaults: unknown
  /** By what the devices say of the properties: one model of ours each. */
  readonly variants: Map<string, Variant>
}

interface Variant {
  readonly name: string
  readonly spec: DeviceModelSpec
  readonly paths: readonly Path[]
}

/**
 * KubeEdge's models and devices as ours. There a device says where its properties live, here its model does: devices of
 * one model that say the same share a model of its name, others get one of their own, named after the first of them.
 */
export function translateKubeEdge(documents: readonly SourceDocument[]): Translation {
  const findings: LocatedFinding[] = []
  const loaded: LoadedResource[] = []
  const models = new Map<string, Model>()
  const devices: SourceDocument[] = []
  for (const document of documents) {
    const version = document.apiVersion?.slice(GROUP.length) ?? ''
    if (!VERSIONS.includes(version)) {
      findings.push(
        ...refused(document, ['apiVersion'], `version '${version}' is not known`, `Known are ${VERSIONS.join(', ')}.`),
      )
    } else if (document.kind === 'DeviceModel') {
      const model = readModel(document, version)
      models.set(`${model.namespace}/${model.name}`, model)
    } else if (document.kind === 'Device') devices.push(document)
    // Its status lives in a resource of its own since KubeEdge 1.23; ours comes from the device.
    else if (document.kind !== 'DeviceStatus') {
      findings.push(
        ...refused(document, ['kind'], `kind '${document.kind}' is not known`, 'Known are DeviceModel, Device.'),
      )
    }
  }
  for (const document of devices) {
    const device = translateDevice(document, models)
    findings.push(...device.findings)
    loaded.push(...device.loaded)
  }
  const ours = [...models.values()].flatMap((model) => {
    findings.push(...model.notes.located)
    if (model.variants.size === 0 && !model.notes.failed) {
      const hint = 'Give the files of its devices too: in KubeEdge they say where the properties live.'
      const { document } = model.notes
      findings.push(
        ...locateFindings(document, [
          { ...finding('warning', ['metadata', 'name'], 'no device of this model is given', hint) },
        ]),
      )
    }
    return [...model.variants.values()].map((variant) => modelResource(model, variant))
  })
  return checked([...ours, ...loaded], findings)
}

function readModel(document: SourceDocument, version: string): Model {
  const notes = new Notes(document)
  const spec = new Reader(isFields(document.value) ? document.value['spec'] : undefined, ['spec'], notes)
  const properties = readProperties(spec, version, notes)
  const description = spec.text('description')
  const defaults = spec.any('protocolConfigData')
  spec.skip('protocol', 'propertyVisitors')
  spec.end()
  const name = document.name ?? ''
  return {
    notes,
    namespace: document.namespace ?? DEFAULT_NAMESPACE,
    name,
    description,
    properties,
    defaults,
    variants: new Map(),
  }
}

function translateDevice(
  document: SourceDocument,
  models: ReadonlyMap<string, Model>,
): Pick<Translation, 'loaded' | 'findings'> {
  const version = document.apiVersion!.slice(GROUP.length)
  const notes = new Notes(document)
  const value = isFields(document.value) ? document.value['spec'] : undefined
  const spec = new Reader(value, ['spec'], notes)
  const reference = spec.map('deviceModelRef').text('name') ?? ''
  const model = models.get(`${document.namespace ?? DEFAULT_NAMESPACE}/${reference}`)
  const device = readDevice(spec, version, notes, model?.defaults)
  if (device !== undefined && model === undefined) {
    const message = `there is no DeviceModel '${reference}' among the files`
    notes.refuse(['spec', 'deviceModelRef', 'name'], message, 'Give the file of the model too.')
  }
  if (device === undefined || model === undefined) return { loaded: [], findings: notes.located }
  const variant = variantOf(device, model, document.name ?? '', notes)
  const desired = desiredOf(device, model, notes)
  if (notes.failed || model.notes.failed) return { loaded: [], findings: notes.located }
  const resource = {
    apiVersion: 'sluice.dev/v1alpha1',
    kind: 'Device',
    metadata: metadataOf(document),
    spec: {
      model: variant.name,
      ...(device.nodeName === undefined ? {} : { nodeName: device.nodeName }),
      [device.protocol]: device.address,
      ...(Object.keys(desired).length === 0 ? {} : { desired }),
    },
  }
  const at = (path: Path): Path => (path[0] === 'spec' && path[1] === device.protocol ? ['spec', 'protocol'] : path)
  return {
    loaded: [{ resource: resource as SluiceResource, document: place(document, resource, at) }],
    findings: notes.located,
  }
}

function variantOf(device: KubeEdgeDevice, model: Model, deviceName: string, notes: Notes): Variant {
  const paths: Path[] = []
  const properties = model.properties.flatMap((property) => {
    const visit = device.visits.find(({ name }) => name === property.name)
    if (visit === undefined) return []
    const binding = bindingOf(property, visit, device.protocol, notes)
    if (binding === undefined) return []
    paths.push(property.path)
    const { everyMs, reportMs } = visit
    return [
      {
        name: property.name,
        ...(property.description === undefined ? {} : { description: property.description }),
        type: property.type,
        ...(property.unit === undefined ? {} : { unit: property.unit }),
        ...(property.writable ? { access: 'readwrite' } : {}),
        ...(property.min === undefined ? {} : { min: property.min }),
        ...(property.max === undefined ? {} : { max: property.max }),
        [device.protocol]: binding,
        ...(everyMs === undefined ? {} : { poll: { every: duration(everyMs) } }),
        ...(reportMs === undefined ? {} : { report: { heartbeat: duration(Math.max(reportMs, everyMs ?? 0)) } }),
      },
    ]
  })
  for (const { name, path } of device.visits) {
    if (model.properties.some((property) => property.name === name)) continue
    notes.refuse(path, `${model.name} has no property '${name}'`, 'Correct the name, or add it to the model.')
  }
  const { methods } = device
  const spec = {
    ...(model.description === undefined ? {} : { description: model.description }),
    properties,
    ...(methods.length === 0 ? {} : { methods }),
  }
  const key = JSON.stringify(spec)
  const known = model.variants.get(key)
  if (known !== undefined) return known
  const name = model.variants.size === 0 ? model.name : `${model.name}-${deviceName}`
  const variant: Variant = { name, spec: spec as DeviceModelSpec, paths }
  if (!notes.failed) model.variants.set(key, variant)
  return variant
}

const duration = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : `${Math.max(1, Math.round(ms))}ms`)

/** All values are texts there. */
function desiredOf(device: KubeEdgeDevice, model: Model, notes: Notes): Readonly<Record<string, Json>> {
  const out: Record<string, Json> = {}
  for (const { name, value, path } of device.desired) {
    const property = model.properties.find((each) => each.name === name)
    const typed = property === undefined ? undefined : typedValue(property, value)
    if (property !== undefined && !property.writable) continue
    if (typed === undefined)
      notes.refuse(path, `'${value}' is no ${property?.type ?? 'value'}`, 'Correct the desired value.')
    else out[name] = typed
  }
  return out
}

function typedValue({ type }: KubeEdgeProperty, value: string): Json | undefined {
  if (type === 'bool') return /^(true|1)$/i.test(value) ? true : /^(false|0)$/i.test(value) ? false : undefined
  if (type !== 'int' && type !== 'float') return value
  return value.trim() !== '' && Number.isFinite(Number(value)) ? Number(value) : undefined
}

function modelResource(model: Model, { name, spec, paths }: Variant): LoadedResource {
  const { document } = model.notes
  const resource = {
    apiVersion: 'sluice.dev/v1alpha1',
    kind: 'DeviceModel',
    metadata: { ...metadataOf(document), name },
    spec,
  }
  const at = (path: Path): Path => {
    const [head, list, index] = path
    const own = head === 'spec' && list === 'properties' && typeof index === 'number' ? paths[index] : undefined
    return own ?? path
  }
  return { resource: resource as SluiceResource, document: place(document, resource, at) }
}

/** What `kubectl get -o yaml` adds is left behind. */
function metadataOf({ value }: SourceDocument): ObjectMeta {
  const metadata = isFields(value) && isFields(value['metadata']) ? value['metadata'] : {}
  const kept = ['name', 'namespace', 'labels', 'annotations'].filter((key) => metadata[key] !== undefined)
  const annotations = isFields(metadata['annotations']) ? metadata['annotations'] : {}
  const own = Object.entries(annotations).filter(([key]) => !key.startsWith('kubectl.kubernetes.io/'))
  const out: Record<string, unknown> = Object.fromEntries(kept.map((key) => [key, metadata[key]]))
  if ('annotations' in out) out['annotations'] = Object.fromEntries(own)
  return out as { name: string }
}

/** The manifest as the place that findings about the translation point at. */
function place(document: SourceDocument, value: unknown, at: (path: Path) => Path): ResolvedDocument {
  return {
    file: document.file,
    value,
    apiVersion: document.apiVersion,
    kind: document.kind,
    name: document.name,
    namespace: document.namespace,
    line: document.line,
    positionOf: (path, part): LineColumn => document.positionOf(at(path), part),
    originOf: () => undefined,
  }
}

const finding = (severity: Finding['severity'], path: Path, message: string, hint: string): Finding => ({
  severity,
  code: severity === 'error' ? 'SLUICE_KUBEEDGE' : 'SLUICE_KUBEEDGE_LEFT_OUT',
  path,
  message,
  hint,
})

const refused = (document: SourceDocument, path: Path, message: string, hint: string): LocatedFinding[] =>
  locateFindings(document, [finding('error', path, message, hint)])

/** What our own schemas have to say about what came out. */
function checked(all: readonly LoadedResource[], findings: readonly LocatedFinding[]): Translation {
  const more: LocatedFinding[] = []
  const brokenModels = new Set<ObjectKey>()
  const sound = all.filter(({ resource, document }) => {
    const own = validateResource(resource)
    more.push(...locateFindings(document, own))
    const broken = own.some(({ severity }) => severity === 'error')
    if (broken && resource.kind === 'DeviceModel') brokenModels.add(keyOf(resource))
    return !broken
  })
  return { loaded: sound, findings: [...findings, ...more], brokenModels }
}
