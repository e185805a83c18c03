import { durationMs } from '../../api/twin/duration.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import type { Bound } from './lint.ts'
import { isBitTable } from './point.ts'
import type { ModbusModel } from './schema.ts'
import { canonicalOrder, isInteger, rawLimits } from './values.ts'

type Check = (bound: Bound, options: ModbusModel) => Omit<Finding, 'severity'> | undefined

const scaleOf = ({ binding }: Bound) => binding.scale ?? 1
const offsetOf = ({ binding }: Bound) => binding.offset ?? 0
const isText = ({ format }: Bound) => format.as === 'string' || format.as === 'bytes'
const fieldOf = ({ binding }: Bound) => (binding.bit === undefined ? binding.bits : { first: binding.bit, count: 1 })

/** Largest and smallest value the binding can express, before rounding. */
function valueLimits(bound: Bound): { min: number; max: number } | undefined {
  // Whatever the device's power of ten makes of it.
  if (bound.binding.scaleRegister !== undefined) return undefined
  const field = fieldOf(bound)
  const raw = isBitTable(bound.table)
    ? { min: 0, max: 1 }
    : field === undefined
      ? rawLimits(bound.format.as)
      : { min: 0, max: 2 ** field.count - 1 }
  if (raw === undefined) return undefined
  const ends = [Number(raw.min), Number(raw.max)].map((end) => end * scaleOf(bound) + offsetOf(bound))
  return { min: Math.min(...ends), max: Math.max(...ends) }
}

const scaleWithoutUnit: Check = (bound) =>
  bound.binding.scale === undefined || bound.property.unit !== undefined || scaleOf(bound) === 1
    ? undefined
    : {
        code: 'SLUICE_LINT_SCALE_WITHOUT_UNIT',
        message: `${bound.property.name} is scaled by ${bound.binding.scale}, but nobody says to what unit`,
        hint: 'Give the property a unit: V, W, kWh, degC, %.',
        path: [...bound.path, 'scale'],
      }

const scaleOnInt: Check = (bound) =>
  bound.property.type !== 'int' ||
  (bound.binding.scaleRegister === undefined && Number.isInteger(scaleOf(bound)) && Number.isInteger(offsetOf(bound)))
    ? undefined
    : {
        code: 'SLUICE_LINT_SCALE_ON_INT',
        message: `${bound.property.name} is an int, but its scale or offset has decimals: they are rounded away`,
        hint: 'Say type: float.',
        path: [...bound.path, bound.binding.scaleRegister === undefined ? 'scale' : 'scaleRegister'],
      }

const floatAsInt: Check = (bound) =>
  bound.property.type !== 'int' ||
  !bound.format.as.startsWith('float') ||
  bound.property.enum !== undefined ||
  fieldOf(bound) !== undefined
    ? undefined
    : {
        code: 'SLUICE_LINT_FLOAT_AS_INT',
        message: `${bound.property.name} is an int, but the device sends ${bound.format.as}: decimals are rounded away`,
        hint: 'Say type: float, unless only whole numbers ever come.',
        path: [...bound.path, 'as'],
      }

const uselessOrder: Check = (bound) => {
  const { order } = bound.binding
  if (order === undefined || canonicalOrder(order) === 'big') return undefined
  const single = isBitTable(bound.table) || bound.size === 1
  if (!single || (!isBitTable(bound.table) && canonicalOrder(order) !== 'big-swap')) return undefined
  return {
    code: 'SLUICE_LINT_ORDER',
    message: `${bound.property.name} is one ${isBitTable(bound.table) ? 'bit' : 'register'} long: there are no words to swap`,
    hint: 'Remove order, or correct the type.',
    path: [...bound.path, 'order'],
  }
}

const bitOutOfRange: Check = (bound) => {
  const field = fieldOf(bound)
  if (field === undefined) return undefined
  const width = /8[lh]$/.test(bound.format.as) ? 8 : bound.size * 16
  const unfit = isBitTable(bound.table) || isText(bound) || /^(float|bcd)/.test(bound.format.as)
  if (!unfit && field.first + field.count <= width) return undefined
  return {
    code: 'SLUICE_LINT_BIT',
    message: unfit
      ? `${bound.property.name} cannot take bits out of ${isBitTable(bound.table) ? `the ${bound.table} table` : bound.format.as}`
      : `${bound.property.name} wants bit ${field.first + field.count - 1}, ${bound.format.as} has 0 to ${width - 1}`,
    hint: 'Bits are taken from integers: 0 to 15 of one register, 0 to 31 of two, 0 to 63 of four.',
    path: [...bound.path, bound.binding.bit === undefined ? 'bits' : 'bit'],
  }
}

const typeMismatch: Check = (bound) => {
  const { type, name } = bound.property
  const text = isText(bound)
  const fits =
    type === 'object' || type === 'array'
      ? false
      : bound.binding.map !== undefined
        ? type === 'string'
        : bound.format.as === 'string'
          ? type === 'string'
          : type === 'bytes'
            ? bound.format.as === 'bytes'
            : !text || type === 'string'
  if (fits) return undefined
  return {
    code: 'SLUICE_LINT_TYPE',
    message: `${name} is of type ${type}, which ${bound.binding.map === undefined ? bound.format.as : 'a map of words'} cannot give`,
    hint: 'int, float and bool come from numbers and bits; string from as: string or a map; bytes from as: bytes.',
    path: [...bound.path.slice(0, -1), 'type'],
  }
}

const typeOnBits: Check = (bound) => {
  const { as } = bound.binding
  if (!isBitTable(bound.table) || as === undefined || as === 'bool') return undefined
  return {
    code: 'SLUICE_LINT_TYPE',
    message: `${bound.property.name} is read as ${as}, but the ${bound.table} table holds single bits`,
    hint: 'Remove as, or bind it to input or holding.',
    path: [...bound.path, 'as'],
  }
}

const unreachableLimits: Check = (bound) => {
  const can = valueLimits(bound)
  const { min, max, name } = bound.property
  if (can === undefined || bound.binding.map !== undefined || (min === undefined && max === undefined)) return undefined
  const above = min !== undefined && min > can.max
  const below = max !== undefined && max < can.min
  const wide =
    (bound.property.access ?? 'read') !== 'read' && ((max ?? can.max) > can.max || (min ?? can.min) < can.min)
  if (!above && !below && !wide) return undefined
  return {
    code: 'SLUICE_LINT_LIMITS',
    message: `${name} allows ${min ?? '-inf'} to ${max ?? 'inf'}, its binding can express ${can.min} to ${can.max}`,
    hint: 'Correct min and max (they are in the unit of the value, after scale and offset) or the type.',
    path: [...bound.path.slice(0, -1), above || (min ?? can.min) < can.min ? 'min' : 'max'],
  }
}

const finePrecision: Check = (bound) => {
  const { precision, name } = bound.property
  const step = Math.abs(scaleOf(bound))
  if (bound.binding.scaleRegister !== undefined) return undefined
  if (precision === undefined || precision <= 0 || !isInteger(bound.format.as) || precision >= step * (1 - 1e-9))
    return undefined
  return {
    code: 'SLUICE_LINT_PRECISION',
    message: `${name} asks for a precision of ${precision}, the device counts in steps of ${step}`,
    hint: `Say precision: ${step}, or nothing.`,
    path: [...bound.path.slice(0, -1), 'precision'],
  }
}

const mapKeys: Check = (bound) => {
  const { map } = bound.binding
  const can = valueLimits(bound)
  if (map === undefined) return undefined
  const wrong = Object.keys(map).find((key) => {
    const raw = Number(key)
    return !Number.isInteger(raw) || (can !== undefined && (raw < can.min || raw > can.max))
  })
  const words = Object.values(map)
  const twice =
    (bound.property.access ?? 'read') === 'read' ? undefined : words.find((word, at) => words.indexOf(word) !== at)
  if (wrong === undefined && twice === undefined) return undefined
  return {
    code: 'SLUICE_LINT_MAP',
    message:
      wrong === undefined
        ? `${bound.property.name} has the word ${twice} twice: which raw value should be written?`
        : `${wrong} in the map of ${bound.property.name} is no raw value that ${bound.format.as} can have`,
    hint: 'The keys of map are raw whole numbers, its values the words for them.',
    path: wrong === undefined ? [...bound.path, 'map'] : [...bound.path, 'map', wrong],
  }
}

const enumOutsideMap: Check = (bound) => {
  const { map } = bound.binding
  const allowed = bound.property.enum
  if (allowed === undefined) return undefined
  const can = valueLimits(bound)
  const words = map === undefined ? undefined : new Set(Object.values(map))
  const odd = allowed.findIndex((value) => {
    if (words !== undefined) return typeof value !== 'string' || !words.has(value)
    return typeof value === 'number' && can !== undefined && (value < can.min || value > can.max)
  })
  if (odd < 0) return undefined
  return {
    code: 'SLUICE_LINT_ENUM',
    message: `${JSON.stringify(allowed[odd])} is allowed for ${bound.property.name}, but its binding cannot express it`,
    hint:
      words === undefined ? 'Correct the enum or the type.' : 'Every value of enum has to be one of the words in map.',
    path: [...bound.path.slice(0, -1), 'enum', odd],
  }
}

const fastHeartbeat: Check = (bound) => {
  const { report, poll, name } = bound.property
  if (report?.heartbeat === undefined) return undefined
  const everyMs = poll?.every === undefined ? 1000 : durationMs(poll.every)
  if (durationMs(report.heartbeat) >= everyMs) return undefined
  return {
    code: 'SLUICE_LINT_HEARTBEAT',
    message: `${name} should be reported every ${report.heartbeat}, but is read only every ${poll?.every ?? '1s'}`,
    hint: 'A heartbeat cannot be shorter than the poll period.',
    path: [...bound.path.slice(0, -1), 'report', 'heartbeat'],
  }
}

const textWithNumbers: Check = (bound) => {
  if (!isText(bound)) return undefined
  const { scale, offset, scaleRegister, bit, bits, notImplemented } = bound.binding
  if ([scale, offset, scaleRegister, bit, bits, notImplemented].every((option) => option === undefined))
    return undefined
  return {
    code: 'SLUICE_LINT_TYPE',
    message: `${bound.property.name} is ${bound.format.as}; scale, offset, bits and notImplemented are for numbers`,
    hint: 'Remove them, or correct as.',
    path: [...bound.path, 'as'],
  }
}

const noLength: Check = (bound) =>
  !isText(bound) || bound.binding.length !== undefined
    ? undefined
    : {
        code: 'SLUICE_LINT_LENGTH',
        message: `${bound.property.name} is ${bound.format.as} of unknown length`,
        hint: 'Give length in registers (two bytes each).',
        path: [...bound.path, 'as'],
      }

const uselessLength: Check = (bound) =>
  isText(bound) ||
  bound.binding.length === undefined ||
  (bound.binding.length === bound.size && !isBitTable(bound.table))
    ? undefined
    : {
        code: 'SLUICE_LINT_LENGTH',
        message: `length of ${bound.property.name} is not used: ${bound.format.as} takes ${bound.size}`,
        hint: 'length is for string and bytes.',
        path: [...bound.path, 'length'],
      }

const ERRORS: readonly Check[] = [bitOutOfRange, typeMismatch, typeOnBits, mapKeys, enumOutsideMap, noLength]
const WARNINGS: readonly Check[] = [
  scaleWithoutUnit,
  scaleOnInt,
  floatAsInt,
  uselessOrder,
  unreachableLimits,
  finePrecision,
  fastHeartbeat,
  textWithNumbers,
  uselessLength,
]

/** What can be wrong with the form of one value: type, scale, bits, words, limits. */
export function lintForm(bound: Bound, options: ModbusModel): Finding[] {
  const run = (checks: readonly Check[], severity: Finding['severity']) =>
    checks.flatMap((check) => {
      const finding = check(bound, options)
      return finding === undefined ? [] : [{ severity, ...finding }]
    })
  return [...run(ERRORS, 'error'), ...run(WARNINGS, 'warning')]
}
