import { join } from 'node:path'
import { WrappingCounter } from './counter.ts'
import { namesIn, numberOf, textOf } from './folder.ts'
import { KeptFile } from './kept-file.ts'
import type { Coverage, EnergySource, MeterReading, Roots, Sample, SourceHealth } from './source.ts'

const MICRO = 1e-6
/** A server with eight sockets has 40 zones. */
const MAX_ZONES = 64
const REMEDY =
  'Give the agent CAP_DAC_READ_SEARCH (systemd: AmbientCapabilities=CAP_DAC_READ_SEARCH), or a udev rule: ' +
  'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chgrp sluice /sys%p/energy_uj", RUN+="/bin/chmod g+r /sys%p/energy_uj"'

interface Zone {
  readonly entry: string
  readonly path: string
  readonly zone: string
  readonly covers: Coverage
  readonly file: KeptFile
  readonly counter: WrappingCounter
}

/**
 * Intel's and AMD's energy counters under `class/powercap` (Documentation/power/powercap/powercap.rst). `energy_uj` is
 * readable by root alone since CVE-2020-8694. A zone of `intel-rapl-mmio` is the same silicon as the zone of
 * `intel-rapl` with its name, and is left out.
 */
export class RaplSource implements EnergySource {
  readonly name = 'rapl'
  readonly #root: string
  readonly #zones = new Map<string, Zone>()
  #forbidden = 0
  #faulty: string | undefined

  constructor({ sysRoot }: Roots) {
    this.#root = join(sysRoot, 'class/powercap')
  }

  discover(): void {
    const entries = zoneEntries(this.#root)
    for (const [entry, zone] of this.#zones) {
      if (entries.has(entry)) continue
      zone.file[Symbol.dispose]()
      this.#zones.delete(entry)
    }
    for (const [entry, zoneName] of entries) {
      if (this.#zones.has(entry) || this.#zones.size >= MAX_ZONES) continue
      const path = join(this.#root, entry)
      const zone = zoneName.replace(/-\d.*$/, '')
      this.#zones.set(entry, {
        entry,
        path,
        zone,
        covers: COVERAGE[zone] ?? 'part',
        file: new KeptFile(join(path, 'energy_uj')),
        counter: new WrappingCounter((numberOf(join(path, 'max_energy_range_uj')) ?? 0) * MICRO),
      })
    }
  }

  sample(sample: Sample): void {
    const { monotonicMs, elapsedS } = sample.time
    this.#forbidden = 0
    this.#faulty = undefined
    for (const zone of this.#zones.values()) {
      const { file, counter } = zone
      const microjoules = file.readInteger(monotonicMs)
      if (microjoules === undefined || microjoules < 0) {
        // A counter that was away for a while cannot tell what it counted meanwhile.
        counter.forget()
        if (file.problem === 'forbidden') this.#forbidden++
        else this.#faulty = `${zone.path}/energy_uj ${file.problem === 'absent' ? 'is gone' : 'is no number'}`
        continue
      }
      sample.meters.push(readingOf(zone, counter.advance(microjoules * MICRO, elapsedS), elapsedS))
    }
  }

  health(): readonly SourceHealth[] {
    const source = this.name
    if (this.#zones.size === 0) return [{ source, state: 'absent', reason: 'This machine has no powercap zones' }]
    if (this.#forbidden > 0) {
      const reason = `${this.#forbidden} of ${this.#zones.size} counters may not be read by this user`
      return [{ source, state: 'forbidden', reason, remedy: REMEDY }]
    }
    return this.#faulty === undefined ? [{ source, state: 'ok' }] : [{ source, state: 'faulty', reason: this.#faulty }]
  }

  [Symbol.dispose](): void {
    for (const { file } of this.#zones.values()) file[Symbol.dispose]()
    this.#zones.clear()
  }
}

const COVERAGE: Readonly<Record<string, Coverage>> = { psys: 'machine', package: 'cpu', dram: 'memory' }

function readingOf(zone: Zone, step: ReturnType<WrappingCounter['advance']>, elapsedS: number): MeterReading {
  return {
    meter: `rapl:${zone.entry}`,
    by: 'rapl',
    covers: zone.covers,
    zone: zone.zone,
    path: zone.path,
    source: step?.bridged === true ? 'estimated' : 'measured',
    ...(step === undefined ? {} : { joules: step.joules }),
    ...(step === undefined || elapsedS <= 0 ? {} : { watts: step.joules / elapsedS }),
    ...(step?.doubt === undefined ? {} : { doubt: step.doubt }),
  }
}

/** Folder name to zone name, each piece of silicon once: `intel-rapl:0` to `package-0`. */
function zoneEntries(root: string): Map<string, string> {
  const found = new Map<string, string>()
  const taken = new Set<string>()
  // `intel-rapl:` sorts after `intel-rapl-mmio:`, and is the one to keep.
  const entries = namesIn(root).filter((entry) => /^[a-z][a-z-]*rapl(-mmio)?(:\d+){1,2}$/.test(entry))
  for (const entry of [...entries.filter((e) => !e.includes('-mmio')), ...entries.filter((e) => e.includes('-mmio'))]) {
    const name = textOf(join(root, entry, 'name'))
    if (name === undefined) continue
    const parent = /^(.*:\d+):\d+$/.exec(entry)?.[1]
    // `core` of the first socket is another one than `core` of the second.
    const silicon = parent === undefined ? name : `${textOf(join(root, parent, 'name'))}/${name}`
    if (taken.has(silicon)) continue
    taken.add(silicon)
    found.set(entry, name)
  }
  return found
}
