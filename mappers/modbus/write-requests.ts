import type { DeviceConfig, WriteLimits } from './device-config.ts'
import type { Exchanged, UnitExchange } from './exchange.ts'
import type { Encoded, WriteTarget } from './point.ts'
import type { ModbusRequest } from './session.ts'

type Masked = Extract<Encoded, { kind: 'masked' }>

/**
 * Puts one encoded value on the wire with the functions that fit: 5 or 15 for a coil, 6 or 16 for registers, 22 for
 * some bits of a register where the model has it, else read, change and write back. Ends at the first failure.
 */
export async function writeEncoded(
  exchange: UnitExchange,
  config: Pick<DeviceConfig, 'writeLimits'>,
  { write, encoded }: { readonly write: WriteTarget; readonly encoded: Encoded },
  signal: AbortSignal,
): Promise<Exchanged> {
  const send = (request: ModbusRequest) => exchange.request(request, { serves: 0, retries: 0, signal })
  const limits = config.writeLimits
  if (encoded.kind === 'masked' && !(limits.maskWrite || write.function === 22)) {
    const start = write.start
    const current = await send({ fc: 3, address: start, count: encoded.values.length })
    // Exception 5 to a write means "accepted, still working"; to this read it only means "later".
    if (!current.ok) return { ...current, failure: { ...current.failure, exception: undefined } }
    const values = merge(encoded, current)
    return values === undefined ? current : sendAll(registerRequests(write, values, limits), send)
  }
  return sendAll(requestsFor(write, encoded, limits), send)
}

/** The requests of a value that needs no reading first. */
export function requestsFor(write: WriteTarget, encoded: Encoded, limits: WriteLimits): readonly ModbusRequest[] {
  if (encoded.kind === 'coil') {
    const address = write.start
    const multiple = write.function === 15 || (limits.multipleOnly && write.function !== 5)
    return [multiple ? { fc: 15, address, values: [encoded.value] } : { fc: 5, address, value: encoded.value }]
  }
  if (encoded.kind === 'masked') return maskRequests(write, encoded)
  return registerRequests(write, encoded.values, limits)
}

function maskRequests(write: WriteTarget, { values, mask }: Masked): readonly ModbusRequest[] {
  const requests: ModbusRequest[] = []
  mask.forEach((bits, index) => {
    if (bits === 0) return
    requests.push({ fc: 22, address: write.start + index, and: ~bits & 0xffff, or: values[index]! & bits })
  })
  return requests
}

function registerRequests(write: WriteTarget, values: Uint16Array, limits: WriteLimits): readonly ModbusRequest[] {
  const single = values.length === 1 && write.function !== 16 && (!limits.multipleOnly || write.function === 6)
  if (single) return [{ fc: 6, address: write.start, value: values[0]! }]
  const requests: ModbusRequest[] = []
  for (let at = 0; at < values.length; at += limits.maxRegisters) {
    requests.push({ fc: 16, address: write.start + at, values: values.slice(at, at + limits.maxRegisters) })
  }
  return requests
}

function merge({ values, mask }: Masked, current: Exchanged & { ok: true }): Uint16Array | undefined {
  const { response } = current.reply
  if (response.fc !== 3 && response.fc !== 4) return undefined
  const view = new DataView(response.registers.buffer, response.registers.byteOffset, response.registers.byteLength)
  return values.map((value, index) => (view.getUint16(index * 2) & ~mask[index]! & 0xffff) | (value & mask[index]!))
}

async function sendAll(
  requests: readonly ModbusRequest[],
  send: (request: ModbusRequest) => Promise<Exchanged>,
): Promise<Exchanged> {
  let last: Exchanged | undefined
  for (const request of requests) {
    last = await send(request)
    if (!last.ok) return last
  }
  return last!
}
