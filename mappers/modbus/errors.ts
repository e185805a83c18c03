import { SluiceError } from '../../api/errors.ts'

/** Meaning of the exception codes (MODBUS Application Protocol V1.1b3, section 7). */
const exceptionNames: Readonly<Record<number, string>> = {
  1: 'illegal function',
  2: 'illegal data address',
  3: 'illegal data value',
  4: 'device failure',
  5: 'acknowledged, still working',
  6: 'device busy',
  7: 'negative acknowledge',
  8: 'memory parity error',
  10: 'gateway path unavailable',
  11: 'gateway target did not respond',
}

export function exceptionError(unit: number, fc: number, exception: number): SluiceError {
  const name = exceptionNames[exception] ?? 'unknown exception'
  const error = new SluiceError(
    'SLUICE_MODBUS_EXCEPTION',
    `unit ${unit} refused function ${fc}: exception ${exception}, ${name}`,
    { hint: exceptionHint(exception) },
  )
  return Object.assign(error, { exception })
}

export function timeoutError(unit: number, fc: number, timeoutMs: number): SluiceError {
  return new SluiceError(
    'SLUICE_MODBUS_TIMEOUT',
    `unit ${unit} did not answer function ${fc} within ${Math.round(timeoutMs)} ms`,
    {
      hint: 'Check the unit number, the wiring, baud rate and parity; or allow more time.',
    },
  )
}

export function linkDownError(where: string, cause: SluiceError | undefined): SluiceError {
  return new SluiceError('SLUICE_MODBUS_LINK_DOWN', `${where} is not connected${cause ? `: ${cause.message}` : ''}`, {
    hint: cause?.hint ?? 'It is retried by itself.',
    ...(cause === undefined ? {} : { cause }),
  })
}

export function closedError(where: string): SluiceError {
  return new SluiceError('SLUICE_MODBUS_CLOSED', `the session on ${where} was closed`)
}

export function busyError(where: string, queued: number): SluiceError {
  return new SluiceError('SLUICE_MODBUS_BUSY', `${queued} requests wait for ${where} already`, {
    hint: 'Poll more slowly or fewer properties: the link cannot carry what is asked.',
  })
}

function exceptionHint(exception: number): string {
  if (exception === 1) return 'The device does not know this function: bind the property to another table.'
  if (exception === 2) return 'No such address in the device: check it, and whether the manual counts from 0 or 1.'
  if (exception === 3) return 'The device refuses this value or this many registers at once.'
  if (exception >= 10) return 'The gateway is there, the device behind it is not: check its power and wiring.'
  return 'Ask again later; look at the device itself if it stays so.'
}
