import { isBad } from '../../api/twin/quality.ts'
import type { Reading } from '../../mappers/sdk/mapper.ts'
import type { DeviceState, PropertyState } from './device-state.ts'

/** Whether silence of this device says anything: one that is left alone on purpose is silent, and that is well. */
export function isExpected({ standby, spec, stretch, model }: DeviceState): boolean {
  return !standby && spec.paused !== true && stretch?.paused === undefined && model !== undefined
}

/**
 * What is to be told of a property that has been silent for too long; undefined while it has not, and once it is told.
 * Silence is measured by the monotonic clock, so that setting the time does nothing.
 */
export function silence(
  { key }: DeviceState,
  property: PropertyState,
  time: { readonly monotonicMs: number; readonly wallMs: number },
): Reading | undefined {
  const { definition, lastReadingMs, lastReport, rhythm, staleAfterMs, name } = property
  const silentMs = time.monotonicMs - lastReadingMs
  if (silentMs < (rhythm?.silenceMs ?? staleAfterMs)) return undefined
  if (definition === undefined || definition.access === 'write') return undefined
  const quality = lastReport?.quality
  if (quality === 'stale' || (quality !== undefined && isBad(quality))) return undefined
  const reason = `no reading for ${Math.round(silentMs / 1000)} s`
  return { device: key, property: name, atMs: time.wallMs, quality: 'stale', reason }
}
