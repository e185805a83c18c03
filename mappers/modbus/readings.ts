import type { Json, ObjectKey } from '../../api/resources.ts'
import { bad } from '../../api/twin/quality.ts'
import type { Reading } from '../sdk/mapper.ts'
import { Unusable } from '../sdk/no-value.ts'
import type { ReadRange } from './narrow.ts'
import type { Point } from './point.ts'
import type { ModbusResponse } from './session.ts'

/** One reading a point out of the answer to one request. Nothing is allocated but the readings themselves. */
export function readingsOf(
  device: ObjectKey,
  points: readonly Point[],
  range: ReadRange,
  response: ModbusResponse,
  atMs: number,
): readonly Reading[] {
  const readings: Reading[] = new Array(points.length)
  if (response.fc === 1 || response.fc === 2) {
    for (let i = 0; i < points.length; i++) {
      const point = points[i]!
      const index = point.start - range.start
      const on = ((response.bits[index >> 3]! >> (index & 7)) & 1) === 1
      readings[i] = readingOf(device, point, point.decodeBit(on), atMs)
    }
    return readings
  }
  if (response.fc !== 3 && response.fc !== 4) return []
  const { registers } = response
  const view = new DataView(registers.buffer, registers.byteOffset, registers.byteLength)
  for (let i = 0; i < points.length; i++) {
    const point = points[i]!
    readings[i] = readingOf(device, point, point.decode(view, (point.start - range.start) * 2), atMs)
  }
  return readings
}

function readingOf(device: ObjectKey, point: Point, value: Json | Unusable, atMs: number): Reading {
  if (value instanceof Unusable) {
    return { device, property: point.name, atMs, quality: bad(value.code), reason: value.reason }
  }
  if (typeof value === 'number') {
    const { min, max } = point.property
    if ((min !== undefined && value < min) || (max !== undefined && value > max)) {
      const reason = `outside ${min ?? '-inf'} to ${max ?? 'inf'} that the model allows`
      return { device, property: point.name, value, atMs, quality: 'uncertain', reason }
    }
  }
  return { device, property: point.name, value, atMs, quality: 'good' }
}
