import type { Sample } from './source.ts'

/** What came together since energy was divided last. */
export class Stretch {
  wholeJ = 0
  idleJ = 0
  memoryJ = 0
  elapsedS = 0
  readonly machine = { cpuS: 0, networkBytes: 0, storageBytes: 0 }
  /** Of each RAPL zone, what was spent at work: by the processors' share of busy time, as Kepler has it. */
  readonly zones = new Map<string, number>()

  add({ time, meters, activity }: Sample, joules: number, idleJ: number): void {
    this.wholeJ += joules
    this.idleJ += idleJ
    this.elapsedS += time.elapsedS
    this.machine.cpuS += activity?.busyCpuS ?? 0
    this.machine.networkBytes += activity?.networkBytes ?? 0
    this.machine.storageBytes += activity?.storageBytes ?? 0
    const usage =
      activity === undefined || activity.totalCpuS <= 0 ? 0 : Math.min(1, activity.busyCpuS / activity.totalCpuS)
    for (const { zone, covers, joules: counted } of meters) {
      if (counted === undefined) continue
      if (covers === 'memory') this.memoryJ += counted
      if (zone !== undefined) this.zones.set(zone, (this.zones.get(zone) ?? 0) + counted * usage)
    }
  }
}
