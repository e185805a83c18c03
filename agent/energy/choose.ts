import { modelWatts, type PowerModel } from './model.ts'
import type { MeterReading, Sample } from './source.ts'

/** The whole machine's power in one sample, and where it is from. */
export interface WholePower {
  readonly meter: string
  readonly by: string
  readonly source: 'measured' | 'estimated'
  readonly errorPercent?: number
  readonly watts: number
  /** Since the sample before; absent where only the power of this moment is known. */
  readonly joules?: number
  readonly doubt?: string
}

/** Best first. A meter that somebody configured is meant; of what the machine has itself, what sees most of it. */
function rank({ by, zone }: MeterReading): number {
  if (by.startsWith('device:')) return 0
  if (by === 'dcmi' || by === 'ipmi') return 1
  if (zone === 'psys') return 2
  if (by === 'battery') return 3
  if (by.startsWith('hwmon:')) return 4
  return 5
}

/** A better source has to be there for so many samples before it takes over; a worse one takes over at once. */
const PROOF_SAMPLES = 3

/**
 * Decides which meter speaks for the whole machine. What covers all of it wins; processor packages alone do not cover
 * it, so the rest is estimated, and then the whole is. A source that comes and goes does not make the figure flap.
 */
export class PowerChoice {
  #current: string | undefined
  #proof = new Map<string, number>()

  choose(sample: Sample, model: PowerModel): WholePower | undefined {
    const whole = sample.meters
      .filter(({ covers, watts, joules }) => covers === 'machine' && (watts !== undefined || joules !== undefined))
      .sort((a, b) => rank(a) - rank(b))
    this.#proof = new Map(whole.map(({ meter }) => [meter, (this.#proof.get(meter) ?? 0) + 1]))
    const current = whole.find(({ meter }) => meter === this.#current)
    const best = whole.find((reading) => reading === current || (this.#proof.get(reading.meter) ?? 0) >= PROOF_SAMPLES)
    const chosen = best ?? current ?? whole[0]
    this.#current = chosen?.meter
    if (chosen !== undefined) return measuredWhole(chosen, sample.time.elapsedS)
    return estimatedWhole(sample, model)
  }
}

function measuredWhole(reading: MeterReading, elapsedS: number): WholePower | undefined {
  const { meter, by, source, joules, doubt } = reading
  const watts = reading.watts ?? (joules === undefined || elapsedS <= 0 ? undefined : joules / elapsedS)
  if (watts === undefined) return undefined
  return {
    meter,
    by,
    source,
    watts,
    ...(reading.errorPercent === undefined ? {} : { errorPercent: reading.errorPercent }),
    ...(joules === undefined ? {} : { joules }),
    ...(doubt === undefined ? {} : { doubt }),
  }
}

/** Packages of all sockets measured and everything else from the model's idle power; without packages the model alone. */
function estimatedWhole(sample: Sample, model: PowerModel): WholePower | undefined {
  const { elapsedS } = sample.time
  const { activity } = sample
  if (activity === undefined || elapsedS <= 0) return undefined
  const packages = sample.meters.filter(
    ({ covers, zone }) => covers === 'cpu' || (covers === 'memory' && zone === 'dram'),
  )
  const complete =
    packages.some(({ covers }) => covers === 'cpu') && packages.every(({ joules }) => joules !== undefined)
  if (!complete) {
    const watts = modelWatts(model, activity, elapsedS)
    const { errorPercent, origin } = model
    return {
      meter: 'model',
      by: 'model',
      source: 'estimated',
      errorPercent,
      watts,
      joules: watts * elapsedS,
      doubt: origin,
    }
  }
  const measuredJ = packages.reduce((sum, { joules }) => sum + (joules ?? 0), 0)
  const { restWatts, errorPercent } = restOf(
    model,
    activity.radioBytes ?? 0,
    activity.storageBytes ?? 0,
    elapsedS,
    measuredJ,
  )
  const joules = measuredJ + restWatts * elapsedS
  const doubt =
    packages.find((reading) => reading.doubt !== undefined)?.doubt ??
    'The processor is measured, the rest of the machine is not'
  return {
    meter: 'rapl+model',
    by: 'rapl+model',
    source: 'estimated',
    errorPercent,
    watts: joules / elapsedS,
    joules,
    doubt,
  }
}

/** Of an idle machine of this kind, about half is spent outside of the processor's package; coarse. */
const IDLE_OUTSIDE_PACKAGE = 0.5

/** What is spent outside of the processor, and how far off the whole may be for it. */
function restOf(model: PowerModel, radioBytes: number, storageBytes: number, elapsedS: number, measuredJ: number) {
  const traffic = (model.radioJPerByte * radioBytes + model.storageJPerByte * storageBytes) / elapsedS
  const restWatts = model.idleWatts * IDLE_OUTSIDE_PACKAGE + traffic
  const wholeWatts = measuredJ / elapsedS + restWatts
  const errorPercent =
    wholeWatts <= 0 ? model.errorPercent : (restWatts / wholeWatts) * Math.max(model.errorPercent, 50)
  return { restWatts, errorPercent }
}
