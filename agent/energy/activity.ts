import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { namesIn, numberOf } from './folder.ts'
import { KeptFile } from './kept-file.ts'
import type { Activity, EnergySource, Roots, Sample, SourceHealth } from './source.ts'

/** The kernel's USER_HZ: 100 on every architecture that Node runs on. */
const TICKS_PER_S = 100
const SECTOR_BYTES = 512
const MAX_POLICIES = 16

interface Totals {
  readonly busyTicks: number
  readonly ticks: number
  readonly networkBytes: number | undefined
  readonly radioBytes: number | undefined
  readonly storageBytes: number | undefined
}

/** What the machine does: processor time and frequency, traffic of its real interfaces, its disks. */
export class ActivitySource implements EnergySource {
  readonly name = 'activity'
  readonly #roots: Roots
  readonly #stat: KeptFile
  readonly #net: KeptFile
  readonly #disks: KeptFile
  #policies: { readonly now: KeptFile; readonly highestKHz: number }[] = []
  #interfaces = new Map<string, boolean>()
  #blocks = new Set<string>()
  #last: Totals | undefined
  #policyNames = ''

  constructor(roots: Roots) {
    this.#roots = roots
    this.#stat = new KeptFile(join(roots.procRoot, 'stat'))
    this.#net = new KeptFile(join(roots.procRoot, 'net/dev'))
    this.#disks = new KeptFile(join(roots.procRoot, 'diskstats'))
  }

  discover(): void {
    const { sysRoot } = this.#roots
    const interfaces = join(sysRoot, 'class/net')
    const isWireless = (name: string) =>
      existsSync(join(interfaces, name, 'phy80211')) || existsSync(join(interfaces, name, 'wireless'))
    // Bridges and pods' ends carry bytes that a real interface carries too.
    const real = namesIn(interfaces).filter((name) => existsSync(join(interfaces, name, 'device')))
    this.#interfaces = new Map(real.map((name) => [name, isWireless(name)]))
    const blocks = join(sysRoot, 'block')
    this.#blocks = new Set(namesIn(blocks).filter((name) => existsSync(join(blocks, name, 'device'))))
    const cpufreq = join(sysRoot, 'devices/system/cpu/cpufreq')
    const policies = namesIn(cpufreq).filter((name) => /^policy\d+$/.test(name))
    if (policies.join() === this.#policyNames) return
    this.#policyNames = policies.join()
    for (const { now } of this.#policies) now[Symbol.dispose]()
    this.#policies = policies.slice(0, MAX_POLICIES).flatMap((name) => {
      const highestKHz = numberOf(join(cpufreq, name, 'cpuinfo_max_freq'))
      if (highestKHz === undefined || highestKHz <= 0) return []
      return [{ now: new KeptFile(join(cpufreq, name, 'scaling_cur_freq')), highestKHz }]
    })
  }

  sample(sample: Sample): void {
    const nowMs = sample.time.monotonicMs
    const ticks = cpuTicks(this.#stat.readText(nowMs))
    if (ticks === undefined) return
    const totals: Totals = { ...ticks, ...this.#traffic(nowMs), storageBytes: this.#storage(nowMs) }
    const last = this.#last
    this.#last = totals
    if (last === undefined || totals.ticks < last.ticks) return
    const frequencyRatio = this.#frequency(nowMs)
    const grown = (now: number | undefined, before: number | undefined) =>
      // An interface that is taken out and put in again starts from 0.
      now === undefined || before === undefined ? undefined : Math.max(0, now - before)
    const activity: { -readonly [key in keyof Activity]: Activity[key] } = {
      busyCpuS: Math.max(0, totals.busyTicks - last.busyTicks) / TICKS_PER_S,
      totalCpuS: (totals.ticks - last.ticks) / TICKS_PER_S,
    }
    if (frequencyRatio !== undefined) activity.frequencyRatio = frequencyRatio
    const networkBytes = grown(totals.networkBytes, last.networkBytes)
    if (networkBytes !== undefined) activity.networkBytes = networkBytes
    const radioBytes = grown(totals.radioBytes, last.radioBytes)
    if (radioBytes !== undefined) activity.radioBytes = radioBytes
    const storageBytes = grown(totals.storageBytes, last.storageBytes)
    if (storageBytes !== undefined) activity.storageBytes = storageBytes
    sample.activity = activity
  }

  #frequency(nowMs: number): number | undefined {
    let sum = 0
    let count = 0
    for (const { now, highestKHz } of this.#policies) {
      const kHz = now.readInteger(nowMs)
      if (kHz === undefined || kHz <= 0) continue
      sum += Math.min(1, kHz / highestKHz)
      count++
    }
    return count === 0 ? undefined : sum / count
  }

  #traffic(nowMs: number): Pick<Totals, 'networkBytes' | 'radioBytes'> {
    const text = this.#net.readText(nowMs)
    if (text === undefined || this.#interfaces.size === 0) return { networkBytes: undefined, radioBytes: undefined }
    let networkBytes = 0
    let radioBytes = 0
    for (const line of text.split('\n')) {
      const colon = line.indexOf(':')
      const wireless = colon < 0 ? undefined : this.#interfaces.get(line.slice(0, colon).trim())
      if (wireless === undefined) continue
      const fields = line
        .slice(colon + 1)
        .trim()
        .split(/\s+/)
      const bytes = Number(fields[0]) + Number(fields[8])
      if (!Number.isFinite(bytes)) continue
      networkBytes += bytes
      if (wireless) radioBytes += bytes
    }
    return { networkBytes, radioBytes }
  }

  #storage(nowMs: number): number | undefined {
    const text = this.#blocks.size === 0 ? undefined : this.#disks.readText(nowMs)
    if (text === undefined) return undefined
    let sectors = 0
    for (const line of text.split('\n')) {
      const fields = line.trim().split(/\s+/)
      if (this.#blocks.has(fields[2] ?? '')) sectors += (Number(fields[5]) || 0) + (Number(fields[9]) || 0)
    }
    return sectors * SECTOR_BYTES
  }

  health(): readonly SourceHealth[] {
    const source = this.name
    if (this.#stat.problem === undefined) return [{ source, state: 'ok' }]
    return [{ source, state: this.#stat.problem, reason: `${this.#stat.path} cannot be read` }]
  }

  [Symbol.dispose](): void {
    for (const file of [this.#stat, this.#net, this.#disks]) file[Symbol.dispose]()
    for (const { now } of this.#policies) now[Symbol.dispose]()
    this.#policies = []
    this.#policyNames = ''
  }
}

/** The first line of `/proc/stat`: user nice system idle iowait irq softirq steal (guest is in user already). */
function cpuTicks(text: string | undefined): { busyTicks: number; ticks: number } | undefined {
  if (text === undefined || !text.startsWith('cpu ')) return undefined
  const line = text.slice(4, text.indexOf('\n') < 0 ? undefined : text.indexOf('\n'))
  const fields = line.trim().split(/\s+/, 8).map(Number)
  if (fields.length < 4 || fields.some((field) => !Number.isFinite(field) || field < 0)) return undefined
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = fields
  const busyTicks = user + nice + system + irq + softirq
  return { busyTicks, ticks: busyTicks + idle + iowait + steal }
}
