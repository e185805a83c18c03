import type { Static } from 'typebox'
import { duration, flag, integer, listOf, mapOf, number, object, optional, text, word } from '../../api/schema/parts.ts'
import type { ProtocolSchema } from '../../api/schema/protocol.ts'
import { bitRule, bitWords, mapRule, mapWord, scaleRule, scaleWords } from '../sdk/number-words.ts'
import { OPERATIONS } from './codec/converter.ts'
import { ADVERT_FORMATS } from './codec/formats.ts'
import { VALUE_TYPES } from './codec/values.ts'

export const SOURCES = ['advert', 'manufacturer', 'serviceData', 'characteristic'] as const

const UUID = '^(0x)?[0-9A-Fa-f]{4}([0-9A-Fa-f]{4}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12})?$'
const MAC = '^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$'

const converter = () =>
  object(
    {
      start: integer({ minimum: 0, maximum: 511, description: 'First byte; above end reads backwards.' }),
      end: integer({ minimum: 0, maximum: 511, description: 'Last byte, included.' }),
      shiftLeft: optional(integer({ minimum: 0, maximum: 63 })),
      shiftRight: optional(integer({ minimum: 0, maximum: 63 })),
      operations: optional(
        listOf(object({ type: word(OPERATIONS), value: number() }), {
          maxItems: 16,
          description: 'Applied in order.',
        }),
      ),
    },
    { description: "KubeEdge's dataConverter: a range of bytes as one number, shifted, then calculated with." },
  )

export const propertyBinding = () =>
  object(
    {
      advert: optional(word(ADVERT_FORMATS, { description: 'A published advertisement format; give field with it.' })),
      field: optional(text({ minLength: 1, maxLength: 63, description: 'Which field of the advertisement.' })),
      manufacturer: optional(
        integer({
          minimum: 0,
          maximum: 65535,
          description: 'Company identifier of manufacturer data; at counts its two bytes as 0 and 1.',
        }),
      ),
      serviceData: optional(
        text({ pattern: UUID, maxLength: 38, description: 'UUID of service data; at counts from after the UUID.' }),
      ),
      startsWith: optional(
        text({
          pattern: '^([0-9A-Fa-f]{2})+$',
          maxLength: 64,
          description: 'Hex digits the data must begin with, counted as at is; others are somebody else’s frames.',
        }),
      ),
      characteristic: optional(
        text({
          minLength: 4,
          maxLength: 38,
          description: 'UUID of a GATT characteristic, or a standard name such as batteryLevel.',
        }),
      ),
      service: optional(
        text({ pattern: UUID, maxLength: 38, description: 'Its service, where two services have the same one.' }),
      ),
      notify: optional(flag({ description: 'Let the device tell changes (notify or indicate). Default false.' })),
      write: optional(
        word(['withResponse', 'withoutResponse'], { description: 'How to write. Default: what the device offers.' }),
      ),
      writeValues: optional(
        mapOf(text({ pattern: '^([0-9A-Fa-f]{2})*$', maxLength: 1024 }), {
          maxProperties: 64,
          description: "Hex bytes by desired value, as KubeEdge's dataWrite: {on: '01', off: '00'}.",
        }),
      ),
      at: optional(integer({ minimum: 0, maximum: 511, description: 'First byte of the value. Default 0.' })),
      as: optional(
        word(VALUE_TYPES, { description: 'How the bytes are read. Default uint8, or as the standard says.' }),
      ),
      order: optional(word(['little', 'big'], { description: 'Byte order. Default little.' })),
      length: optional(integer({ minimum: 1, maximum: 512, description: 'Bytes of a string or bytes value.' })),
      ...scaleWords(),
      ...bitWords(64),
      ...mapWord(),
      notAvailable: optional(
        listOf(number(), { maxItems: 8, description: 'Raw numbers that mean "no value", for example 0x8000.' }),
      ),
      converter: optional(converter()),
    },
    {
      rules: [
        {
          rule: `${SOURCES.map((key) => `(has(self.${key}) ? 1 : 0)`).join(' + ')} == 1`,
          message: `exactly one of ${SOURCES.join(', ')} is needed`,
        },
        { rule: 'has(self.advert) == has(self.field)', message: 'advert and field belong together' },
        bitRule,
        scaleRule,
        mapRule,
        {
          rule: '!(has(self.converter) && (has(self.as) || has(self.at) || has(self.order)))',
          message: 'converter says itself which bytes are read; leave out as, at and order',
        },
        {
          rule: 'has(self.characteristic) || !(has(self.notify) || has(self.write) || has(self.writeValues) || has(self.service))',
          message: 'notify, write, writeValues and service are for characteristics only',
        },
      ],
    },
  )

export const deviceAddress = () =>
  object(
    {
      mac: text({ pattern: MAC, maxLength: 17, description: 'Address of the device: A4:C1:38:56:53:84.' }),
      addressType: optional(word(['public', 'random'], { description: 'Default: what its advertisements say.' })),
      bindKey: optional(
        text({
          pattern: '^[0-9A-Fa-f]{32}$',
          maxLength: 32,
          description: 'Key of encrypted advertisements, 32 hex digits. Prefer bindKeyFile: this one is readable here.',
        }),
      ),
      bindKeyFile: optional(
        text({ minLength: 1, maxLength: 255, description: 'File on the gateway that holds the key, 32 hex digits.' }),
      ),
      pair: optional(
        flag({
          description: 'Pair and bond when connecting; BlueZ keeps the keys (no other adapter does). Default false.',
        }),
      ),
      passkeyFile: optional(
        text({
          minLength: 1,
          maxLength: 255,
          description: 'File on the gateway with the six digits that the device shows or has on its label.',
        }),
      ),
      adapter: optional(
        text({
          minLength: 1,
          maxLength: 255,
          description:
            'bluez:hci0 (the default) through BlueZ, hci0 for the raw adapter (needs CAP_NET_RAW), a serial port for HCI over UART.',
        }),
      ),
      baud: optional(integer({ minimum: 9600, maximum: 12000000, description: 'Of an HCI UART. Default 1000000.' })),
      timeout: optional(duration({ description: 'Wait this long for an answer of the device. Default 5s.' })),
      connectTimeout: optional(duration({ description: 'Wait this long for a connection. Default 10s.' })),
      silentAfter: optional(
        duration({
          description: 'Without an advertisement for this long it is offline. Default 5m, at least 3 polls.',
        }),
      ),
    },
    {
      rules: [
        { rule: '!(has(self.bindKey) && has(self.bindKeyFile))', message: 'give bindKey or bindKeyFile, not both' },
        {
          rule: '!has(self.passkeyFile) || (has(self.pair) && self.pair == true)',
          message: 'passkeyFile is for pairing: give pair: true with it',
        },
        {
          rule: "!has(self.pair) || self.pair != true || !has(self.adapter) || self.adapter.startsWith('bluez')",
          message: 'pair needs an adapter of BlueZ, such as bluez:hci0, which keeps the keys',
        },
      ],
    },
  )

export const modelOptions = () =>
  object(
    {
      connect: optional(
        word(['never', 'onDemand', 'keep'], {
          description:
            'never: advertisements only. onDemand: connect, read, leave. keep: stay connected. Default: what the properties need.',
        }),
      ),
      mtu: optional(integer({ minimum: 23, maximum: 517, description: 'ATT MTU to ask for. Default 256.' })),
    },
    { description: 'What holds for every device of this model on Bluetooth LE.' },
  )

export const bleSchema: ProtocolSchema = {
  name: 'ble',
  property: propertyBinding(),
  address: deviceAddress(),
  model: modelOptions(),
}

export type BleProperty = Static<ReturnType<typeof propertyBinding>>
export type BleAddress = Static<ReturnType<typeof deviceAddress>>
export type BleModel = Static<ReturnType<typeof modelOptions>>
