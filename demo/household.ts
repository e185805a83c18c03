/** What an energy meter sees at one moment. */
export interface MeterReading {
  readonly voltage: number
  readonly current: number
  readonly power: number
  readonly factor: number
  readonly frequency: number
  readonly energyKWh: number
}

const DAY_S = 86_400

/** Watts by the hour of the day, from midnight: quiet at night, a hill in the morning and a higher one in the evening. */
const LOAD_BY_HOUR = [
  210, 190, 180, 180, 190, 260, 520, 780, 690, 540, 480, 520, 640, 560, 470, 450, 510, 720, 980, 1150, 1020, 760, 480,
  300,
]

/** The load curve at a time of day, straight between the full hours. `second` counts from midnight. */
export function dailyLoad(second: number): number {
  const hour = (((second % DAY_S) + DAY_S) % DAY_S) / 3600
  const before = LOAD_BY_HOUR[Math.floor(hour) % 24]!
  const after = LOAD_BY_HOUR[(Math.floor(hour) + 1) % 24]!
  return before + (after - before) * (hour % 1)
}

/** A meter in front of a small site: the daily curve, a fridge that comes and goes, noise, and whatever else it feeds. */
export class SiteMeter {
  #energyKWh: number
  #drift = 0
  #reading: MeterReading
  readonly #random: () => number

  constructor(random: () => number, energyKWh = 1284.7) {
    this.#random = random
    this.#energyKWh = energyKWh
    this.#reading = { voltage: 230, current: 0, power: 0, factor: 1, frequency: 50, energyKWh: this.#energyKWh }
  }

  get reading(): MeterReading {
    return this.#reading
  }

  /** Lets `seconds` pass at `second` of the day, with `extraW` watts of known load behind the meter. */
  step(seconds: number, second: number, extraW: number): void {
    this.#drift = this.#drift * 0.97 + (this.#random() - 0.5) * 12
    const fridge = second % 1500 < 540 ? 92 : 4
    const power = Math.max(0, dailyLoad(second) + fridge + extraW + this.#drift)
    // The more is drawn, the more the line drops.
    const voltage = 232.5 - power * 0.0012 + (this.#random() - 0.5) * 0.5
    const factor = Math.min(1, 0.9 + power / 20_000)
    this.#energyKWh += (power * seconds) / 3_600_000
    this.#reading = {
      voltage,
      power,
      factor,
      current: power / (voltage * factor),
      frequency: 50 + (this.#random() - 0.5) * 0.04,
      energyKWh: this.#energyKWh,
    }
  }
}
