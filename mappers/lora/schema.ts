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
import { bitRule, bitWords, mapWord, scaleRule, scaleWords } from '../sdk/number-words.ts'

export const VALUE_TYPES = [
  'bool',
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int24',
  'uint24',
  'int32',
  'uint32',
  'float32',
  'float64',
  'string',
  'bytes',
] as const

/** What the radio link itself says with every uplink or device status. */
export const RADIO_FACTS = [
  'rssi',
  'snr',
  'spreadingFactor',
  'gateways',
  'airtime',
  'margin',
  'battery',
  'frameCounter',
] as const

export const REGION_NAMES = ['EU868', 'US915', 'AU915', 'AS923', 'AS923-2', 'AS923-3', 'AS923-4'] as const

const EUI = '^([0-9A-Fa-f]{2}[-:]?){7}[0-9A-Fa-f]{2}$'
const KEY = '^([0-9A-Fa-f]{2}[-: ]?){15}[0-9A-Fa-f]{2}$'
const HEX = '^([0-9A-Fa-f]{2}){0,64}$'

const eui = (description: string) => text({ pattern: EUI, maxLength: 23, description })
const key = (description: string) => optional(text({ pattern: KEY, maxLength: 47, description }))
const port = (description: string) => optional(integer({ minimum: 1, maximum: 223, description }))
const path = (description: string) => text({ minLength: 1, maxLength: 256, description })
const order = (description: string) => optional(word(['big', 'little'], { description }))

const downlink = () =>
  object(
    {
      port: port("FPort. Default: the model's `port`, else what the encoder says."),
      confirmed: optional(flag({ description: "Ask the device to acknowledge. Default: the model's, else true." })),
      field: optional(path("Name under which the model's encodeDownlink expects the value, dots for nesting.")),
      prefix: optional(text({ pattern: HEX, maxLength: 128, description: 'Bytes before the value, hexadecimal.' })),
      suffix: optional(text({ pattern: HEX, maxLength: 128, description: 'Bytes after the value, hexadecimal.' })),
      as: optional(word(VALUE_TYPES, { description: 'How the value is written, as for reading.' })),
      order: order('Byte order of the value. Default: as read, else big.'),
      readBack: optional(
        flag({
          description:
            'The value comes back in a later uplink: applied only when it was seen there. Default false: applied when acknowledged.',
        }),
      ),
    },
    {
      description: 'How a desired value becomes a downlink: through the encoder (field) or by layout (as).',
      rules: [
        {
          rule: 'has(self.field) != has(self.as)',
          message: 'exactly one of field (encoder) and as (layout) is needed',
        },
      ],
    },
  )

export const propertyBinding = () =>
  object(
    {
      field: optional(path("Path into the decoder's output: `temperature`, `data.ext[0].value`.")),
      radio: optional(word(RADIO_FACTS, { description: 'A fact of the radio link instead of the payload.' })),
      port: port('Only uplinks on this FPort carry it. Default: any.'),
      at: optional(
        integer({
          minimum: -222,
          maximum: 241,
          description: 'Byte the value starts at; negative counts from the end.',
        }),
      ),
      as: optional(word(VALUE_TYPES, { description: 'How the bytes are read. Default uint8.' })),
      order: order('Byte order of the value. Default big.'),
      length: optional(integer({ minimum: 1, maximum: 242, description: 'Bytes of a string or bytes value.' })),
      ...scaleWords(),
      ...bitWords(32),
      ...mapWord(),
      absent: optional(
        listOf(number(), { maxItems: 8, description: 'Raw numbers that mean "not available", for example 0x7FFF.' }),
      ),
      downlink: optional(downlink()),
    },
    {
      rules: [
        {
          rule: '(has(self.field) ? 1 : 0) + (has(self.at) ? 1 : 0) + (has(self.radio) ? 1 : 0) <= 1',
          message: 'give one of field, at and radio',
        },
        {
          rule: 'has(self.field) || has(self.at) || has(self.radio) || has(self.downlink)',
          message: 'one of field, at, radio and downlink is needed',
        },
        bitRule,
        scaleRule,
        {
          rule: "!has(self.as) || !(self.as in ['string', 'bytes']) || has(self.length)",
          message: 'string and bytes need a length in bytes',
        },
      ],
    },
  )

const listen = () =>
  object(
    {
      host: optional(
        text({
          minLength: 1,
          maxLength: 253,
          description: 'Address to listen on. Default 127.0.0.1; Semtech UDP has no authentication.',
        }),
      ),
      udp: optional(
        integer({ minimum: 0, maximum: 65535, description: 'Port for packet forwarders (Semtech UDP). Default 1700.' }),
      ),
      station: optional(
        integer({ minimum: 0, maximum: 65535, description: 'Port for Basic Station. Default: not listening.' }),
      ),
      gateways: optional(
        listOf(eui('EUI of a gateway.'), { maxItems: 256, description: 'Gateways that may take part. Default: all.' }),
      ),
      netId: optional(text({ pattern: '^[0-9A-Fa-f]{6}$', maxLength: 6, description: 'NetID. Default 000000.' })),
      rxDelay: optional(
        integer({ minimum: 1, maximum: 15, description: 'Seconds from an uplink to its first window. Default 1.' }),
      ),
      rx2DataRate: optional(
        integer({ minimum: 0, maximum: 15, description: "Data rate of the second window. Default: the region's." }),
      ),
      duplicatesWithin: optional(
        duration({ description: 'How long copies by several gateways are collected. Default 200ms.' }),
      ),
    },
    { description: "The gateway's own network server. Devices that say nothing share what one device says." },
  )

const broker = () =>
  text({
    minLength: 1,
    maxLength: 512,
    description: 'mqtt://host:1883, mqtts://host:8883, ws://, wss://, or `local` for the broker of this gateway.',
  })

const credentials = {
  username: optional(text({ maxLength: 256 })),
  passwordFile: optional(text({ maxLength: 512, description: 'File with the password or API key, nothing else.' })),
  caFile: optional(text({ maxLength: 512, description: 'PEM of the authority that signed the broker.' })),
}

const chirpstack = () =>
  object(
    {
      broker: broker(),
      application: text({ minLength: 1, maxLength: 64, description: 'Application id (a UUID).' }),
      ...credentials,
    },
    { description: 'A ChirpStack v4 server, over its MQTT integration (JSON).' },
  )

const tts = () =>
  object(
    {
      broker: broker(),
      application: text({ minLength: 1, maxLength: 128, description: 'Application id, with tenant: my-app@ttn.' }),
      device: optional(text({ minLength: 1, maxLength: 64, description: 'Device id. Default eui-<devEui>.' })),
      ...credentials,
    },
    { description: 'The Things Stack, over its MQTT server. The user name is the application by default.' },
  )

export const deviceAddress = () =>
  object(
    {
      devEui: eui('DevEUI, as printed on the device.'),
      joinEui: optional(eui('JoinEUI (AppEUI). Default: any.')),
      appKey: key('AppKey for joining over the air. Better in a keyFile.'),
      devAddr: optional(text({ pattern: '^[0-9A-Fa-f]{8}$', maxLength: 8, description: 'DevAddr (ABP).' })),
      nwkSKey: key('Network session key (ABP). Better in a keyFile.'),
      appSKey: key('Application session key (ABP). Better in a keyFile.'),
      keyFile: optional(
        text({
          minLength: 1,
          maxLength: 512,
          description: 'File on the gateway with the keys: lines such as `appKey: 0011...`, or the AppKey alone.',
        }),
      ),
      server: optional(word(['local'], { description: "local: the gateway's own network server." })),
      listen: optional(listen()),
      chirpstack: optional(chirpstack()),
      tts: optional(tts()),
      region: optional(word(REGION_NAMES, { description: "Regional plan. Default: the model's, else EU868." })),
      subBand: optional(
        integer({ minimum: 1, maximum: 8, description: 'Eight of the 64 channels, US915 and AU915. Default 2.' }),
      ),
      counterResets: optional(
        flag({
          description: 'The device (ABP) starts its counter anew at power-up; replays get through. Default false.',
        }),
      ),
    },
    {
      rules: [
        {
          rule: '(has(self.server) ? 1 : 0) + (has(self.chirpstack) ? 1 : 0) + (has(self.tts) ? 1 : 0) == 1',
          message: 'exactly one of server, chirpstack and tts is needed',
        },
        {
          rule: '!has(self.server) || has(self.keyFile) || has(self.appKey) || (has(self.devAddr) && has(self.nwkSKey) && has(self.appSKey))',
          message: 'the own network server needs appKey (OTAA), devAddr with nwkSKey and appSKey (ABP), or a keyFile',
        },
        { rule: '!(has(self.appKey) && has(self.devAddr))', message: 'give appKey (OTAA) or devAddr (ABP), not both' },
        { rule: '!has(self.listen) || has(self.server)', message: 'listen belongs to server: local' },
      ],
    },
  )

export const modelOptions = () =>
  object(
    {
      decoder: optional(
        text({
          minLength: 1,
          maxLength: 131072,
          description:
            'JavaScript of the vendor: decodeUplink/encodeDownlink (TS013) or Decoder(bytes, port). In a file: decoderFile: ./decoder.js, which is put in here when the file is read.',
        }),
      ),
      decoderTime: optional(duration({ description: 'Longest a decoder may take. Default 100ms, at most 1s.' })),
      class: optional(word(['A', 'C'], { description: 'A: listens after uplinks only. C: always. Default A.' })),
      region: optional(word(REGION_NAMES, { description: 'Regional plan the hardware is made for.' })),
      port: port('FPort of downlinks. Default 1.'),
      confirmed: optional(flag({ description: 'Downlinks ask for an acknowledgement. Default true.' })),
      adr: optional(flag({ description: 'Tune data rate and power of devices that allow it. Default true.' })),
      statusEvery: optional(duration({ description: 'Ask for battery and margin this often. Default 1d; 0s: never.' })),
      maxDutyCycle: optional(
        oneNumberOf([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], {
          description: 'Limit the share of time the device sends to 1/2^n.',
        }),
      ),
    },
    { description: 'What holds for every device of this model on LoRaWAN.' },
  )

export const loraSchema: ProtocolSchema = {
  name: 'lora',
  property: propertyBinding(),
  address: deviceAddress(),
  model: modelOptions(),
}

export type ValueType = (typeof VALUE_TYPES)[number]
export type RadioFact = (typeof RADIO_FACTS)[number]
export type LoraProperty = Static<ReturnType<typeof propertyBinding>>
export type LoraDownlink = Static<ReturnType<typeof downlink>>
export type LoraAddress = Static<ReturnType<typeof deviceAddress>>
export type LoraModel = Static<ReturnType<typeof modelOptions>>
export type ListenOptions = Static<ReturnType<typeof listen>>
export type ChirpstackOptions = Static<ReturnType<typeof chirpstack>>
export type TtsOptions = Static<ReturnType<typeof tts>>
