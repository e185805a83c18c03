import type { DeviceModelSpec, Json, ModelProperty } from '../../api/resources.ts'
import { seededRandom } from '../../hil/random.ts'
import { bindingOf, compilePoint, formatOf, modelOf } from '../../mappers/modbus/point.ts'
import { canonicalOrder } from '../../mappers/modbus/values.ts'
import { Unusable } from '../../mappers/sdk/no-value.ts'
import { planBoard } from './plan.ts'

/**
 * Values that a property can have, drawn at random: those that the gateway reads back as it wrote them. The gateway's own
 * conversions decide, which know nothing of the generator's.
 */
export class SampleValues {
  readonly #random: () => number
  readonly #model: DeviceModelSpec
  readonly #exponents: ReadonlyMap<string, number | undefined>

  constructor(model: DeviceModelSpec, seed: number) {
    this.#random = seededRandom(seed)
    this.#model = model
    const plan = planBoard(
      model,
      model.properties.map((_, index) => index),
    )
    this.#exponents = new Map(plan.properties.map(({ property, exponent }) => [property.name, exponent]))
  }

  /** Undefined when none was found, which is so for what has a scale that loses everything. */
  valueOf(property: ModelProperty): Json | undefined {
    const writable = { ...property, access: 'readwrite' as const }
    const options = modelOf(this.#model)
    const point = compilePoint(writable, options, {})
    if (point === undefined) return undefined
    const exponent = this.#exponents.get(property.name) ?? 0
    for (let tries = 0; tries < 40; tries++) {
      const candidate = this.#candidate(property)
      const once = through(candidate)
      const value = once === undefined ? undefined : through(once)
      if (value !== undefined && JSON.stringify(value) === JSON.stringify(once)) return value
    }
    return undefined

    function through(value: Json): Json | undefined {
      const encoded = point!.encode(value, exponent)
      if ('code' in encoded) return undefined
      if (encoded.kind === 'coil') return known(point!.decodeBit(encoded.value))
      const view = new DataView(new ArrayBuffer(point!.size * 2))
      const { valueAt, scaleAt } = placesIn()
      encoded.values.forEach((word, index) => {
        view.setUint16(2 * (valueAt + index), word)
      })
      if (scaleAt !== undefined) view.setInt16(2 * scaleAt, exponent, littleBytes())
      return known(point!.decode(view, 0))
    }

    function placesIn(): { valueAt: number; scaleAt: number | undefined } {
      const binding = bindingOf(property)!
      const { scaleRegister } = binding
      const own = binding.input ?? binding.holding ?? 0
      if (scaleRegister === undefined) return { valueAt: 0, scaleAt: undefined }
      const start = Math.min(own, scaleRegister)
      return { valueAt: own - start, scaleAt: scaleRegister - start }
    }

    function littleBytes(): boolean {
      return canonicalOrder(formatOf(bindingOf(property)!, options).order).startsWith('little')
    }
  }

  #candidate(property: ModelProperty): Json {
    const { type, min, max, enum: listed } = property
    const words = Object.values((property['modbus'] as { map?: Record<string, string> }).map ?? {})
    if (listed !== undefined && listed.length > 0) return this.#pick(listed as Json[])
    if (words.length > 0) return this.#pick(words)
    if (type === 'bool') return this.#below(2) === 1
    if (type === 'string' || type === 'bytes') return this.#text(type)
    const least = min ?? this.#pick([0, 0, -3, -300, -40_000, -3e9])
    const most = max ?? least + this.#pick([1, 3, 90, 900, 70_000, 5e9])
    const share = this.#random()
    const number = least + (most - least) * share
    const { precision } = property
    const stepped = precision === undefined || precision <= 0 ? number : Math.round(number / precision) * precision
    return type === 'int' ? Math.round(stepped) : Number(stepped.toPrecision(12))
  }

  #text(type: 'string' | 'bytes'): Json {
    const length = 2 * this.#below(9)
    const letters = Array.from({ length }, () => this.#below(256))
    if (type === 'bytes') return Buffer.from(letters).toString('base64')
    return letters.map((letter) => String.fromCharCode(0x21 + (letter % 90))).join('')
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count)
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)]!
  }
}

const known = (value: Json | Unusable): Json | undefined => (value instanceof Unusable ? undefined : value)
