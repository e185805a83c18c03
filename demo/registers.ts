import type { MeterReading } from './household.ts'
import { type Motor, motorCurrent, statusWord } from './motor.ts'

/** A Modbus exception as the server library wants it thrown. */
export interface ModbusException extends Error {
  readonly modbusErrorCode: number
}

/** Code 2, illegal data address; code 3, illegal data value (Application Protocol V1.1b3, section 7). */
export const exception = (code: 2 | 3, message: string): ModbusException =>
  Object.assign(new Error(message), { modbusErrorCode: code })

/** First register of each float32, big-endian, in the input table; the addresses of demo/meter.yaml. */
const METER_FLOATS: ReadonlyMap<number, (reading: MeterReading) => number> = new Map([
  [0x0000, (reading) => reading.voltage],
  [0x0006, (reading) => reading.current],
  [0x000c, (reading) => reading.power],
  [0x0012, (reading) => reading.power / reading.factor],
  [0x0018, (reading) => Math.sqrt((reading.power / reading.factor) ** 2 - reading.power ** 2)],
  [0x001e, (reading) => reading.factor],
  [0x0046, (reading) => reading.frequency],
  [0x0156, (reading) => reading.energyKWh],
])
/** Beyond this the meter answers with exception 2; what it does not measure reads as 0. */
const METER_LAST = 0x0157

const scratch = new DataView(new ArrayBuffer(4))

/** Input registers of the meter; both halves of a value come from the one reading given. */
export function meterRegisters(reading: MeterReading, start: number, count: number): number[] {
  if (start + count - 1 > METER_LAST) throw exception(2, `no input register ${start + count - 1}`)
  return Array.from({ length: count }, (_, index) => {
    const address = start + index
    const value = METER_FLOATS.get(address & ~1)?.(reading) ?? 0
    scratch.setFloat32(0, value)
    return scratch.getUint16((address & 1) * 2)
  })
}

/** One holding register of the drive; the addresses of demo/drive.yaml. */
export function driveRegister(motor: Motor, address: number): number {
  switch (address) {
    case 0x00:
      return motor.setpoint
    case 0x01:
      return motor.enabled ? 1 : 0
    case 0x02:
      return Math.round(motor.rampS * 10)
    case 0x10:
      return Math.round(motor.speed)
    case 0x11:
      return Math.round(motorCurrent(motor) * 100)
    case 0x12:
      return Math.round(motor.temperature * 10) & 0xffff
    case 0x13:
      return statusWord(motor)
    default:
      // The drive keeps reserved registers at 0 up to 0x1F.
      if (address <= 0x1f) return 0
      throw exception(2, `no holding register ${address}`)
  }
}

/** Writes one register; the drive has limits of its own and answers with exception 3 beyond them. */
export function writeDriveRegister(motor: Motor, address: number, value: number): void {
  switch (address) {
    case 0x00:
      if (value > 3000) throw exception(3, 'speed above 3000')
      motor.setpoint = value
      return
    case 0x01:
      motor.enabled = (value & 1) === 1
      return
    case 0x02:
      if (value < 5 || value > 600) throw exception(3, 'ramp outside 0.5 to 60 s')
      motor.rampS = value / 10
      return
    default:
      throw exception(2, `holding register ${address} cannot be written`)
  }
}
