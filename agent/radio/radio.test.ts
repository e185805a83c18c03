import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { type HubWay, Radio } from './radio.ts'
import { counterStep, InterfaceRates } from './rates.ts'
import { lookAtStation, type StationLook } from './station.ts'
import { QUALITY_TREND, TrendOf } from './trend.ts'

/** A machine's `/proc/net` and `/sys/class/net` in a folder. */
class Machine {
  readonly root = mkdtempSync(join(tmpdir(), 'sluice-radio-'))
  readonly proc = join(this.root, 'proc')
  readonly sys = join(this.root, 'sys')
  readonly counters = new Map<string, number[]>()
  readonly wireless = new Map<string, readonly [level: number, noise: number, retry: number, beacon: number]>()

  constructor() {
    mkdirSync(join(this.proc, 'net'), { recursive: true })
    mkdirSync(join(this.sys, 'class/net'), { recursive: true })
    this.write()
    this.route('eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n')
  }

  add(name: string, files: Readonly<Record<string, string>>, entries: readonly string[] = []): void {
    const folder = join(this.sys, 'class/net', name)
    mkdirSync(folder, { recursive: true })
    for (const [file, text] of Object.entries({ type: '1\n', carrier_changes: '1\n', ...files }))
      writeFileSync(join(folder, file), text)
    for (const entry of entries) symlinkSync('..', join(folder, entry))
    this.counters.set(
      name,
      Array.from({ length: 16 }, () => 0),
    )
  }

  set(name: string, file: string, text: string): void {
    writeFileSync(join(this.sys, 'class/net', name, file), text)
  }

  remove(name: string): void {
    rmSync(join(this.sys, 'class/net', name), { recursive: true })
    this.counters.delete(name)
    this.wireless.delete(name)
  }

  route(text: string): void {
    writeFileSync(join(this.proc, 'net/route'), `Iface\tDestination\n${text}`)
  }

  write(): void {
    const dev = [...this.counters].map(([name, counters]) => `${name}: ${counters.join(' ')}\n`)
    writeFileSync(join(this.proc, 'net/dev'), `Inter-|\n face |\n${dev.join('')}`)
    const radio = [...this.wireless].map(
      ([name, [level, noise, retry, beacon]]) => `${name}: 0000 50. ${level}. ${noise} 0 0 0 ${retry} 0 ${beacon}\n`,
    )
    writeFileSync(join(this.proc, 'net/wireless'), `Inter-|\n face |\n${radio.join('')}`)
  }
}

let machine: Machine
let clock: VirtualClock
let hub: HubWay | undefined
let radio: Radio
let looks: string[]
let look: StationLook | undefined

beforeEach(() => {
  machine = new Machine()
  clock = new VirtualClock()
  hub = { connected: true, peerAddress: '192.0.2.1', roundTripMs: 20, jitterMs: 1, lossRatio: 0 }
  looks = []
  look = undefined
  radio = new Radio({
    clock,
    procRoot: machine.proc,
    sysRoot: machine.sys,
    hub: () => hub,
    look: async (name) => {
      looks.push(name)
      return look
    },
  })
})
afterEach(() => {
  radio[Symbol.dispose]()
  rmSync(machine.root, { recursive: true, force: true })
})

const run = async (seconds: number, each: (second: number) => void = () => {}) => {
  for (let second = 0; second < seconds; second++) {
    each(second)
    machine.write()
    await clock.advance(1000)
    radio.sample()
  }
}

const seen = (accessPoint: string): StationLook => ({
  accessPoint,
  ssid: 'plant',
  frequencyMHz: 2412,
  signalDbm: -60,
  noiseDbm: undefined,
  bitrateBps: 65e6,
  retryRatio: 0.05,
  beaconLoss: 2,
})

describe('the networks of a gateway', () => {
  it('are those with hardware, with the way to the hub first and marked', async () => {
    machine.add('wlan0', { carrier: '1\n' }, ['device', 'phy80211'])
    machine.add('eth0', { carrier: '1\n', speed: '1000\n' }, ['device'])
    machine.add('docker0', { carrier: '1\n' })
    machine.add('wwan0', { carrier: '0\n', uevent: 'DEVTYPE=wwan\n' }, ['device'])
    machine.wireless.set('wlan0', [-60, -95, 0, 0])
    await run(2)
    const networks = radio.networks()
    expect(networks[0]).toMatchObject({
      name: 'eth0',
      kind: 'ethernet',
      up: true,
      toHub: true,
      bitrateBps: 1e9,
      quality: 1,
    })
    expect(networks.find(({ name }) => name === 'wlan0')).toMatchObject({
      kind: 'wifi',
      up: true,
      signalDbm: -60,
      noiseDbm: -95,
      snrDb: 35,
      quality: 0.75,
    })
    expect(networks.find(({ name }) => name === 'wwan0')).toMatchObject({ kind: 'cellular', up: false })
    expect(networks.map(({ name }) => name).includes('docker0')).toBe(false)
    expect(radio.way).toMatchObject({ interfaceName: 'eth0', kind: 'ethernet', quality: 1 })
  })

  it('without a figure where the file is missing, garbage or refused: never a zero that nobody measured', async () => {
    machine.add('wlan0', { carrier: '1\n' }, ['device', 'phy80211'])
    machine.add('eth0', { carrier: 'garbage', speed: '-1\n' }, ['device'])
    await run(1)
    const [eth0, wlan0] = radio.networks()
    expect(eth0).toMatchObject({ name: 'eth0', up: false })
    expect(eth0).not.toHaveProperty('bitrateBps')
    expect(wlan0).not.toHaveProperty('signalDbm')
    expect(wlan0).not.toHaveProperty('quality')
    for (const file of ['dev', 'wireless', 'route']) writeFileSync(join(machine.proc, 'net', file), '\0garbage: x\n')
    for (let i = 0; i < 12; i++) radio.sample()
    expect(radio.way.interfaceName).toBeUndefined()
  })

  it('survive an interface that is pulled out and plugged in again', async () => {
    machine.add('eth0', { carrier: '1\n', speed: '100\n' }, ['device'])
    await run(1)
    machine.remove('eth0')
    await run(11)
    expect(radio.networks()).toEqual([])
    machine.add('eth0', { carrier: '1\n', speed: '100\n' }, ['device'])
    await run(11)
    expect(radio.networks()).toMatchObject([{ name: 'eth0', up: true, bitrateBps: 1e8 }])
  })

  it('name a new way as soon as the hub is reached by another address', async () => {
    machine.add('eth0', { carrier: '1\n' }, ['device'])
    machine.add('wg0', { carrier: '1\n', type: '65534\n' })
    machine.route('eth0\t00000000\t0\t0003\t0\t0\t0\t00000000\t0\nwg0\t0000000A\t0\t0001\t0\t0\t0\t000000FF\t0\n')
    await run(11)
    expect(radio.way.interfaceName).toBe('eth0')
    hub = { ...hub!, peerAddress: '10.0.0.1' }
    await run(1)
    expect(radio.way).toMatchObject({ interfaceName: 'wg0', kind: 'other' })
    expect(radio.networks().map(({ name }) => name)).toEqual(['wg0', 'eth0'])
  })

  it('count roaming, and ask nl80211 only after a jump and at most once a minute', async () => {
    machine.add('wlan0', { carrier: '1\n' }, ['device', 'phy80211'])
    machine.wireless.set('wlan0', [-60, -256, 0, 0])
    look = seen('02:00:00:00:00:01')
    await run(60)
    expect(looks).toEqual(['wlan0'])
    look = seen('02:00:00:00:00:02')
    machine.wireless.set('wlan0', [-80, -256, 0, 0])
    await run(90)
    expect(looks).toHaveLength(2)
    machine.set('wlan0', 'carrier_changes', '3\n')
    look = seen('02:00:00:00:00:01')
    await run(70)
    expect(radio.networks()[0]).toMatchObject({
      roams: 2,
      accessPoint: '02:00:00:00:00:01',
      bitrateBps: 65e6,
      retryRatio: 0.05,
      beaconLoss: 2,
    })
    expect(radio.networks()[0]).not.toHaveProperty('noiseDbm')
  })

  it('ask once and not again where iw is missing and nothing changes', async () => {
    machine.add('wlan0', { carrier: '1\n' }, ['device', 'phy80211'])
    machine.wireless.set('wlan0', [-60, -256, 0, 0])
    await run(200)
    expect(looks).toEqual(['wlan0'])
  })

  it('say that a signal that fades is degrading, and only once however it flickers', async () => {
    machine.add('wlan0', { carrier: '1\n' }, ['device', 'phy80211'])
    const told: string[] = []
    const note = () => {
      const trend = radio.networks()[0]?.trend
      if (trend !== undefined && trend !== told.at(-1)) told.push(trend)
    }
    machine.wireless.set('wlan0', [-50, -256, 0, 0])
    await run(200, note)
    await run(120, (second) => {
      machine.wireless.set('wlan0', [-50 - Math.round(second / 4) + (second % 3), -256, 0, 0])
      note()
    })
    await run(900, note)
    expect(told).toEqual(['steady', 'degrading', 'steady'])
  })

  it('say of a link that comes up for the first time that it is steady, not that it got better', async () => {
    machine.add('wlan0', { carrier: '0\n', operstate: 'down\n' }, ['device', 'phy80211'])
    await run(60)
    expect(radio.networks()[0]).toMatchObject({ up: false, quality: 0, trend: 'steady' })
    machine.set('wlan0', 'carrier', '1\n')
    machine.set('wlan0', 'operstate', 'up\n')
    machine.wireless.set('wlan0', [-50, -256, 0, 0])
    const told = new Set<string>()
    await run(120, () => told.add(radio.networks()[0]!.trend!))
    expect(radio.networks()[0]).toMatchObject({ up: true, signalDbm: -50 })
    expect([...told]).toEqual(['steady'])
  })

  it('a link that is down has no quality left, whatever the interface says', async () => {
    machine.add('eth0', { carrier: '1\n' }, ['device'])
    hub = { ...hub!, connected: false, peerAddress: undefined }
    await run(2)
    expect(radio.way).toMatchObject({ interfaceName: 'eth0', quality: 0 })
    hub = undefined
    await run(11)
    expect(radio.way.interfaceName).toBeUndefined()
  })

  it('stay bounded with more interfaces than anybody has', async () => {
    for (let i = 0; i < 300; i++) machine.add(`eth${i}`, { carrier: '1\n' }, ['device'])
    await run(2)
    expect(radio.networks()).toHaveLength(32)
    expect(radio.networks()[0]).toMatchObject({ name: 'eth0', toHub: true })
  })
})

describe('counters', () => {
  it('that wrap at 32 bits go on; a reset makes up nothing', () => {
    expect(counterStep(2 ** 32 - 10, 5)).toBe(15)
    expect(counterStep(1_000_000, 5)).toBeUndefined()
    expect(counterStep(2 ** 40, 5)).toBeUndefined()
    fc.assert(
      fc.property(fc.nat(2 ** 32 - 1), fc.nat(2 ** 30), (before, step) => {
        expect(counterStep(before, (before + step) % 2 ** 32)).toBe(step)
      }),
    )
  })

  it('give ratios between 0 and 1 whatever they do', () => {
    const counters = fc.record({
      rxBytes: fc.nat(),
      rxPackets: fc.nat(),
      rxErrors: fc.nat(),
      txBytes: fc.nat(),
      txPackets: fc.nat(),
      txErrors: fc.nat(),
    })
    const line = fc.record({
      link: fc.nat(70),
      signalDbm: fc.constant(-60),
      noiseDbm: fc.constant(undefined),
      discardedRetries: fc.nat(),
      missedBeacons: fc.nat(),
    })
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.option(counters, { nil: undefined }), fc.option(line, { nil: undefined }))),
        (steps) => {
          const rates = new InterfaceRates()
          for (const [second, [dev, wireless]] of steps.entries()) rates.take(dev, wireless, second * 1000)
          for (const ratio of [rates.errors.value, rates.retries.value]) {
            if (ratio !== undefined) expect(ratio >= 0 && ratio <= 1).toBe(true)
          }
          expect(rates.beaconLoss).toBeGreaterThanOrEqual(0)
        },
      ),
    )
  })
})

describe('a trend', () => {
  it('never changes more often than its hold allows, whatever the figures are', () => {
    const figures = fc.array(fc.oneof(fc.double({ min: 0, max: 1 }), fc.constant(Number.NaN)), { maxLength: 600 })
    fc.assert(
      fc.property(figures, (values) => {
        const trend = new TrendOf()
        let changedAt = Number.NEGATIVE_INFINITY
        values.forEach((value, second) => {
          const before = trend.trend
          if (trend.take(value, second * 1000) === before) return
          if (before !== 'steady') expect(second * 1000 - changedAt).toBeGreaterThanOrEqual(QUALITY_TREND.holdMs)
          changedAt = second * 1000
        })
        expect(trend.smooth === undefined || Number.isFinite(trend.smooth)).toBe(true)
      }),
    )
  })
})

describe('iw', () => {
  const answers: Readonly<Record<string, string>> = {
    link: 'Connected to 02:00:00:00:00:AA (on wlan0)\n\tSSID: plant\n\tfreq: 2437\n\tsignal: -57 dBm\n\ttx bitrate: 54.0 MBit/s\n',
    'station dump':
      'Station 02:00:00:00:00:bb (on wlan0)\n\ttx packets:\t1\n\ttx retries:\t1\nStation 02:00:00:00:00:aa (on wlan0)\n\ttx packets:\t90\n\ttx retries:\t10\n\tbeacon loss:\t4\n',
    'survey dump':
      'Survey data from wlan0\n\tfrequency:\t2412 MHz\n\tnoise:\t-80 dBm\nSurvey data from wlan0\n\tfrequency:\t2437 MHz [in use]\n\tnoise:\t-92 dBm\n',
  }
  it('tells of the access point in use, not of a neighbour', async () => {
    expect(await lookAtStation('wlan0', async (args) => answers[args.slice(2).join(' ')] ?? '')).toEqual({
      accessPoint: '02:00:00:00:00:aa',
      ssid: 'plant',
      frequencyMHz: 2437,
      signalDbm: -57,
      noiseDbm: -92,
      bitrateBps: 54e6,
      retryRatio: 0.1,
      beaconLoss: 4,
    })
  })
  it('that is missing or answers nonsense gives nothing, and a strange name is never handed to it', async () => {
    expect(await lookAtStation('wlan0', () => Promise.reject(new Error('ENOENT')))).toBeUndefined()
    const called: (readonly string[])[] = []
    expect(await lookAtStation('-h;reboot', async (args) => String(called.push(args)))).toBeUndefined()
    expect(called).toEqual([])
    await fc.assert(
      fc.asyncProperty(fc.string(), async (text) => {
        const found = await lookAtStation('wlan0', async () => text)
        for (const value of Object.values(found ?? {}))
          expect(typeof value === 'number' ? Number.isFinite(value) : true).toBe(true)
      }),
    )
  })
})
