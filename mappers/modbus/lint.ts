import type { DeviceModelSpec, DeviceSpec, ModelProperty } from '../../api/resources.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { addressOf, compileDevice, linkOf, readLimits } from './device-config.ts'
import { lintForm } from './lint-form.ts'
import { planReads } from './plan.ts'
import { readCost } from './plan-cost.ts'
import { bindingOf, formatOf, isBitTable, modelOf, placeOf } from './point.ts'
import { spanOf } from './scale-register.ts'
import type { ModbusModel, ModbusProperty } from './schema.ts'
import type { Table } from './tables.ts'
import { TRANSPORTS } from './transports.ts'
import { registersOf, type ValueFormat } from './values.ts'

/** Above this share of a link's time the plan leaves no room for writes, repeats and slow answers. */
const MAX_LOAD = 0.9

/** One property with its binding worked out as far as it goes. */
export interface Bound {
  readonly property: ModelProperty
  readonly binding: ModbusProperty
  readonly format: ValueFormat
  readonly table: Table
  readonly start: number
  readonly size: number
  readonly path: readonly (string | number)[]
}

/** What Modbus knows to say about a model and the devices that use it. */
export function lintModbus(model: DeviceModelSpec, devices: readonly DeviceSpec[]): readonly Finding[] {
  const options = modelOf(model)
  const bound: Bound[] = []
  model.properties.forEach((property, index) => {
    const binding = bindingOf(property)
    const place = binding === undefined ? undefined : placeOf(binding, options.addressBase ?? 0)
    if (binding === undefined || place === undefined) return
    const format = formatOf(binding, options)
    const size = isBitTable(place.table) ? 1 : registersOf(format)
    bound.push({ property, binding, format, ...place, size, path: ['spec', 'properties', index, 'modbus'] })
  })
  const findings = [
    ...bound.flatMap((one) => [
      ...lintPlace(one, options),
      ...lintScaleRegister(one, options),
      ...lintAccess(one),
      ...lintForm(one, options),
    ]),
    ...lintOverlaps(bound),
    ...lintAddressBase(bound, options),
    ...lintSharing(devices),
    ...lintShift(bound, devices),
  ]
  // A plan of a model that cannot be served would say nothing.
  if (findings.some(({ severity }) => severity === 'error')) return findings
  return [...findings, ...lintLoad(model, devices)]
}

function lintPlace({ property, table, start, size, path }: Bound, options: ModbusModel): Finding[] {
  const findings: Finding[] = []
  const key = [...path, table]
  const base = options.addressBase ?? 0
  if (start < 0 || start + size > 65536) {
    findings.push({
      severity: 'error',
      code: 'SLUICE_LINT_ADDRESS',
      message: `${property.name} takes ${size} from address ${start + base}, past the end of the ${table} table`,
      hint: `Addresses go from ${base} to ${65535 + base}, and the last register of a value counts too.`,
      path: key,
    })
  }
  const limits = readLimits(options)
  const max = isBitTable(table) ? limits.maxBits : limits.maxRegisters
  if (size > max) {
    findings.push({
      severity: 'error',
      code: 'SLUICE_LINT_TOO_LONG',
      message: `${property.name} takes ${size} registers, one read gives ${max} at most`,
      hint: 'Shorten the value or split it into several properties.',
      path: [...path, 'length'],
    })
  }
  const forbidden = limits.forbidden.find(
    (range) => range.table === table && range.start < start + size && range.end > start,
  )
  if (forbidden !== undefined) {
    findings.push({
      severity: 'error',
      code: 'SLUICE_LINT_FORBIDDEN',
      message: `${property.name} lies in a range that the model itself forbids to read`,
      hint: 'Correct the address or the range under spec.modbus.forbidden.',
      path: key,
    })
  }
  return findings
}

/** The scale comes with the value in one read, or the value cannot be told. */
function lintScaleRegister({ property, binding, table, start, size, path }: Bound, options: ModbusModel): Finding[] {
  if (binding.scaleRegister === undefined) return []
  const base = options.addressBase ?? 0
  const span = spanOf(binding, { table, start }, size, base)
  const inside = span.size === size
  const limits = readLimits(options)
  const refused = limits.forbidden.some(
    (range) => range.table === table && range.start < span.start + span.size && range.end > span.start,
  )
  if (!inside && !refused && span.size <= limits.maxRegisters && span.start >= 0 && span.start + span.size <= 65536) {
    return []
  }
  const message = inside
    ? `the scale of ${property.name} is a register of the value itself`
    : refused
      ? `between ${property.name} and its scale register lies a range that the model forbids to read`
      : `${property.name} and its scale register are ${span.size} registers apart, one read gives ${limits.maxRegisters} at most`
  return [
    {
      severity: 'error',
      code: 'SLUICE_LINT_SCALE_REGISTER',
      message,
      hint: 'scaleRegister is an address of the same table, near the value: in SunSpec it belongs to the same model.',
      path: [...path, 'scaleRegister'],
    },
  ]
}

function lintAccess({ property, binding, table, size, path }: Bound): Finding[] {
  const writable = (property.access ?? 'read') !== 'read'
  const readOnlyTable = table === 'input' || table === 'discrete'
  const findings: Finding[] = []
  if (writable && readOnlyTable && binding.write?.register === undefined) {
    findings.push({
      severity: 'error',
      code: 'SLUICE_LINT_READ_ONLY_TABLE',
      message: `${property.name} is writable, but the ${table} table cannot be written`,
      hint: `Bind it to ${table === 'input' ? 'holding' : 'coil'}, say access: read, or give write.register.`,
      path: [...path, table],
    })
  }
  const fn = binding.write?.function
  if (fn === undefined) return findings
  const bits = isBitTable(table)
  const fits = bits ? fn === 5 || fn === 15 : fn === 16 || fn === 22 || (fn === 6 && size === 1)
  if (!fits) {
    findings.push({
      severity: 'error',
      code: 'SLUICE_LINT_WRITE_FUNCTION',
      message: `function ${fn} cannot write ${property.name}, which is ${bits ? 'a bit' : `${size} register${size > 1 ? 's' : ''}`}`,
      hint: bits ? 'Bits are written with 5 or 15.' : 'One register is written with 6, 16 or 22, several with 16.',
      path: [...path, 'write', 'function'],
    })
  }
  return findings
}

function lintOverlaps(bound: readonly Bound[]): Finding[] {
  const findings: Finding[] = []
  const sorted = [...bound].sort((a, b) => a.start - b.start)
  sorted.forEach((later, index) => {
    // Values are at most 125 registers long, so only a few neighbours can reach this far.
    for (let before = index - 1; before >= 0; before--) {
      const earlier = sorted[before]!
      if (earlier.start + 125 < later.start) break
      if (earlier.table !== later.table || earlier.start + earlier.size <= later.start) continue
      const finding = overlap(earlier, later)
      if (finding !== undefined) findings.push(finding)
    }
  })
  return findings
}

function overlap(a: Bound, b: Bound): Finding | undefined {
  const same =
    a.start === b.start && a.size === b.size && a.format.as === b.format.as && a.format.order === b.format.order
  const path = [...b.path, b.table]
  if (!same) {
    const parts = partOf(a) || partOf(b)
    return {
      severity: parts ? 'warning' : 'error',
      code: 'SLUICE_LINT_OVERLAP',
      message: `${b.property.name} (${b.format.as}) and ${a.property.name} (${a.format.as}) share registers but read them differently`,
      hint: 'One of the two addresses or types is wrong; see the register map of the device.',
      path,
    }
  }
  const field = ({ binding }: Bound) =>
    JSON.stringify([
      binding.bit,
      binding.bits,
      binding.scaleRegister,
      binding.scale ?? 1,
      binding.offset ?? 0,
      binding.map,
    ])
  if (field(a) !== field(b)) return undefined
  return {
    severity: 'warning',
    code: 'SLUICE_LINT_DUPLICATE',
    message: `${b.property.name} and ${a.property.name} read the very same thing`,
    hint: 'Remove one of them, or correct the address that was copied.',
    path,
  }
}

/** Takes only a part of its registers, so that others may have the rest. */
const partOf = ({ binding, format }: Bound) =>
  binding.bit !== undefined || binding.bits !== undefined || /8[lh]$/.test(format.as)

/** 30001 and 40001 are names from manuals, not addresses: 4 means holding, and counting starts at 1. */
function lintAddressBase(bound: readonly Bound[], options: ModbusModel): Finding[] {
  const base = options.addressBase ?? 0
  const suspicious = (one: Bound) => {
    const written = one.start + base
    if (one.table === 'holding') return written > 40_000 && written < 50_000
    return one.table === 'input' && written > 30_000 && written < 40_000
  }
  const registers = bound.filter(({ table }) => table === 'holding' || table === 'input')
  // SunSpec's base is 40000 on the wire, and not the name of a register.
  if (registers.length === 0 || options.sunspec === true || !registers.every(suspicious)) return []
  const first = registers[0]!
  const written = first.start + base
  return [
    {
      severity: 'warning',
      code: 'SLUICE_LINT_ADDRESS_BASE',
      message: `every address looks like ${written}, the way manuals write ${first.table} register ${written % 10_000}`,
      hint: `Write ${first.table}: ${(written % 10_000) - 1} (or ${written % 10_000} with addressBase: 1 under spec.modbus).`,
      path: [...first.path, first.table],
    },
  ]
}

/** One wire has one speed and one framing: what the mapper would refuse is said before it is applied. */
function lintSharing(devices: readonly DeviceSpec[]): Finding[] {
  const first = new Map<string, string>()
  return devices.flatMap((device, index): Finding[] => {
    const address = addressOf(device)
    if (address === undefined) return []
    const { id, name, settings } = linkOf(address)
    const inForce = first.get(id) ?? settings
    first.set(id, inForce)
    if (settings === inForce) return []
    return [
      {
        severity: 'error',
        code: 'SLUICE_LINT_LINE',
        message: `${name} runs as ${inForce} for another device; this one wants ${settings}`,
        hint: 'All devices on one line share its speed, parity and framing: correct one of them, or use another line.',
        path: ['devices', index, 'modbus', TRANSPORTS.find((transport) => address[transport] !== undefined) ?? 'tcp'],
      },
    ]
  })
}

function lintShift(bound: readonly Bound[], devices: readonly DeviceSpec[]): Finding[] {
  if (bound.length === 0) return []
  const first = Math.min(...bound.map(({ start }) => start))
  const last = Math.max(...bound.map(({ start, size }) => start + size - 1))
  return devices.flatMap((device, index): Finding[] => {
    const shift = addressOf(device)?.shift ?? 0
    if (first + shift >= 0 && last + shift <= 65535) return []
    return [
      {
        severity: 'error',
        code: 'SLUICE_LINT_ADDRESS',
        message: `with a shift of ${shift} the addresses of ${device.model} go from ${first + shift} to ${last + shift}`,
        hint: `They have to stay between 0 and 65535: shift may be ${-first} to ${65535 - last} here.`,
        path: ['devices', index, 'modbus', 'shift'],
      },
    ]
  })
}

/** All devices of the model on one wire together; what devices of other models add is not known here. */
function lintLoad(model: DeviceModelSpec, devices: readonly DeviceSpec[]): Finding[] {
  const loads = new Map<string, { name: string; load: number; devices: number }>()
  for (const device of devices) {
    if (addressOf(device) === undefined) continue
    const config = compileDevice({ key: device.model, device, model, revision: '' })
    const { link } = config
    const polled = config.points.filter((point) => point.polled)
    const { load } = planReads(polled, config.limits, readCost(link.line, config.turnaroundMs))
    const sum = loads.get(link.id) ?? { name: `${link.name} (${link.settings})`, load: 0, devices: 0 }
    loads.set(link.id, { ...sum, load: sum.load + load, devices: sum.devices + 1 })
  }
  return [...loads.values()]
    .filter(({ load }) => load > MAX_LOAD)
    .map(({ name, load, devices: count }) => ({
      severity: 'warning',
      code: 'SLUICE_LINT_LOAD',
      message: `polling ${count === 1 ? 'this device' : `the ${count} devices`} takes ${Math.round(load * 100)} % of the time of ${name}`,
      hint: `Poll ${Math.ceil(load / 0.7)} times more slowly, raise the baud rate, or share the devices among several lines.`,
      path: ['spec', 'properties'],
    }))
}
