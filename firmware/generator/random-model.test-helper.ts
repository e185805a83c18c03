import type { DeviceModelSpec, ModelProperty } from '../../api/resources.ts'
import { seededRandom } from '../../hil/random.ts'
import { ORDERS, type ValueType } from '../../mappers/modbus/schema.ts'
import { registersOf } from '../../mappers/modbus/values.ts'

type Binding = Record<string, unknown>

/** A model of every form a model can say, drawn at random; the same for the same seed. */
export function randomModel(seed: number, count: number): DeviceModelSpec {
  const draw = new Draw(seed)
  const properties: ModelProperty[] = []
  const free = { coil: 0, discrete: 0, input: draw.below(3000), holding: draw.below(3000) }
  const base = draw.one([0, 0, 1])
  while (properties.length < count) {
    const name = nameOf(properties.length, draw)
    const kind = draw.below(20)
    if (kind < 3) properties.push(unbound(name, draw))
    else if (kind < 6) properties.push(onBit(name, draw, free, base))
    else if (kind < 9) properties.push(...fields(name, draw, free, base))
    else properties.push(onRegisters(name, draw, free, base))
  }
  const options = {
    ...(draw.chance(0.3) ? { order: draw.one(ORDERS) } : {}),
    ...(base === 1 ? { addressBase: 1 } : {}),
  }
  return { properties: properties.slice(0, count), modbus: options }
}

type Free = Record<'coil' | 'discrete' | 'input' | 'holding', number>

const nameOf = (at: number, draw: Draw): string =>
  draw.one([`p${at}`, `value-${at}`, `energyImport${at}`, `int${at}`, `A_b${at}`, at === 0 ? 'double' : `T${at}`])

const unbound = (name: string, draw: Draw): ModelProperty => ({
  name,
  type: draw.one(['int', 'float', 'bool', 'string', 'bytes'] as const),
  access: draw.one(['read', 'readwrite'] as const),
})

function onBit(name: string, draw: Draw, free: Free, base: number): ModelProperty {
  const writable = draw.chance(0.5)
  const table = writable ? 'coil' : 'discrete'
  const address = free[table] + draw.below(3)
  free[table] = address + 1
  const binding: Binding = { [table]: address + base }
  const access = writable ? 'readwrite' : 'read'
  if (draw.chance(0.3)) return { name, type: 'string', access, modbus: { ...binding, map: { 0: 'closed', 1: 'open' } } }
  return { name, type: draw.one(['bool', 'int'] as const), access, modbus: binding }
}

/** A word shared by a few properties. */
function fields(name: string, draw: Draw, free: Free, base: number): ModelProperty[] {
  const writable = draw.chance(0.6)
  const table = writable ? 'holding' : 'input'
  const halves = draw.chance(0.3)
  const as: ValueType = draw.one(['uint16', 'uint16', 'int16', 'uint32', 'uint64'] as const)
  const address = free[table] + draw.below(3)
  const registers = halves ? 1 : registersOf({ as, length: 1 })
  free[table] = address + registers
  const at = { [table]: address + base, order: draw.one(ORDERS) }
  const access = () => (writable && draw.chance(0.7) ? ('readwrite' as const) : ('read' as const))
  if (halves)
    return [
      { name: `${name}l`, type: 'int', access: access(), modbus: { ...at, as: draw.one(['int8l', 'uint8l']) } },
      { name: `${name}h`, type: 'int', access: access(), modbus: { ...at, as: draw.one(['int8h', 'uint8h']) } },
    ]
  const out: ModelProperty[] = []
  let first = draw.below(3)
  while (first < 16 * registers && out.length < 6) {
    const count = Math.min(1 + draw.below(7), 16 * registers - first)
    const binding = count === 1 ? { ...at, as, bit: first } : { ...at, as, bits: { first, count } }
    const type = count === 1 ? draw.one(['bool', 'int'] as const) : 'int'
    out.push({ name: `${name}f${first}`, type, access: access(), modbus: binding })
    first += count + draw.below(4)
  }
  return out
}

const NUMBERS = [
  'bool',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'float16',
  'float32',
  'float64',
  'bcd16',
  'bcd32',
] as const

function onRegisters(name: string, draw: Draw, free: Free, base: number): ModelProperty {
  const table = draw.one(['input', 'holding', 'holding'] as const)
  const access = table === 'input' ? 'read' : draw.one(['read', 'readwrite', 'readwrite', 'write'] as const)
  const text = draw.chance(0.15)
  const as = text ? draw.one(['string', 'bytes'] as const) : draw.one(NUMBERS)
  const length = text ? 1 + draw.below(20) : 1
  const address = free[table] + draw.below(3)
  free[table] = address + registersOf({ as, length })
  const binding: Binding = { [table]: address + base, as, ...(draw.chance(0.7) ? { order: draw.one(ORDERS) } : {}) }
  if (as === 'string' || as === 'bytes') {
    const stringByte = as === 'string' ? { stringByte: draw.one(['both', 'both', 'high', 'low']) } : {}
    return { name, type: as, access, modbus: { ...binding, length, ...stringByte } }
  }
  if (access !== 'read' && draw.chance(0.15)) {
    binding['write'] = { register: free.holding + base }
    free.holding += registersOf({ as, length: 1 })
  }
  if (as === 'bool') return { name, type: 'bool', access, modbus: binding }
  if (/^u?int/.test(as) && draw.chance(0.2))
    return {
      name,
      type: 'string',
      access,
      modbus: { ...binding, map: { 0: 'off', 1: 'on', 3: 'in trouble', 7: 'Ärger' } },
    }
  if (/^u?int(16|32)$/.test(as) && draw.chance(0.2)) {
    binding['scaleRegister'] = free[table] + draw.below(4) + base
    free[table] = (binding['scaleRegister'] as number) - base + 1
    return { name, type: 'float', access, precision: draw.one([0.1, 0.01, 1, 10]), modbus: binding }
  }
  if (draw.chance(0.4)) binding['scale'] = draw.one([0.1, 0.01, 0.5, 10, -1, 2])
  if (draw.chance(0.2)) binding['offset'] = draw.one([-40, 100, 0.5])
  if (/^int16$/.test(as) && draw.chance(0.2)) binding['notImplemented'] = [0x8000]
  const whole = binding['scale'] === undefined && binding['offset'] === undefined && !as.startsWith('float')
  const type = whole && draw.chance(0.6) ? 'int' : 'float'
  const limits = draw.chance(0.4) ? { min: draw.one([0, 0, 1, 5]), max: draw.one([10, 50, 100]) } : {}
  const listed = type === 'int' && draw.chance(0.15) ? { enum: [1, 5, 9, 20] } : {}
  return { name, type, access, ...(Object.keys(listed).length > 0 ? listed : limits), modbus: binding }
}

class Draw {
  readonly #random: () => number

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  below(count: number): number {
    return Math.floor(this.#random() * count)
  }

  chance(share: number): boolean {
    return this.#random() < share
  }

  one<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!
  }
}
