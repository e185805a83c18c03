import type { Json } from '../../api/resources.ts'
import { float32, float64, ProtobufError, ProtobufWriter, readFields, type WireField } from './protobuf.ts'
import {
  ARRAY_TYPE,
  type ArrayType,
  decodeArray,
  decodeDataSet,
  encodeArray,
  type Structured,
} from './sparkplug-values.ts'

/** Data types of metrics, Sparkplug B 3.0, section 6.4.16. */
export const DATA_TYPE = {
  Int8: 1,
  Int16: 2,
  Int32: 3,
  Int64: 4,
  UInt8: 5,
  UInt16: 6,
  UInt32: 7,
  UInt64: 8,
  Float: 9,
  Double: 10,
  Boolean: 11,
  String: 12,
  DateTime: 13,
  Text: 14,
  UUID: 15,
  DataSet: 16,
  Bytes: 17,
  File: 18,
  Template: 19,
  ...ARRAY_TYPE,
} as const

export type DataType = keyof typeof DATA_TYPE

const NAME_OF = new Map<number, DataType>(
  (Object.keys(DATA_TYPE) as DataType[]).map((name): [number, DataType] => [DATA_TYPE[name], name]),
)

/** How many bits an integer type has; negative for signed ones. */
const INTEGER_BITS: Partial<Readonly<Record<DataType, number>>> = {
  Int8: -8,
  Int16: -16,
  Int32: -32,
  Int64: -64,
  UInt8: 8,
  UInt16: 16,
  UInt32: 32,
  UInt64: 64,
  DateTime: 64,
}

export interface Metric {
  readonly name?: string
  readonly alias?: number
  readonly timestampMs?: number
  readonly type?: DataType
  readonly isHistorical?: boolean
  readonly isTransient?: boolean
  readonly isNull?: boolean
  /** The property `Quality`, which is needed only where it is not `QUALITY.good`. */
  readonly quality?: number
  /** A UInt32 in the field of the 64-bit integers, where many implementations put it although the specification does not. */
  readonly wide?: true
  /**
   * Bytes are base64, a data set is a list of its rows, a template an object of its metrics. Absent for null, and where
   * there is a problem.
   */
  readonly value?: Json
  /** Why what was sent is no value. */
  readonly problem?: string
}

/** Quality codes of section 6.4.11. */
export const QUALITY = { bad: 0, good: 192, stale: 500 } as const

export interface SparkplugPayload {
  readonly timestampMs?: number
  readonly seq?: number
  readonly metrics: readonly Metric[]
}

/** The type a metric was born with: only births have to say it. */
export type TypeOf = (metric: Metric) => DataType | undefined

/** @throws ProtobufError when the bytes are no Sparkplug B payload. */
export function decodePayload(bytes: Uint8Array, typeOf: TypeOf = () => undefined): SparkplugPayload {
  const payload: { -readonly [K in keyof SparkplugPayload]: SparkplugPayload[K] } & { metrics: Metric[] } = {
    metrics: [],
  }
  for (const field of readFields(bytes)) {
    if (field.number === 1) payload.timestampMs = Number(expect(field, 'varint').varint)
    else if (field.number === 2) payload.metrics.push(decodeMetric(expect(field, 'bytes').bytes, typeOf))
    else if (field.number === 3) payload.seq = Number(expect(field, 'varint').varint)
  }
  return payload
}

function expect(field: WireField, kind: WireField['kind']): WireField {
  if (field.kind === kind) return field
  throw new ProtobufError(`field ${field.number} is a ${field.kind} on the wire where a ${kind} belongs`)
}

const textOf = (field: WireField): string => Buffer.from(expect(field, 'bytes').bytes).toString()

/** Templates within templates; beyond this somebody means harm. */
const MAX_DEPTH = 8

function decodeMetric(bytes: Uint8Array, typeOf: TypeOf, depth = 0): Metric {
  const metric: { -readonly [K in keyof Metric]: Metric[K] } = {}
  let value: WireField | undefined
  for (const field of readFields(bytes)) {
    if (field.number === 1) metric.name = textOf(field)
    else if (field.number === 2) metric.alias = Number(expect(field, 'varint').varint)
    else if (field.number === 3) metric.timestampMs = Number(expect(field, 'varint').varint)
    else if (field.number === 4) {
      const type = NAME_OF.get(Number(expect(field, 'varint').varint))
      if (type !== undefined) metric.type = type
    } else if (field.number === 5) metric.isHistorical = expect(field, 'varint').varint !== 0n
    else if (field.number === 6) metric.isTransient = expect(field, 'varint').varint !== 0n
    else if (field.number === 7) metric.isNull = expect(field, 'varint').varint !== 0n
    else if (field.number === 9) {
      const quality = decodeQuality(expect(field, 'bytes').bytes)
      if (quality !== undefined) metric.quality = quality
    } else if (field.number >= 10 && field.number <= 19) value = field
  }
  const type = metric.type ?? typeOf(metric)
  if (type !== undefined) metric.type = type
  if (value !== undefined && metric.isNull !== true) {
    if (type === 'UInt32' && value.number === 11) metric.wide = true
    const decoded = structuredOf(value, type, depth)
    if ('value' in decoded) metric.value = decoded.value
    else metric.problem = decoded.problem
  }
  return metric
}

/** A property set is two lists of the same length: keys, and values with their type. Only `Quality` has a meaning of its own. */
function decodeQuality(bytes: Uint8Array): number | undefined {
  const keys: string[] = []
  const values: Uint8Array[] = []
  for (const field of readFields(bytes)) {
    if (field.number === 1) keys.push(textOf(field))
    else if (field.number === 2) values.push(expect(field, 'bytes').bytes)
  }
  const value = values[keys.indexOf('Quality')]
  if (value === undefined) return undefined
  for (const field of readFields(value)) {
    if (field.number === 3 || field.number === 4) return Number(expect(field, 'varint').varint)
  }
  return undefined
}

const isArrayType = (type: DataType | undefined): type is ArrayType => type !== undefined && type in ARRAY_TYPE

/** Section 6.4.14: which field holds the value; the data type says how to read an integer and an array. */
function structuredOf(field: WireField, type: DataType | undefined, depth: number): Structured {
  switch (field.number) {
    case 16: {
      const { bytes } = expect(field, 'bytes')
      return isArrayType(type) ? decodeArray(type, bytes) : { value: Buffer.from(bytes).toString('base64') }
    }
    case 17:
      return decodeDataSet(expect(field, 'bytes').bytes)
    case 18:
      return depth < MAX_DEPTH
        ? decodeTemplate(expect(field, 'bytes').bytes, depth)
        : { problem: `more than ${MAX_DEPTH} templates within each other` }
    case 19:
      return { problem: 'it is an extension that only its maker can read' }
    default: {
      const value = scalarOf(field, type)
      return value === undefined ? { problem: 'it is not a finite number' } : { value }
    }
  }
}

/** An instance as an object of its metrics; of a definition it is what they begin with. */
function decodeTemplate(bytes: Uint8Array, depth: number): Structured {
  const members: [string, Json][] = []
  for (const field of readFields(bytes)) {
    if (field.number !== 2) continue
    const { name, value, problem } = decodeMetric(expect(field, 'bytes').bytes, () => undefined, depth + 1)
    if (name === undefined) return { problem: 'a metric of the template has no name' }
    if (problem !== undefined) return { problem: `${name}: ${problem}` }
    members.push([name, value ?? null])
  }
  return { value: Object.fromEntries(members) }
}

function scalarOf(field: WireField, type: DataType | undefined): number | boolean | string | undefined {
  switch (field.number) {
    case 10:
    case 11: {
      const { varint } = expect(field, 'varint')
      const bits = type === undefined ? undefined : INTEGER_BITS[type]
      const wide = field.number === 10 ? BigInt.asUintN(32, varint) : varint
      if (bits === undefined) return Number(wide)
      return Number(bits < 0 ? BigInt.asIntN(-bits, wide) : BigInt.asUintN(bits, wide))
    }
    case 12:
      return finite(float32(expect(field, 'fixed32').bytes))
    case 13:
      return finite(float64(expect(field, 'fixed64').bytes))
    case 14:
      return expect(field, 'varint').varint !== 0n
    case 15:
      return textOf(field)
    default:
      return undefined
  }
}

const finite = (value: number): number | undefined => (Number.isFinite(value) ? value : undefined)

export function encodePayload(payload: SparkplugPayload): Uint8Array {
  const writer = new ProtobufWriter()
  if (payload.timestampMs !== undefined) writer.varint(1, BigInt(Math.trunc(payload.timestampMs)))
  for (const metric of payload.metrics) writer.bytes(2, encodeMetric(metric))
  if (payload.seq !== undefined) writer.varint(3, BigInt(payload.seq))
  return writer.finish()
}

function encodeMetric(metric: Metric): Uint8Array {
  const writer = new ProtobufWriter()
  const { name, alias, timestampMs, type, value } = metric
  if (name !== undefined) writer.text(1, name)
  if (alias !== undefined) writer.varint(2, BigInt(alias))
  if (timestampMs !== undefined) writer.varint(3, BigInt(Math.trunc(timestampMs)))
  if (type !== undefined) writer.varint(4, BigInt(DATA_TYPE[type]))
  if (metric.isHistorical === true) writer.bool(5, true)
  if (metric.isTransient === true) writer.bool(6, true)
  if (value === undefined || value === null) writer.bool(7, true)
  if (metric.quality !== undefined) {
    const quality = new ProtobufWriter().varint(1, BigInt(DATA_TYPE.Int32)).varint(3, BigInt(metric.quality)).finish()
    writer.bytes(9, new ProtobufWriter().text(1, 'Quality').bytes(2, quality).finish())
  }
  if (value !== undefined && value !== null) encodeValue(writer, metric, value)
  return writer.finish()
}

/** False for data sets and templates, which are only read here, and for arrays whose elements are of another type. */
export function isEncodable({ type, value }: Metric): boolean {
  if (type === 'DataSet' || type === 'Template') return false
  if (!isArrayType(type)) return true
  return Array.isArray(value) && encodeArray(type, value) !== undefined
}

function encodeValue(writer: ProtobufWriter, { type, wide }: Metric, value: Json): void {
  const bits = type === undefined ? undefined : INTEGER_BITS[type]
  if (bits !== undefined && typeof value === 'number') {
    const whole = BigInt(Math.trunc(value))
    if (Math.abs(bits) === 64 || wide === true) writer.varint(11, BigInt.asUintN(64, whole))
    else writer.varint(10, BigInt.asUintN(32, whole))
  } else if (type === 'Float' && typeof value === 'number') writer.float(12, value)
  else if (type === 'Boolean') writer.bool(14, value === true)
  else if ((type === 'Bytes' || type === 'File') && typeof value === 'string') {
    writer.bytes(16, Buffer.from(value, 'base64'))
  } else if (isArrayType(type) && Array.isArray(value)) {
    writer.bytes(16, encodeArray(type, value) ?? new Uint8Array())
  } else if (typeof value === 'number') writer.double(13, value)
  else writer.text(15, typeof value === 'string' ? value : JSON.stringify(value))
}

export const MESSAGE_KINDS = ['NBIRTH', 'NDATA', 'NDEATH', 'NCMD', 'DBIRTH', 'DDATA', 'DDEATH', 'DCMD'] as const
export type MessageKind = (typeof MESSAGE_KINDS)[number]

export interface SparkplugTopic {
  readonly group: string
  readonly kind: MessageKind
  readonly node: string
  readonly device: string | undefined
}

/** `spBv1.0/{group}/{kind}/{node}[/{device}]`; undefined for anything else. */
export function parseTopic(topic: string): SparkplugTopic | undefined {
  const [space, group = '', word, node = '', device, more] = topic.split('/')
  const kind = MESSAGE_KINDS.find((one) => one === word)
  if (space !== 'spBv1.0' || kind === undefined || more !== undefined || group === '' || node === '') return undefined
  if (kind.startsWith('D') !== (device !== undefined)) return undefined
  return { group, kind, node, device }
}

export const topicOf = (group: string, kind: MessageKind, node: string, device?: string): string =>
  ['spBv1.0', group, kind, node, ...(device === undefined ? [] : [device])].join('/')

export const REBIRTH = 'Node Control/Rebirth'
