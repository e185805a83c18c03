import type { Json, ObjectKey } from '../../api/resources.ts'
import { bad } from '../../api/twin/quality.ts'
import type { Reading } from '../sdk/mapper.ts'
import { Unusable } from '../sdk/no-value.ts'
import type { Point } from './point.ts'

export function readingOf(device: ObjectKey, point: Point, value: Json | Unusable, atMs: number): Reading {
  if (value instanceof Unusable) return badReading(device, point, value.code, value.reason, atMs)
  if (typeof value === 'number') {
    const { min, max } = point.property
    if ((min !== undefined && value < min) || (max !== undefined && value > max)) {
      const reason = `outside ${min ?? '-inf'} to ${max ?? 'inf'} that the model allows`
      return { device, property: point.name, value, atMs, quality: 'uncertain', reason }
    }
  }
  return { device, property: point.name, value, atMs, quality: 'good' }
}

export const badReading = (device: ObjectKey, point: Point, code: string, reason: string, atMs: number): Reading => ({
  device,
  property: point.name,
  atMs,
  quality: bad(code),
  reason,
})
