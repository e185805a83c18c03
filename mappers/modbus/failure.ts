import { toSluiceError } from '../../api/errors.ts'
import type { ObjectKey } from '../../api/resources.ts'
import { bad, type Quality } from '../../api/twin/quality.ts'
import type { HostEvent } from '../sdk/mapper.ts'
import { exceptionOf } from './session.ts'

/** Why a request brought nothing, sorted by what follows from it. */
export interface Failure {
  /**
   * `silent`: the unit did not answer, or its gateway says it is not there (exceptions 10, 11).
   * `noise`: something came that was damaged or fitted nothing.
   * `busy`: the unit asks to be asked again (exceptions 5, 6).
   * `refused`: the unit answered and said no.
   * `linkDown`: nothing can be said about the unit.
   * `given up`: we did not want the answer any more.
   */
  readonly kind: 'silent' | 'noise' | 'busy' | 'refused' | 'linkDown' | 'given up'
  readonly exception: number | undefined
  /** For the counters and for `bad(...)`: `timeout`, `crc`, `modbus-exception-2`. */
  readonly code: string
  readonly reason: string
}

const CODES: Readonly<Record<string, { kind: Failure['kind']; code: string }>> = {
  SLUICE_MODBUS_TIMEOUT: { kind: 'silent', code: 'timeout' },
  SLUICE_MODBUS_CRC: { kind: 'noise', code: 'crc' },
  SLUICE_MODBUS_BAD_RESPONSE: { kind: 'noise', code: 'bad-response' },
  SLUICE_MODBUS_LINK_DOWN: { kind: 'linkDown', code: 'link-down' },
  SLUICE_MODBUS_BUSY: { kind: 'given up', code: 'link-overloaded' },
  SLUICE_MODBUS_CLOSED: { kind: 'given up', code: 'closed' },
}

export function failureOf(thrown: unknown): Failure {
  const error = toSluiceError(thrown)
  const exception = exceptionOf(thrown)
  if (exception !== undefined) {
    const kind = exception === 5 || exception === 6 ? 'busy' : exception >= 10 ? 'silent' : 'refused'
    return { kind, exception, code: `modbus-exception-${exception}`, reason: error.message }
  }
  const known = CODES[error.code] ?? { kind: 'given up', code: 'internal' }
  return { ...known, exception: undefined, reason: error.message }
}

export const qualityOf = (failure: Failure): Quality => bad(failure.code)

/**
 * The event about what a device answered wrongly, for a person to look at; undefined for silence and being busy, which its
 * state tells.
 */
export function wrongAnswerEvent(
  device: ObjectKey,
  points: readonly { readonly name: string }[],
  quality: Quality,
  words: string,
): HostEvent | undefined {
  const reason = eventReason(quality)
  if (reason === undefined) return undefined
  const names = points.slice(0, 3).map(({ name }) => name)
  const more = points.length > names.length ? ` and ${points.length - names.length} more` : ''
  const event: HostEvent = { about: device, type: 'Warning', reason, message: `${names.join(', ')}${more}: ${words}` }
  // A device that says no has answered.
  return reason === 'ReadRefused' ? event : { ...event, unusable: true }
}

function eventReason(quality: Quality): string | undefined {
  if (quality === bad('bad-response')) return 'AnswerUnusable'
  if (quality === bad('crc')) return 'AnswerDamaged'
  const exception = Number(/^bad\(modbus-exception-(\d+)\)$/.exec(quality)?.[1])
  // 5 and 6 ask to be asked again, from 10 on a gateway says that the device is not there.
  const isRefusal = exception < 10 && exception !== 5 && exception !== 6
  return isRefusal ? 'ReadRefused' : undefined
}
