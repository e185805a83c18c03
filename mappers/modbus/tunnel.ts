import { SluiceError } from '../../api/errors.ts'
import type { DeviceTunnel } from '../sdk/mapper.ts'
import type { ServedLink } from './served-link.ts'
import { exceptionOf } from './session.ts'

const FUNCTION = 0x41

/** A part waits no longer than this behind reads that are due later: it goes on, and no poll loses its turn. */
const WITHIN_MS = 1000

/**
 * Management of one unit; `answered` is called when it has answered, which polling that gave it up wants to know.
 * Each question is one turn of the line, so polls that are due go before the next one.
 */
export function unitTunnel(link: ServedLink, unit: number, modelHash: Uint8Array, answered: () => void): DeviceTunnel {
  return {
    line: link.config.name,
    modelHash,
    async ask(question, { timeoutMs, signal }) {
      if (question[0] !== FUNCTION || question[1] !== question.length - 2)
        throw new SluiceError('SLUICE_MODBUS_BOUNDS', 'management of a unit is function 0x41 and its length byte')
      const ends = signal === undefined ? link.closing : AbortSignal.any([signal, link.closing])
      const request = { fc: FUNCTION, data: question.subarray(2) } as const
      try {
        const { response } = await link.scheduler.once(
          'read',
          () => link.session.request(unit, request, { timeoutMs, signal: ends }),
          ends,
          WITHIN_MS,
        )
        answered()
        const data = response.fc === FUNCTION ? response.data : new Uint8Array()
        return Uint8Array.from([FUNCTION, data.length, ...data])
      } catch (error) {
        const exception = exceptionOf(error)
        if (exception !== undefined) return Uint8Array.of(FUNCTION | 0x80, exception)
        if (!(error instanceof SluiceError) || !LOST.has(error.code)) throw error
        throw new SluiceError('SLUICE_SMP_TIMEOUT', `${link.config.name}: ${error.message}`, { cause: error })
      }
    },
  }
}

/** Failures after which the same question may be asked again. */
const LOST = new Set(['SLUICE_MODBUS_TIMEOUT', 'SLUICE_MODBUS_CRC', 'SLUICE_MODBUS_BAD_RESPONSE', 'SLUICE_MODBUS_BUSY'])
