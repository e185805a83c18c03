import type { Json } from '../../api/resources.ts'
import { compileDevice } from '../../mappers/modbus/device-config.ts'
import { type PlanGroup, planReads } from '../../mappers/modbus/plan.ts'
import { readCost } from '../../mappers/modbus/plan-cost.ts'
import { isBitTable, type Point } from '../../mappers/modbus/point.ts'
import type { DeviceBinding } from '../../mappers/sdk/mapper.ts'
import { Unusable } from '../../mappers/sdk/no-value.ts'
import type { Vector, WriteVector } from './vectors.ts'

type Image = ReadonlyMap<string, number>

const at = (table: string, address: number) => `${table}:${address}`

function imageOf(registers: NonNullable<Vector['registers']>): Image {
  const image = new Map<string, number>()
  for (const [table, runs] of Object.entries(registers)) {
    for (const [start, words] of Object.entries(runs)) {
      for (const [index, word] of words.split(' ').entries()) {
        image.set(at(table, Number(start) + index), Number.parseInt(word, 16))
      }
    }
  }
  return image
}

/**
 * What a gateway makes of a device with these registers: the requests of its own plan are answered from them, and the
 * mapper's own points read the answers. Registers nobody named answer 0, as the gaps of real devices do.
 */
export function readAll(binding: DeviceBinding, registers: NonNullable<Vector['registers']>): Map<string, Json> {
  const config = compileDevice(binding)
  const image = imageOf(registers)
  const polled = config.points.filter((point) => point.polled)
  const plan = planReads(polled, config.limits, readCost(config.link.line, config.turnaroundMs))
  const values = new Map<string, Json>()
  for (const group of plan.groups) readGroup(group, image, values)
  return values
}

function readGroup(group: PlanGroup<Point>, image: Image, values: Map<string, Json>): void {
  const { start, count } = group.steps.at(-1)!
  const answer = new DataView(new ArrayBuffer(count * 2))
  for (let index = 0; index < count; index++) {
    answer.setUint16(index * 2, image.get(at(group.table, start + index)) ?? 0)
  }
  for (const point of group.steps.flatMap(({ items }) => items)) {
    const offset = (point.start - start) * 2
    const value = isBitTable(group.table)
      ? point.decodeBit(answer.getUint16(offset) !== 0)
      : point.decode(answer, offset)
    values.set(point.name, value instanceof Unusable ? `bad(${value.code})` : value)
  }
}

/** What a write puts on the wire, in the form of its vector. */
export function writeOne(binding: DeviceBinding, { property, value }: WriteVector) {
  const point = compileDevice(binding).points.find(({ name }) => name === property)
  const encoded = point?.encode(value)
  if (point?.write === undefined || encoded === undefined || !('kind' in encoded)) return encoded
  const words =
    encoded.kind === 'coil'
      ? encoded.value
        ? '1'
        : '0'
      : [...encoded.values].map((word) => word.toString(16).toUpperCase().padStart(4, '0')).join(' ')
  return { table: point.write.table, address: point.write.start, words }
}
