import { beforeAll, describe, expect, it } from 'vitest'
import type { EnergySnapshot } from '../../agent/energy/snapshot.ts'
import type { PolicyExplanation } from '../../agent/policy/explain.ts'
import type { NetworkStatus } from '../../api/schema/power.ts'
import type { GatewayView } from '../../api/views.ts'
import { bootGuest, type GuestReport, missingPackages } from './guest-machine.ts'

const missing = missingPackages([
  ['/usr/sbin/hostapd', 'hostapd'],
  ['/sbin/wpa_supplicant', 'wpasupplicant'],
  ['/usr/sbin/iw', 'iw'],
])
if (missing.length > 0) throw new Error(`apt-get install ${missing.join(' ')}`)

let report: GuestReport
const told = <T>(name: string): T => report[name] as T

beforeAll(async () => {
  report = await bootGuest([new URL('./guest-main.ts', import.meta.url)], (line) =>
    process.stderr.write(`guest: ${line}\n`),
  )
})

describe("the agent on Debian's own kernel", () => {
  it('runs on drivers, not on files of ours', () => {
    expect(told('drivers')).toMatchObject({ supplies: ['ADP0', 'BAT0'], thermal: true })
    expect(told<{ hwmon: string[] }>('drivers').hwmon).toContain('power_meter')
  })

  it.each([-50, -75, -80])('tells a signal of %i dBm', (dbm) => {
    const network = told<NetworkStatus>(`signal${-dbm}`)
    expect(network).toMatchObject({ name: 'wlan1', kind: 'wifi', up: true, accessPoint: '02:00:00:00:00:00', roams: 0 })
    expect(Math.abs(network.signalDbm! - dbm)).toBeLessThanOrEqual(1.5)
    expect(network.bitrateBps).toBeGreaterThanOrEqual(1e6)
  })

  it('has a lower quality for a lower signal, and sees that it gets worse', () => {
    const [good, poor, bad] = ['signal50', 'signal75', 'signal80'].map((name) => told<NetworkStatus>(name))
    expect(good!.quality).toBeGreaterThan(poor!.quality!)
    expect(poor!.quality).toBeGreaterThan(bad!.quality!)
    expect(good!.trend).toBe('steady')
    expect(bad!.trend).toBe('degrading')
  })

  it('counts that the station went to another access point', () => {
    expect(told('roamed')).toMatchObject({ roams: 1, accessPoint: '02:00:00:00:02:00' })
  })

  it('tells the battery that ACPI tells: 33 of 41.25 Wh, 7.1 W out of it at 11.8 V', () => {
    const { battery } = told<EnergySnapshot>('energy')
    expect(battery).toMatchObject({ percent: 80, state: 'discharging', source: 'measured', by: 'battery' })
    expect(battery!.watts).toBeCloseTo(-7.1, 3)
    expect(battery!.volts).toBeCloseTo(11.8, 3)
    expect(battery!.energyJ).toBeCloseTo(33 * 3600, 0)
    expect(battery!.fullJ).toBeCloseTo(41.25 * 3600, 0)
    expect(battery!.designJ).toBeCloseTo(50 * 3600, 0)
  })

  it('tells the power meter, the supply and the heat', () => {
    const { meters, power, thermal } = told<EnergySnapshot>('energy')
    const meter = meters.find(({ meter: name }) => name.includes('power_meter'))
    expect(meter).toMatchObject({ source: 'measured', watts: 42.5 })
    expect(power).toMatchObject({ source: 'measured', supply: 'battery' })
    expect(thermal?.celsius).toBeCloseTo(60, 0)
  })

  it('says of what is not there that it is not: no RAPL in this guest, and no zero for it', () => {
    const { zones, sources } = told<EnergySnapshot>('energy')
    expect(zones).toEqual([])
    expect(sources.find(({ source }) => source === 'rapl')?.state).toBe('absent')
  })

  it('decides by it and shows it', () => {
    expect(told<PolicyExplanation>('policy').facts).toMatchObject({
      onBattery: true,
      batteryPercent: 80,
      throttled: false,
    })
    const { status } = told<GatewayView>('gateway')
    expect(status?.conditions?.find(({ type }) => type === 'OnBattery')?.status).toBe('True')
  })
})
