import { SluiceError } from '../../../api/errors.ts'
import type { ExchangeOptions, SmpTransport } from './transport.ts'

/**
 * SMP inside Modbus function 0x41, as `firmware/core/smp-tunnel.h` describes it: function code, length, control byte,
 * part of a packet.
 */

const FUNCTION = 0x41
const FIRST = 0x80
const MORE = 0x40
const NUMBER = 0x3f
const PART_BYTES = 240

/** Sends one request PDU (function code first) to the unit and gives its answer PDU; rejects when there is none. */
export type TunnelPdu = (pdu: Uint8Array, options: ExchangeOptions) => Promise<Uint8Array>

export interface TunnelOptions {
  /** How often a part is sent again when its answer is lost; default 2. */
  readonly retries?: number
  readonly maxPacketBytes?: number
}

/** The unit refused. */
class TunnelException extends SluiceError {
  readonly exception: number

  constructor(exception: number, message: string, more: { readonly hint: string }) {
    super('SLUICE_SMP_TUNNEL', message, more)
    this.exception = exception
  }
}

/** The unit does not have the function: asking again changes nothing. */
const isUnknown = (error: SluiceError): boolean => error instanceof TunnelException && error.exception === 1

function partOf(answer: Uint8Array): { control: number; part: Uint8Array } {
  const [code = 0, length = 0, control = 0] = answer
  if (code === (FUNCTION | 0x80)) {
    throw new TunnelException(length, `the unit answers management requests with Modbus exception ${length}`, {
      hint: 'Its firmware may not have been made by "sluice fw", or somebody else is updating it just now.',
    })
  }
  if (code !== FUNCTION || answer.length < 3 || length !== answer.length - 2)
    throw new SluiceError('SLUICE_SMP_TUNNEL', 'the unit answers management requests with something else')
  return { control, part: answer.subarray(3) }
}

/** SMP through a Modbus master that somebody else owns: every part is one request, so polling goes on between them. */
export function tunnelTransport(tunnel: TunnelPdu, limits: TunnelOptions = {}): SmpTransport {
  // Two full parts: one byte more would cost a third request for each packet.
  const { retries = 2, maxPacketBytes = 2 * PART_BYTES } = limits

  async function ask(control: number, part: Uint8Array, { signal, timeoutMs }: ExchangeOptions) {
    const pdu = Buffer.concat([Buffer.from([FUNCTION, part.length + 1, control]), part])
    for (let left = retries; ; left--) {
      signal?.throwIfAborted()
      try {
        return partOf(await tunnel(pdu, { signal, timeoutMs }))
      } catch (error) {
        // The same part again is safe: the board knows it and gives the same answer.
        const final = error instanceof SluiceError && error.code === 'SLUICE_SMP_TUNNEL'
        if (left <= 0 || final || signal?.aborted === true) throw error
      }
    }
  }

  return {
    maxPacketBytes,
    /** A unit that has lost the thread, or answers late, is asked from the beginning: no packet is harmed by coming twice. */
    async exchange(packet, wanted, options) {
      for (let left = retries; ; left--) {
        try {
          return await once(packet, wanted, options)
        } catch (error) {
          const thread = error instanceof SluiceError && error.code === 'SLUICE_SMP_TUNNEL' && !isUnknown(error)
          if (left <= 0 || !thread || options.signal?.aborted === true) throw error
        }
      }
    },
  }

  async function once(
    packet: Uint8Array,
    wanted: (packet: Uint8Array) => boolean,
    options: ExchangeOptions,
  ): Promise<Uint8Array> {
    let number = 0
    let at = 0
    let answer: { control: number; part: Uint8Array }
    do {
      const part = packet.subarray(at, at + PART_BYTES)
      at += part.length
      const control = (number === 0 ? FIRST : 0) | (at < packet.length ? MORE : 0) | (number & NUMBER)
      answer = await ask(control, part, options)
      number++
    } while (at < packet.length)
    const parts = [answer.part]
    while ((answer.control & MORE) !== 0) {
      answer = await ask(number++ & NUMBER, new Uint8Array(), options)
      parts.push(answer.part)
      if (parts.length > 64) throw new SluiceError('SLUICE_SMP_TUNNEL', "the unit's answer does not end")
    }
    const whole = Uint8Array.from(Buffer.concat(parts))
    if (!wanted(whole)) throw new SluiceError('SLUICE_SMP_TUNNEL', 'the unit answers another question than was asked')
    return whole
  }
}
