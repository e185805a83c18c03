import { createHash } from 'node:crypto'
import type { DeviceModelSpec, Json, ModelProperty } from '../../api/resources.ts'
import { bindingOf, formatOf, isBitTable, modelOf, placeOf } from './point.ts'
import type { ModbusModel, ModbusProperty } from './schema.ts'
import { canonicalOrder, registersOf } from './values.ts'

/** Bytes of a model hash, in the board's system block and in its image. */
export const MODEL_HASH_BYTES = 8

/**
 * What a model says about the meaning of a board's registers, in one form whatever way it was written: properties by
 * name, addresses from 0, defaults filled in. What only the gateway cares about (polling, reporting, descriptions, how
 * reads are merged) is left out, so that changing it does not make strangers of board and gateway.
 */
export function canonicalModel(model: DeviceModelSpec): string {
  const options = modelOf(model)
  const properties = model.properties.flatMap((property) => {
    const binding = bindingOf(property)
    return binding === undefined ? [] : [canonicalProperty(property, binding, options)]
  })
  const byName = properties.sort((a, b) => compare(String(a['name']), String(b['name'])))
  return JSON.stringify(sorted({ layout: 1, sunspec: options.sunspec === true, properties: byName }))
}

/** The first bytes of the SHA-256 of the canonical form. */
export const modelHash = (model: DeviceModelSpec): Uint8Array =>
  new Uint8Array(createHash('sha256').update(canonicalModel(model)).digest().subarray(0, MODEL_HASH_BYTES))

type Fields = { readonly [key: string]: Json | undefined }

function canonicalProperty(property: ModelProperty, binding: ModbusProperty, options: ModbusModel): Fields {
  const base = options.addressBase ?? 0
  const place = placeOf(binding, base)
  const format = formatOf(binding, options)
  const onBit = place !== undefined && isBitTable(place.table)
  const text = format.as === 'string' || format.as === 'bytes'
  const write = binding.write?.register
  const access = property.access ?? 'read'
  return {
    name: property.name,
    type: property.type,
    access,
    unit: property.unit,
    min: property.min,
    max: property.max,
    enum: property.enum as Json | undefined,
    precision: property.precision === 0 ? undefined : property.precision,
    table: place?.table,
    address: place?.start,
    ...(onBit
      ? {}
      : {
          as: format.as,
          registers: registersOf(format),
          // A register alone has no word order, only a byte order.
          order: registersOf(format) === 1 ? byteOrder(binding, options) : canonicalOrder(format.order),
          stringByte: text && format.stringByte !== 'both' ? format.stringByte : undefined,
        }),
    scale: binding.scale === 1 ? undefined : binding.scale,
    offset: binding.offset === 0 ? undefined : binding.offset,
    scaleRegister: binding.scaleRegister === undefined ? undefined : binding.scaleRegister - base,
    bits: binding.bits === undefined ? bitAsBits(binding.bit) : { ...binding.bits },
    map: binding.map === undefined ? undefined : mapByNumber(binding.map),
    notImplemented: binding.notImplemented === undefined ? undefined : [...binding.notImplemented].sort(),
    writeAddress: access === 'read' || write === undefined ? undefined : write - base,
  }
}

const byteOrder = (binding: ModbusProperty, options: ModbusModel): string =>
  canonicalOrder(formatOf(binding, options).order).startsWith('little') ? 'little' : 'big'

const bitAsBits = (bit: number | undefined): Json | undefined =>
  bit === undefined ? undefined : { first: bit, count: 1 }

/** `0x10` and `16` are one key. */
const mapByNumber = (map: Readonly<Record<string, string>>): Json =>
  Object.fromEntries(Object.entries(map).map(([raw, word]) => [String(Number(raw)), word]))

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Keys in order and what is undefined left out, at every depth. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).filter(([, each]) => each !== undefined)
  return Object.fromEntries(fields.sort(([a], [b]) => compare(a, b)).map(([key, each]) => [key, sorted(each)]))
}
