/** Where the kernel's files are; a test gives folders of its own, a container the host's. */
export interface Roots {
  /** Default `/sys`. */
  readonly sysRoot: string
  /** Default `/proc`. */
  readonly procRoot: string
}

export const KERNEL_ROOTS: Roots = { sysRoot: '/sys', procRoot: '/proc' }

/**
 * What a reading speaks for. `machine`: all that goes into the gateway. `cpu`: the processor packages. `memory`: DRAM.
 * `part`: a rail or a component. Parts overlap in ways that nobody can know, so they are shown and never added up.
 */
export type Coverage = 'machine' | 'cpu' | 'memory' | 'part'

/** One figure of one meter in one sample. A counter gives `joules` and the mean power; a gauge only `watts`. */
export interface MeterReading {
  /** Unique and stable while the machine runs: `rapl:intel-rapl:0`, `hwmon:ina226:hwmon2/power1`. */
  readonly meter: string
  /** As in `PowerStatus.by`: rapl, battery, hwmon:ina226, pmic, dcmi, device:plant/meter-1, model. */
  readonly by: string
  readonly covers: Coverage
  /** RAPL's word, as Kepler's metrics carry it: psys, package, core, uncore, dram. Zones overlap and are never added. */
  readonly zone?: string
  readonly path?: string
  readonly source: 'measured' | 'estimated'
  readonly errorPercent?: number
  /** Energy since the sample before, joules, at least 0. Absent for gauges and at a counter's first reading. */
  readonly joules?: number
  /** Power now, or the mean since the sample before, watts, at least 0. */
  readonly watts?: number
  /** Why this figure is worth less than it could be, for a person. */
  readonly doubt?: string
}

/** One battery pack. What the pack does not say is absent. */
export interface PackReading {
  readonly name: string
  readonly by: string
  readonly state: 'charging' | 'discharging' | 'full' | 'idle' | 'unknown'
  readonly percent?: number
  readonly volts?: number
  /** Into the pack when positive, out of it when negative. */
  readonly watts?: number
  readonly energyJ?: number
  readonly fullJ?: number
  readonly designJ?: number
  readonly cycles?: number
  readonly celsius?: number
  readonly doubt?: string
}

/** What the machine did since the sample before. Absent where the kernel does not say. */
export interface Activity {
  /** Processor time at work, seconds; the sum over all processors. */
  readonly busyCpuS: number
  /** Processor time there was. */
  readonly totalCpuS: number
  /** Mean frequency divided by the highest, 0 to 1. */
  readonly frequencyRatio?: number
  readonly networkBytes?: number
  /** Of `networkBytes`, what went over a wireless interface. */
  readonly radioBytes?: number
  readonly storageBytes?: number
}

export interface SampleTime {
  readonly monotonicMs: number
  readonly wallMs: number
  /** Since the sample before, seconds awake; 0 in the first sample. */
  readonly elapsedS: number
  /** Of the time since the sample before, what the machine slept: not part of `elapsedS`. */
  readonly suspendedS: number
}

/** What all sources said at one moment; they add to its lists. */
export interface Sample {
  readonly time: SampleTime
  readonly meters: MeterReading[]
  readonly packs: PackReading[]
  readonly temperatures: { readonly name: string; readonly celsius: number }[]
  /** Reasons why the machine is slowed down right now. */
  readonly throttles: string[]
  /** Whether mains power is there; undefined where no adapter tells. */
  mains: boolean | undefined
  activity: Activity | undefined
}

/**
 * `ok`: read. `absent`: this machine has none of it. `forbidden`: it is there and this user may not read it; `remedy`
 * says what to do. `faulty`: it is there and what it says makes no sense.
 */
export interface SourceHealth {
  readonly source: string
  readonly state: 'ok' | 'absent' | 'forbidden' | 'faulty'
  readonly reason?: string
  readonly remedy?: string
}

/**
 * Reads one kind of sensor. Neither method throws, starts a process or waits: what takes long is read elsewhere at its
 * own pace (`slow-probe.ts`), and the source gives the newest it has.
 */
export interface EnergySource extends Disposable {
  readonly name: string
  /** Looks for its sensors, keeping those it has; at start and then once a minute. */
  discover(): void
  /** Adds what it reads to the sample. */
  sample(sample: Sample): void
  /** Of the last `discover` and `sample`; at most a few lines. */
  health(): readonly SourceHealth[]
}
