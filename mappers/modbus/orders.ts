import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { DeviceModelSpec, DeviceSpec } from '../../api/resources.ts'
import { Unusable } from '../sdk/no-value.ts'
import { addressOf, linkOf } from './device-config.ts'
import { bindingOf, formatOf, isBitTable, modelOf, placeOf } from './point.ts'
import type { Order, ValueType } from './schema.ts'
import { openSerialSession, openTcpSession } from './session.ts'
import { canonicalOrder, compileReader, registersOf } from './values.ts'

/** How the same registers read with one type and order; the value is scaled as the model says. */
export interface OrderedReading {
  readonly as: ValueType
  readonly order: Order
  readonly value: string
  /** What the model says. */
  readonly current: boolean
}

const TYPES = ['int16', 'uint16', 'int32', 'uint32', 'float32', 'int64', 'uint64', 'float64'] as const
const ORDERS = ['big', 'big-swap', 'little', 'little-swap'] as const

/** Every numeric type that takes exactly these registers, in every order: one of them is what the device's display shows. */
export function readingsOf(
  registers: Uint8Array,
  current: { readonly as: ValueType; readonly order: Order },
  scaled: (raw: number) => number,
): OrderedReading[] {
  const view = new DataView(registers.buffer, registers.byteOffset, registers.byteLength)
  const order = canonicalOrder(current.order)
  return TYPES.filter((as) => registersOf({ as, length: 1 }) * 2 === registers.byteLength).flatMap((as) =>
    ORDERS.filter((each) => registers.byteLength > 2 || each === 'big' || each === 'little-swap').map((each) => {
      const raw = compileReader({ as, order: each, length: 1, stringByte: 'both' })(view, 0)
      const value = raw instanceof Unusable ? raw.reason : String(typeof raw === 'bigint' ? raw : scaled(Number(raw)))
      return { as, order: each, value, current: as === current.as && each === order }
    }),
  )
}

/** Reads the registers of one property once, over a connection of its own, and shows them in every way. */
export async function readInEveryOrder(
  device: DeviceSpec,
  model: DeviceModelSpec,
  name: string,
  signal: AbortSignal,
): Promise<{ readonly registers: Uint8Array; readonly readings: readonly OrderedReading[] }> {
  const address = addressOf(device)
  const property = model.properties.find((each) => each.name === name)
  const binding = property === undefined ? undefined : bindingOf(property)
  const options = modelOf(model)
  const place = binding === undefined ? undefined : placeOf(binding, options.addressBase ?? 0)
  if (address === undefined || binding === undefined || place === undefined || isBitTable(place.table)) {
    throw new SluiceError('SLUICE_MODBUS_NO_REGISTERS', `'${name}' of this device is not read from Modbus registers`, {
      hint: "'sluice model show MODEL' lists the properties and where they are read from.",
    })
  }
  const format = formatOf(binding, options)
  const { open } = linkOf(address)
  const deps = { clock: systemClock }
  await using session = open.kind === 'tcp' ? openTcpSession(open.options, deps) : openSerialSession(open.options, deps)
  const request = {
    fc: place.table === 'holding' ? 3 : 4,
    address: place.start,
    count: registersOf(format),
  } as const
  const { response } = await session.request(address.unit ?? 1, request, { timeoutMs: 2000, signal })
  const registers = 'registers' in response ? response.registers : new Uint8Array()
  const { scale = 1, offset = 0 } = binding
  return { registers, readings: readingsOf(registers, format, (raw) => raw * scale + offset) }
}
