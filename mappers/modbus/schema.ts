import type { Static } from 'typebox'
import {
  duration,
  flag,
  integer,
  listOf,
  number,
  object,
  oneNumberOf,
  optional,
  text,
  word,
} from '../../api/schema/parts.ts'
import type { ProtocolSchema } from '../../api/schema/protocol.ts'
import { bitRule, bitWords, mapRule, mapWord, scaleRule, scaleWords } from '../sdk/number-words.ts'
import { TABLES } from './tables.ts'
import { TRANSPORTS } from './transports.ts'

export const VALUE_TYPES = [
  'bool',
  'int8l',
  'int8h',
  'uint8l',
  'uint8h',
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
  'string',
  'bytes',
] as const

/** `big` is ABCD, `big-swap` CDAB (words swapped), `little` DCBA, `little-swap` BADC (bytes swapped within words). */
export const ORDERS = ['big', 'big-swap', 'little', 'little-swap', 'ABCD', 'CDAB', 'DCBA', 'BADC'] as const

const order = (description: string) => optional(word(ORDERS, { description }))

const exactlyOne = (keys: readonly string[], message: string) => ({
  rule: `${keys.map((key) => `(has(self.${key}) ? 1 : 0)`).join(' + ')} == 1`,
  message,
})

const address = (description: string) => optional(integer({ minimum: 0, maximum: 65536, description }))

const writeOptions = () =>
  object(
    {
      function: optional(
        oneNumberOf([5, 6, 15, 16, 22], { description: 'Modbus function to write with. Default: the one that fits.' }),
      ),
      register: address('Write here instead of where it is read; same table family, same type.'),
    },
    { description: 'How to write, where it differs from how to read.' },
  )

export const propertyBinding = () =>
  object(
    {
      coil: address('Address in the coil table (one bit, read and write).'),
      discrete: address('Address in the discrete input table (one bit, read only).'),
      input: address('Address in the input register table (16 bits, read only).'),
      holding: address('Address in the holding register table (16 bits, read and write).'),
      as: optional(
        word(VALUE_TYPES, {
          description: 'How the registers are read. Default uint16 for registers, bool for coils, discretes and bits.',
        }),
      ),
      order: order("Byte and word order of this value. Default: the model's, else big (ABCD)."),
      length: optional(integer({ minimum: 1, maximum: 125, description: 'Registers of a string or bytes value.' })),
      stringByte: optional(
        word(['both', 'high', 'low'], { description: 'Which byte of a register holds text. Default both.' }),
      ),
      ...scaleWords(),
      scaleRegister: address(
        'Register of the same table with a power of ten, -10 to 10, that raw is multiplied by first (a SunSpec scale factor). Read in one request with the value.',
      ),
      ...bitWords(64),
      ...mapWord(),
      notImplemented: optional(
        listOf(number(), {
          maxItems: 8,
          description: 'Raw numbers that mean "not available", for example 0x8000.',
        }),
      ),
      write: optional(writeOptions()),
    },
    {
      rules: [
        exactlyOne(TABLES, 'exactly one of coil, discrete, input, holding is needed'),
        bitRule,
        scaleRule,
        {
          rule: "!has(self.as) || !(self.as in ['string', 'bytes']) || has(self.length)",
          message: 'string and bytes need a length in registers',
        },
        mapRule,
        {
          rule: '!has(self.scaleRegister) || has(self.input) || has(self.holding)',
          message: 'scaleRegister is for registers, not for bits',
        },
        {
          rule: '!(has(self.scaleRegister) && (has(self.map) || has(self.bit) || has(self.bits)))',
          message: 'scaleRegister is for numbers: it cannot be combined with map, bit or bits',
        },
      ],
    },
  )

const rts = () =>
  object(
    {
      send: word(['up', 'down'], { description: 'Level of RTS while sending; the other level while listening.' }),
      before: optional(duration({ description: 'Wait between switching RTS and the first byte. Default 0ms.' })),
      after: optional(duration({ description: 'Wait between the last byte and switching back. Default 0ms.' })),
    },
    { description: 'RS-485 direction by the RTS line, for adapters that do not switch by themselves.' },
  )

const serialLine = (description: string) =>
  object(
    {
      port: text({
        minLength: 1,
        maxLength: 255,
        description: 'Serial port. Prefer /dev/serial/by-id/..., it survives re-plugging.',
      }),
      baud: optional(integer({ minimum: 50, maximum: 4000000, description: 'Bits per second. Default 9600.' })),
      parity: optional(word(['none', 'even', 'odd'], { description: 'Default none.' })),
      dataBits: optional(oneNumberOf([7, 8], { description: 'Default 8.' })),
      stopBits: optional(oneNumberOf([1, 2], { description: 'Default 1.' })),
      rts: optional(rts()),
    },
    { description },
  )

const endpoint = (description: string) =>
  object(
    {
      host: text({ minLength: 1, maxLength: 253 }),
      port: optional(integer({ minimum: 1, maximum: 65535, description: 'Default 502.' })),
      window: optional(
        integer({ minimum: 1, maximum: 64, description: 'Requests in flight at most; learnt from 1 up. Default 16.' }),
      ),
      transactionIdZero: optional(flag({ description: 'The gateway answers with transaction id 0. Default false.' })),
      anyUnit: optional(flag({ description: 'The gateway answers with a unit number of its own. Default false.' })),
    },
    { description },
  )

const lineBehindGateway = () =>
  object(
    {
      host: text({ minLength: 1, maxLength: 253 }),
      port: integer({ minimum: 1, maximum: 65535 }),
      baud: optional(
        integer({
          minimum: 50,
          maximum: 4000000,
          description: 'Speed of the line behind it, for planning. Default 9600.',
        }),
      ),
    },
    { description: 'RTU frames through a TCP socket, as simple serial servers do it.' },
  )

export const deviceAddress = () =>
  object(
    {
      rtu: optional(serialLine('A serial line with RTU framing.')),
      ascii: optional(serialLine('A serial line with ASCII framing.')),
      tcp: optional(endpoint('Modbus TCP.')),
      rtuOverTcp: optional(lineBehindGateway()),
      unit: optional(integer({ minimum: 0, maximum: 255, description: 'Unit identifier (slave address). Default 1.' })),
      timeout: optional(duration({ description: 'Wait this long for an answer. Default 1s.' })),
      retries: optional(
        integer({ minimum: 0, maximum: 10, description: 'Repeats of a read that was not answered. Default 1.' }),
      ),
      busyRetries: optional(
        integer({ minimum: 0, maximum: 20, description: 'Repeats after exceptions 5 and 6 (busy). Default 3.' }),
      ),
      busyWait: optional(duration({ description: 'Pause before such a repeat. Default 100ms.' })),
      pauseAfterConnect: optional(
        duration({ description: 'Wait after the link opened, for devices that need to warm up. Default 0ms.' }),
      ),
      pauseBetweenRequests: optional(
        duration({ description: 'Silence on the link between two requests, beyond what the framing needs.' }),
      ),
      retryFirstRequest: optional(
        flag({ description: 'Ask again when the first request after opening is lost. Default false.' }),
      ),
      closeAfterGather: optional(
        flag({ description: 'Close the link after each round, for devices with a single client slot. Default false.' }),
      ),
      shift: optional(
        integer({
          minimum: -65535,
          maximum: 65535,
          description:
            'Added to every address of the model, for a device that has the same registers elsewhere: 10000 for SunSpec at 50000, -40000 for SunSpec at 0. Default 0.',
        }),
      ),
      turnaround: optional(
        duration({ description: 'How long the device thinks before it answers; learnt anyway. Default 5ms.' }),
      ),
    },
    {
      rules: [
        exactlyOne(TRANSPORTS, 'exactly one of rtu, tcp, rtuOverTcp, ascii is needed'),
        {
          rule: '!has(self.unit) || has(self.tcp) || (self.unit >= 1 && self.unit <= 247)',
          message: 'on a serial line unit must be 1 to 247 (0 is broadcast, 248 to 255 are reserved)',
        },
      ],
    },
  )

export const modelOptions = () =>
  object(
    {
      order: order('Byte and word order of every value of this model. Default big (ABCD).'),
      addressBase: optional(
        oneNumberOf([0, 1], { description: "1 when the manual's first register is called 1. Default 0." }),
      ),
      sunspec: optional(
        flag({
          description:
            'Registers that say "not implemented" the way SunSpec does (0x8000, 0xFFFF, NaN, ...) give no value. Default false.',
        }),
      ),
      maxRegistersPerRead: optional(integer({ minimum: 1, maximum: 125, description: 'Default 125.' })),
      maxBitsPerRead: optional(integer({ minimum: 1, maximum: 2000, description: 'Default 2000.' })),
      maxRegistersPerWrite: optional(integer({ minimum: 1, maximum: 123, description: 'Default 123.' })),
      maxGap: optional(
        integer({
          minimum: 0,
          maximum: 2000,
          description: 'Addresses that a read may cover although nobody asked for them. Default: what is fastest.',
        }),
      ),
      oneReadPerProperty: optional(flag({ description: 'Never merge reads. Default false.' })),
      coilsFromZero: optional(flag({ description: 'Bit reads must start at the first address. Default false.' })),
      forbidden: optional(
        listOf(
          object({
            table: word(TABLES),
            start: integer({ minimum: 0, maximum: 65536 }),
            count: integer({ minimum: 1, maximum: 65536 }),
          }),
          { maxItems: 256, description: 'Ranges the device answers with an error; no read covers them.' },
        ),
      ),
      writeMultiple: optional(
        flag({ description: 'Write single registers and coils with functions 16 and 15 too. Default false.' }),
      ),
      maskWrite: optional(
        flag({ description: 'The device knows function 22, which changes bits of a register at once. Default false.' }),
      ),
      checkModel: optional(
        flag({
          description:
            'The device is a board made of a model: it is not served while it was made of another one than this. Default false.',
        }),
      ),
    },
    { description: 'What holds for every device of this model on Modbus.' },
  )

export const modbusSchema: ProtocolSchema = {
  name: 'modbus',
  property: propertyBinding(),
  address: deviceAddress(),
  model: modelOptions(),
}

export type ValueType = (typeof VALUE_TYPES)[number]
export type Order = (typeof ORDERS)[number]
export type ModbusProperty = Static<ReturnType<typeof propertyBinding>>
export type ModbusAddress = Static<ReturnType<typeof deviceAddress>>
export type ModbusModel = Static<ReturnType<typeof modelOptions>>
export type SerialLine = Static<ReturnType<typeof serialLine>>
