import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { type Energy, type EnergyOptions, type EnergyStorage, openEnergy } from './energy.ts'
import type { Roots } from './source.ts'

/** What survives a restart of the agent, as text. */
export class MemoryStorage implements EnergyStorage {
  readonly values = new Map<string, string>()
  full = false

  get(key: string): string | undefined {
    return this.values.get(key)
  }

  put(entries: Readonly<Record<string, string | undefined>>): void {
    if (this.full) throw new Error('disk full')
    for (const [key, value] of Object.entries(entries)) {
      if (value === undefined) this.values.delete(key)
      else this.values.set(key, value)
    }
  }
}

/** A folder that looks like `/sys` and `/proc` of some machine, and a clock that moves it. */
export class FakeMachine implements AsyncDisposable {
  readonly root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'sluice-energy-'))
  readonly roots: Roots = { sysRoot: join(this.root, 'sys'), procRoot: join(this.root, 'proc') }
  readonly clock = new VirtualClock(Date.UTC(2026, 5, 15, 10))
  readonly storage = new MemoryStorage()
  readonly #folders = new Set<string>()
  #energy: Energy | undefined
  #sleptS = 0
  #busyTicks = 0
  #idleTicks = 0

  /** `path` below the root: `sys/class/…`. */
  write(path: string, value: string | number): void {
    const file = join(this.root, path)
    const folder = dirname(file)
    if (!this.#folders.has(folder)) mkdirSync(folder, { recursive: true })
    this.#folders.add(folder)
    writeFileSync(file, `${value}\n`)
  }

  remove(path: string): void {
    rmSync(join(this.root, path), { recursive: true, force: true })
    this.#folders.clear()
  }

  zone(entry: string, name: string, microjoules: number, rangeMicrojoules = 262_143_328_850): void {
    this.write(`sys/class/powercap/${entry}/name`, name)
    this.write(`sys/class/powercap/${entry}/max_energy_range_uj`, rangeMicrojoules)
    this.write(`sys/class/powercap/${entry}/energy_uj`, microjoules)
  }

  supply(name: string, attributes: Readonly<Record<string, string | number>>): void {
    for (const [attribute, value] of Object.entries(attributes))
      this.write(`sys/class/power_supply/${name}/${attribute}`, value)
  }

  hwmon(entry: string, attributes: Readonly<Record<string, string | number>>): void {
    for (const [attribute, value] of Object.entries(attributes))
      this.write(`sys/class/hwmon/${entry}/${attribute}`, value)
  }

  start(options: Partial<EnergyOptions> = {}): Energy {
    this.write('proc/sys/kernel/random/boot_id', 'boot-1')
    this.#writeClocks()
    this.#energy = openEnergy({
      clock: this.clock,
      log: () => undefined,
      storage: this.storage,
      roots: this.roots,
      timeZone: 'UTC',
      ownCpuS: () => 0,
      ...options,
    })
    this.#energy.start()
    return this.#energy
  }

  /** Lets `seconds` pass; `each` sets the files to what they say at the end of each second, before it is sampled. */
  async run(seconds: number, each: (second: number) => void, busyCores = 0.2): Promise<void> {
    for (let second = 1; second <= seconds; second++) {
      this.#busyTicks += Math.round(busyCores * 100)
      this.#idleTicks += Math.round((4 - busyCores) * 100)
      each(second)
      this.#uptimeAheadS = 1
      this.#writeClocks()
      this.#uptimeAheadS = 0
      await this.clock.advance(1000)
    }
  }

  #uptimeAheadS = 0

  /** The machine sleeps: the monotonic clock stands still, the wall clock and the uptime go on. */
  sleep(seconds: number): void {
    this.#sleptS += seconds
    this.clock.jumpWall(seconds * 1000)
  }

  #writeClocks(): void {
    const uptimeS = this.clock.monotonic() / 1000 + this.#uptimeAheadS + this.#sleptS
    this.write('proc/uptime', `${uptimeS.toFixed(2)} 0.00`)
    this.write('proc/stat', `cpu  ${this.#busyTicks} 0 0 ${this.#idleTicks} 0 0 0 0 0 0\ncpu0 0 0 0 0`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#energy?.[Symbol.asyncDispose]()
    rmSync(this.root, { recursive: true, force: true })
  }
}
