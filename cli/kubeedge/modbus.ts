import type { Fields } from '../../api/yaml/fragments.ts'
import type { KubeEdgeProperty } from './model.ts'
import type { Notes, Reader } from './notes.ts'

const REGISTERS = {
  CoilRegister: 'coil',
  DiscreteInputRegister: 'discrete',
  InputRegister: 'input',
  HoldingRegister: 'holding',
} as const

const ms = (value: number): string => `${Math.round(value)}ms`

/** `protocol.configData` of v1beta1: everything in one map. */
export function modbusConfig(config: Reader, notes: Notes): Fields | undefined {
  const mode = config.word('communicateMode', ['TCP', 'RTU'])
  config.skip('customizedValues')
  const unit = config.number('slaveID')
  const rtu = mode === 'RTU' || (mode === undefined && config.has('serialPort'))
  return {
    ...(rtu ? { rtu: serial(config, notes) } : { tcp: tcp(config, notes) }),
    ...(unit === undefined ? {} : { unit }),
  }
}

/** `protocol.modbus` and `protocol.common` of v1alpha2. */
export function modbusProtocol(protocol: Reader, notes: Notes): Fields | undefined {
  const own = protocol.map('modbus')
  const unit = own.number('slaveID')
  own.end()
  const common = protocol.map('common')
  const timeout = common.number('collectTimeout')
  const retries = common.number('collectRetryTimes')
  common.skip('commType', 'collectType')
  common.leaveOut('reconnTimeout', 'A lost connection is made again by itself, with growing pauses.')
  common.leaveOut('reconnRetryTimes', 'A lost connection is tried again for ever.')
  common.leaveOut('customizedValues', 'Nothing here reads them.')
  const com = common.map('com')
  const net = common.map('tcp')
  const wire = common.has('com') ? { rtu: serial(com, notes) } : { tcp: tcp(net, notes) }
  com.end()
  net.end()
  common.end()
  return {
    ...wire,
    ...(unit === undefined ? {} : { unit }),
    ...(timeout === undefined ? {} : { timeout: ms(timeout) }),
    ...(retries === undefined ? {} : { retries }),
  }
}

function serial(from: Reader, notes: Notes): Fields {
  const port = from.text('serialPort')
  if (port === undefined) notes.refuse(from.path, 'serialPort is missing', 'Add it: serialPort: /dev/ttyUSB0.')
  const baud = from.number('baudRate')
  const dataBits = from.number('dataBits')
  const stopBits = from.number('stopBits')
  const parity = from.word('parity', ['none', 'even', 'odd'])
  if (dataBits !== undefined && dataBits !== 7 && dataBits !== 8) {
    notes.refuse(from.at('dataBits'), `Modbus has 7 or 8 data bits, not ${dataBits}`, 'Correct dataBits.')
  }
  return {
    port,
    ...(baud === undefined ? {} : { baud }),
    ...(parity === undefined || parity === 'none' ? {} : { parity }),
    ...(dataBits === undefined || dataBits === 8 ? {} : { dataBits }),
    ...(stopBits === undefined || stopBits === 1 ? {} : { stopBits }),
  }
}

function tcp(from: Reader, notes: Notes): Fields {
  const host = from.text('ip')
  const port = from.number('port')
  if (host === undefined) notes.refuse(from.path, 'ip is missing', 'Add it: ip: 192.0.2.10.')
  return { host, ...(port === undefined || port === 502 ? {} : { port }) }
}

/** One visitor as a binding. */
export function modbusVisitor(config: Reader, property: KubeEdgeProperty, notes: Notes): Fields | undefined {
  const register = config.word('register', Object.keys(REGISTERS) as (keyof typeof REGISTERS)[])
  const offset = config.number('offset')
  const limit = config.number('limit') ?? 1
  const scale = config.number('scale')
  const swapBytes = config.flag('isSwap') ?? false
  const swapWords = config.flag('isRegisterSwap') ?? false
  config.skip('dataType', 'min', 'max')
  config.leaveOut('customizedValues', 'Nothing here reads them.')
  config.end()
  if (register === undefined || offset === undefined) {
    const what = register === undefined ? 'register' : 'offset'
    if (!config.has(what))
      notes.refuse(config.path, `${what} is missing`, `Say where ${property.name} is: register and offset.`)
    return undefined
  }
  const table = REGISTERS[register]
  if (table === 'coil' || table === 'discrete') {
    if (limit === 1) return { [table]: offset }
    notes.refuse(config.at('limit'), `a property is one bit, not ${limit}`, 'Make a property of each bit.')
    return undefined
  }
  const form = formOf(property, limit)
  if (form === undefined) {
    const message = `${limit} register${limit === 1 ? '' : 's'} cannot be a ${property.type}`
    notes.refuse(config.at('limit'), message, 'Numbers take 1, 2 or 4 registers; FLOAT 1 or 2, DOUBLE 2 or 4.')
    return undefined
  }
  const order = orderOf(swapBytes, swapWords && limit > 1)
  return {
    [table]: offset,
    ...form,
    ...(order === undefined ? {} : { order }),
    ...(scale === undefined || scale === 1 || scale === 0 ? {} : { scale }),
  }
}

const orderOf = (bytes: boolean, words: boolean): string | undefined =>
  bytes ? (words ? 'DCBA' : 'BADC') : words ? 'CDAB' : undefined

/** KubeEdge reads integers without a sign; a limit below zero says that they have one. */
function formOf({ type, min }: KubeEdgeProperty, registers: number): Fields | undefined {
  const sign = min !== undefined && min < 0 ? 'int' : 'uint'
  switch (type) {
    case 'string':
    case 'bytes':
      return { as: type, length: registers }
    case 'bool':
      return registers === 1 ? { as: 'bool' } : undefined
    case 'float':
      if (registers === 1) return { as: `${sign}16` }
      return registers === 2 ? { as: 'float32' } : registers === 4 ? { as: 'float64' } : undefined
    default:
      return [1, 2, 4].includes(registers) ? { as: `${sign}${16 * registers}` } : undefined
  }
}
