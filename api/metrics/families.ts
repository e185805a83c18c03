import type { Exposition, Labels } from './exposition.ts'

export type Sample = readonly [Labels, number]

/** Above so many devices there is one series a mapper and none a device: a page has to stay readable in a second. */
export const MAX_DEVICE_SERIES = 2000

/** Adds families one by one and leaves out those nobody has a sample for. */
export class Families {
  readonly #page: Exposition

  constructor(page: Exposition) {
    this.#page = page
  }

  gauge(name: string, help: string, samples: readonly Sample[]): this {
    const sound = samples.filter(([, value]) => Number.isFinite(value))
    if (sound.length > 0) this.#page.gauge(name, help, sound)
    return this
  }

  counter(name: string, help: string, samples: readonly Sample[]): this {
    const sound = samples.filter(([, value]) => Number.isFinite(value))
    if (sound.length > 0) this.#page.counter(name, help, sound)
    return this
  }
}

export const some = (labels: Labels, value: number | undefined): readonly Sample[] =>
  value === undefined ? [] : [[labels, value]]

export const ratio = (percent: number | undefined): number | undefined =>
  percent === undefined ? undefined : percent / 100
