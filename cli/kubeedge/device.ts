import type { Fields } from '../../api/yaml/fragments.ts'
import { isFields, merged } from '../../api/yaml/fragments.ts'
import { bleAddress, bleVisitor } from './ble.ts'
import { modbusConfig, modbusProtocol, modbusVisitor } from './modbus.ts'
import type { KubeEdgeProperty } from './model.ts'
import { type Notes, type Path, Reader } from './notes.ts'

export type Protocol = 'modbus' | 'ble'

/** What one device says about one property. */
export interface Visit {
  readonly name: string
  readonly path: Path
  readonly visitor: Reader | undefined
  readonly everyMs: number | undefined
  readonly reportMs: number | undefined
}

export interface KubeEdgeDevice {
  readonly model: string
  readonly nodeName: string | undefined
  readonly protocol: Protocol
  readonly address: Fields
  readonly visits: readonly Visit[]
  /** As they are written: texts. */
  readonly desired: readonly { readonly name: string; readonly value: string; readonly path: Path }[]
  readonly methods: readonly Fields[]
}

const PUSH_HINT = 'Values are on the twin, on MQTT and in the metrics of the gateway; send them on from there.'

/** Undefined when the device cannot be carried over; `notes` says why. */
export function readDevice(spec: Reader, version: string, notes: Notes, defaults: unknown): KubeEdgeDevice | undefined {
  const device = version === 'v1alpha2' ? oldDevice(spec, notes) : newDevice(spec, notes, defaults)
  spec.end()
  return device
}

function newDevice(spec: Reader, notes: Notes, defaults: unknown): KubeEdgeDevice | undefined {
  const model = spec.map('deviceModelRef').text('name')
  const nodeName = spec.text('nodeName')
  const protocol = spec.map('protocol')
  const word = protocol.text('protocolName')
  const own = protocol.any('configData')
  const config = new Reader(
    isFields(defaults) ? merged(defaults, isFields(own) ? own : {}) : own,
    protocol.at('configData'),
    notes,
  )
  const kind = protocolOf(word, protocol.at('protocolName'), notes)
  const address =
    kind === undefined ? undefined : kind === 'modbus' ? modbusConfig(config, notes) : bleAddress(config, notes)
  if (kind !== undefined) config.end()
  protocol.end()
  spec.leaveOut('stateReport', 'The state of a device is always reported.')
  const desired: { name: string; value: string; path: Path }[] = []
  const visits = spec.list('properties').flatMap((from): Visit[] => {
    const name = from.text('name')
    const wanted = from.map('desired')
    wanted.skip('metadata')
    const value = wanted.text('value')
    if (name !== undefined && value !== undefined) desired.push({ name, value, path: wanted.at('value') })
    const visitors = from.map('visitors')
    visitors.skip('protocolName')
    const cycles = cyclesOf(from, notes, 1)
    from.leaveOut('pushMethod', PUSH_HINT)
    if (from.flag('reportToCloud') === false) {
      notes.leaveOut(
        from.at('reportToCloud'),
        'reportToCloud: false is not carried over',
        'Every property is reported.',
      )
    }
    const visitor = visitors.has('configData') ? visitors.map('configData') : undefined
    visitors.end()
    from.end()
    return name === undefined ? [] : [{ name, path: from.path, visitor, ...cycles }]
  })
  const methods = spec.list('methods').map((from) => {
    const method = {
      name: from.text('name'),
      description: from.text('description'),
      properties: from.any('propertyNames'),
    }
    from.end()
    return Object.fromEntries(Object.entries(method).filter(([, value]) => value !== undefined))
  })
  if (model === undefined) notes.refuse(spec.path, 'deviceModelRef.name is missing', 'Name the DeviceModel.')
  if (model === undefined || kind === undefined || address === undefined) return undefined
  return { model, nodeName, protocol: kind, address, visits, desired, methods }
}

function oldDevice(spec: Reader, notes: Notes): KubeEdgeDevice | undefined {
  const model = spec.map('deviceModelRef').text('name')
  const nodeName = nodeOf(spec, notes)
  const protocol = spec.map('protocol')
  const kind: Protocol | undefined = protocol.has('modbus') ? 'modbus' : protocol.has('bluetooth') ? 'ble' : undefined
  let address: Fields | undefined
  if (kind === 'modbus') address = modbusProtocol(protocol, notes)
  else if (kind === 'ble') {
    protocol.skip('common')
    const bluetooth = protocol.map('bluetooth')
    address = bleAddress(bluetooth, notes)
    bluetooth.end()
  }
  if (kind === undefined)
    refuseProtocol(
      ['opcua', 'customizedProtocol'].find((each) => protocol.has(each)),
      protocol.path,
      notes,
    )
  protocol.end()
  spec.leaveOut('data', 'Declare what a device sends as properties of its model.')
  const visits = spec.list('propertyVisitors').flatMap((from): Visit[] => {
    const name = from.text('propertyName')
    const cycles = cyclesOf(from, notes, 1e-6)
    from.leaveOut('customizedValues', 'Nothing here reads them.')
    from.skip('modbus', 'bluetooth')
    const key = kind === 'ble' ? 'bluetooth' : 'modbus'
    const visitor = from.has(key) ? from.map(key) : undefined
    from.end()
    return name === undefined ? [] : [{ name, path: from.path, visitor, ...cycles }]
  })
  if (model === undefined) notes.refuse(spec.path, 'deviceModelRef.name is missing', 'Name the DeviceModel.')
  if (model === undefined || kind === undefined || address === undefined) return undefined
  return { model, nodeName, protocol: kind, address, visits, desired: [], methods: [] }
}

function protocolOf(word: string | undefined, path: Path, notes: Notes): Protocol | undefined {
  const name = word?.toLowerCase()
  if (name === 'bluetooth' || name === 'ble') return 'ble'
  // `modbus-tcp` and `modbus-rtu` are what mappers are called in the field; the mode is said beside it.
  if (name === 'modbus' || name?.startsWith('modbus-') === true) return 'modbus'
  refuseProtocol(word, path, notes)
  return undefined
}

function refuseProtocol(word: string | undefined, path: Path, notes: Notes): void {
  const what = word === undefined ? 'the device has no protocol' : `protocol '${word}' cannot be carried over`
  notes.refuse(path, what, 'Modbus and Bluetooth devices can. Write others as a Device of sluice.dev/v1alpha1.')
}

/** `collectCycle` and `reportCycle` in milliseconds: v1alpha2 counts nanoseconds, v1beta1 milliseconds since KubeEdge 1.18. */
function cyclesOf(
  from: Reader,
  notes: Notes,
  toMs: number,
): { everyMs: number | undefined; reportMs: number | undefined } {
  const read = (key: string): number | undefined => {
    const value = from.number(key)
    if (value === undefined || value <= 0) return undefined
    if (toMs === 1 && value >= 10_000_000) {
      notes.leaveOut(
        from.at(key),
        `${value} is read as nanoseconds, as KubeEdge before 1.18 did`,
        'Write milliseconds.',
      )
      return value / 1e6
    }
    return value * toMs
  }
  return { everyMs: read('collectCycle'), reportMs: read('reportCycle') }
}

/** The one node that a v1alpha2 selector names. */
function nodeOf(spec: Reader, notes: Notes): string | undefined {
  if (!spec.has('nodeSelector')) return undefined
  const selector = spec.map('nodeSelector')
  const terms = selector.list('nodeSelectorTerms')
  const nodes = terms.flatMap((term) =>
    term.list('matchExpressions').flatMap((one) => {
      const values = one.any('values')
      one.skip('key')
      return one.word('operator', ['In']) === 'In' && Array.isArray(values) ? values.map(String) : []
    }),
  )
  if (nodes.length === 1) return nodes[0]
  notes.refuse(
    selector.path,
    `the selector names ${nodes.length} nodes, one is needed`,
    'Name the gateway: operator: In, values: [gw-1].',
  )
  return undefined
}

/** Where a property lives, as a binding of the protocol; undefined when the device says nothing of it. */
export function bindingOf(
  property: KubeEdgeProperty,
  visit: Visit,
  protocol: Protocol,
  notes: Notes,
): Fields | undefined {
  const under = isFields(property.visitors) ? property.visitors['configData'] : undefined
  const own = visit.visitor
  const reader = isFields(under) ? (own?.over(under) ?? new Reader(under, visit.path, notes)) : own
  if (reader === undefined) {
    notes.refuse(visit.path, `nothing says where ${property.name} is`, 'Add visitors to the property of the device.')
    return undefined
  }
  return protocol === 'modbus' ? modbusVisitor(reader, property, notes) : bleVisitor(reader, property, notes)
}
