import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { dailyLoad, SiteMeter } from './household.ts'
import { createMotor, motorCurrent, statusWord, stepMotor } from './motor.ts'
import { driveRegister, meterRegisters, writeDriveRegister } from './registers.ts'

describe('the drive', () => {
  it('runs up its ramp, holds the setpoint and runs down again', () => {
    const motor = { ...createMotor(), enabled: true, setpoint: 1500, rampS: 3 }
    stepMotor(motor, 0.5)
    expect(motor.speed).toBe(500)
    expect(statusWord(motor)).toBe(0b101)
    stepMotor(motor, 5)
    expect(motor.speed).toBe(1500)
    expect(statusWord(motor)).toBe(0b111)
    motor.enabled = false
    stepMotor(motor, 10)
    expect([motor.speed, motorCurrent(motor), statusWord(motor)]).toEqual([0, 0, 0])
  })

  it('draws more current while it accelerates and gets warm', () => {
    const motor = { ...createMotor(), enabled: true, setpoint: 3000 }
    stepMotor(motor, 1)
    const accelerating = motorCurrent(motor)
    stepMotor(motor, 60)
    expect(motorCurrent(motor)).toBeGreaterThan(accelerating)
    expect(motor.temperature).toBeGreaterThan(30)
  })

  it('refuses what a drive refuses', () => {
    const motor = createMotor()
    expect(() => writeDriveRegister(motor, 0, 3001)).toThrow(expect.objectContaining({ modbusErrorCode: 3 }))
    expect(() => writeDriveRegister(motor, 0x10, 1)).toThrow(expect.objectContaining({ modbusErrorCode: 2 }))
    expect(() => driveRegister(motor, 0x20)).toThrow(expect.objectContaining({ modbusErrorCode: 2 }))
    writeDriveRegister(motor, 2, 25)
    expect(driveRegister(motor, 2)).toBe(25)
  })
})

describe('the meter', () => {
  it('follows the day: quiet at night, busy in the evening, no jump at midnight', () => {
    expect(dailyLoad(3 * 3600)).toBeLessThan(dailyLoad(19 * 3600) / 4)
    expect(dailyLoad(86_399)).toBeCloseTo(dailyLoad(0), 0)
  })

  it('counts energy and keeps power, current, voltage and factor consistent', () => {
    const meter = new SiteMeter(() => 0.5, 100)
    for (let second = 0; second < 3600; second++) meter.step(1, 12 * 3600 + second, 1000)
    const { power, current, voltage, factor, energyKWh } = meter.reading
    expect(current * voltage * factor).toBeCloseTo(power, 6)
    expect(energyKWh - 100).toBeCloseTo(1.64, 2)
  })

  it('answers floats in two registers, zeros between, exception 2 beyond', () => {
    const reading = { voltage: 231.5, current: 2, power: 400, factor: 0.9, frequency: 50, energyKWh: 7 }
    const registers = meterRegisters(reading, 0, 4)
    const bytes = Buffer.alloc(8)
    registers.forEach((register, index) => {
      bytes.writeUInt16BE(register, index * 2)
    })
    expect([bytes.readFloatBE(0), bytes.readFloatBE(4)]).toEqual([231.5, 0])
    expect(() => meterRegisters(reading, 0x156, 3)).toThrow(expect.objectContaining({ modbusErrorCode: 2 }))
  })
})

describe('the plant as a process', () => {
  it('answers on a serial line and on TCP, and ends when its input closes', async () => {
    const plant = spawn(process.execPath, [fileURLToPath(new URL('plant.ts', import.meta.url))], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const line = await new Promise<string>((resolve) => createInterface({ input: plant.stdout }).once('line', resolve))
    const { meter, drive } = JSON.parse(line) as {
      meter: { port: string; baud: number }
      drive: { host: string; port: number }
    }
    const Client = createRequire(import.meta.url)('modbus-serial') as typeof import('modbus-serial').default
    const [serial, tcp] = [new Client(), new Client()]
    await serial.connectRTUBuffered(meter.port, { baudRate: meter.baud })
    await tcp.connectTCP(drive.host, { port: drive.port })
    for (const client of [serial, tcp]) {
      client.setID(1)
      client.setTimeout(5_000)
    }
    const { buffer } = await serial.readInputRegisters(0, 2)
    expect(buffer.readFloatBE(0)).toBeGreaterThan(220)
    await tcp.writeRegister(0, 1200)
    expect((await tcp.readHoldingRegisters(0, 1)).data).toEqual([1200])
    await Promise.all([serial, tcp].map((client) => new Promise<void>((resolve) => client.close(() => resolve()))))
    const ended = new Promise((resolve) => plant.once('exit', resolve))
    plant.stdin.end()
    expect(await ended).toBe(0)
  })
})
