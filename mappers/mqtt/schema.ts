import type { Static } from 'typebox'
import {
  anyValue,
  duration,
  flag,
  integer,
  listOf,
  mapOf,
  object,
  oneNumberOf,
  optional,
  text,
  word,
} from '../../api/schema/parts.ts'
import type { ProtocolSchema } from '../../api/schema/protocol.ts'
import { scaleRule, scaleWords } from '../sdk/number-words.ts'

export const FORMATS = ['json', 'text', 'number', 'bool', 'cbor', 'protobuf', 'bytes'] as const
export const WIRES = [
  'uint',
  'sint',
  'int',
  'bool',
  'float',
  'double',
  'fixed32',
  'fixed64',
  'sfixed32',
  'sfixed64',
  'string',
  'bytes',
] as const

const topic = (description: string) => text({ minLength: 1, maxLength: 512, description })

const path = (description: string) => text({ maxLength: 512, description })

const PATH = 'JSON pointer (/a/b/0) or dotted path (a.b[0]); for protobuf field numbers (4.1, 4[0].1).'

const format = () =>
  optional(
    word(FORMATS, {
      description:
        'How the payload is read. Default json where there is a path, else text, number or bool by the type.',
    }),
  )

const wire = () => optional(word(WIRES, { description: 'Protobuf type of the field. Default uint.' }))

const words = (description: string) => listOf(anyValue(), { minItems: 1, maxItems: 16, description })

const confirm = () =>
  object(
    {
      topic: topic('Where the answer comes.'),
      as: format(),
      path: optional(path('Value in the answer that must equal what was asked for.')),
      wire: wire(),
      id: optional(path('Value in the answer that must equal {id} of the command.')),
      error: optional(path('When this is in the answer, the device refused, and this is why.')),
      equals: optional(anyValue({ description: 'The value at path that means yes, where it is not the desired one.' })),
    },
    { description: 'An answer of its own on another topic.' },
  )

const command = () =>
  object(
    {
      topic: topic('Where the command goes; {base}, {device}, {client} and {name} are filled in.'),
      payload: optional(
        text({
          maxLength: 4096,
          description:
            "{value} is the value in the device's words, {json} the same as JSON, {id} a number of its own. Default {value}; with as: cbor this is JSON that is sent as CBOR.",
        }),
      ),
      as: optional(word(['text', 'cbor', 'bytes'], { description: 'Default text.' })),
      map: optional(
        mapOf(anyValue(), {
          maxProperties: 256,
          description: 'Word for the device by value: {true: "ON"}. Default: map read backwards.',
        }),
      ),
      qos: optional(oneNumberOf([0, 1], { description: 'Default 1.' })),
      retain: optional(
        flag({ description: 'Default false: a retained command is carried out again after every reconnect.' }),
      ),
      confirm: optional(confirm()),
      unconfirmed: optional(
        flag({ description: 'The device never says what it did: applied means handed to the broker. Default false.' }),
      ),
      timeout: optional(duration({ description: 'How long the device may take. Default 10s.' })),
    },
    {
      rules: [
        {
          rule: '!(has(self.confirm) && has(self.unconfirmed))',
          message: 'give confirm or unconfirmed, not both',
        },
      ],
    },
  )

export const propertyBinding = () =>
  object(
    {
      topic: optional(
        topic(
          'Where the value comes; + and # match as in MQTT, {base}, {device} and {client} are filled in from the address.',
        ),
      ),
      metric: optional(text({ minLength: 1, maxLength: 512, description: 'Name of the Sparkplug metric.' })),
      as: format(),
      path: optional(path(PATH)),
      wire: wire(),
      map: optional(
        mapOf(anyValue(), { maxProperties: 256, description: 'Value by raw word: {ON: true, OFF: false}.' }),
      ),
      ...scaleWords(),
      missing: optional(
        word(['bad', 'ignore'], {
          description:
            "When the path is not in the payload: ignore for devices that send only what changed. Default: the model's, else bad.",
        }),
      ),
      notAvailable: optional(words('Raw values that mean the device has none now: unavailable, null, -999.')),
      ignoreRetained: optional(flag({ description: 'Take only what is sent while listening. Default false.' })),
      time: optional(
        object(
          { path: path(PATH), unit: optional(word(['s', 'ms', 'iso'], { description: 'Default ms.' })) },
          { description: "The source's time in the same payload. Default: when it came." },
        ),
      ),
      command: optional(command()),
    },
    {
      rules: [
        {
          rule: 'has(self.topic) || has(self.metric) || has(self.command)',
          message: 'give a topic, a Sparkplug metric or a command',
        },
        { rule: '!(has(self.topic) && has(self.metric))', message: 'give topic or metric, not both' },
        scaleRule,
        {
          rule: '!(has(self.map) && (has(self.scale) || has(self.offset)))',
          message: 'map gives values for raw words; it cannot be combined with scale or offset',
        },
        { rule: "!has(self.as) || self.as != 'protobuf' || has(self.path)", message: 'protobuf needs a path' },
      ],
    },
  )

export const modelOptions = () =>
  object(
    {
      availability: optional(
        listOf(
          object({
            topic: topic('Where the device, or the broker in its name, says whether it is there.'),
            as: format(),
            path: optional(path(PATH)),
            online: words('Values that mean it is there.'),
            offline: words('Values that mean it is away.'),
          }),
          { maxItems: 4, description: 'All of them must say online.' },
        ),
      ),
      requests: optional(
        listOf(
          object({
            topic: topic('Where to ask.'),
            payload: optional(text({ maxLength: 4096, description: '{id} is a number of its own. Default empty.' })),
            every: optional(duration({ description: 'Default: only when the connection is made.' })),
          }),
          { maxItems: 32, description: 'What to publish so that the device says its values.' },
        ),
      ),
      missing: optional(word(['bad', 'ignore'], { description: 'For all properties that do not say themselves.' })),
      qos: optional(oneNumberOf([0, 1], { description: 'Of the subscriptions. Default 1.' })),
    },
    { description: 'What holds for every device of this model on MQTT.' },
  )

export const deviceAddress = () =>
  object(
    {
      broker: optional(
        text({
          maxLength: 512,
          pattern: '^(local|mqtts?://[^\\s/@]+/?)$',
          description: 'mqtt://host:1883, mqtts://host:8883, or local: the broker of the gateway. Default local.',
        }),
      ),
      base: optional(topic('Fills {base} of the topics: zigbee2mqtt/kitchen. Default the name of the Device.')),
      device: optional(topic('Fills {device} of the topics. Default the name of the Device.')),
      client: optional(topic('Fills {client}: where this gateway receives answers. Default sluice.')),
      username: optional(text({ maxLength: 256 })),
      passwordFile: optional(
        text({ maxLength: 1024, description: 'File on the gateway with the password on its first line.' }),
      ),
      clientId: optional(
        text({ maxLength: 128, description: 'Default one that is made from the name of the gateway.' }),
      ),
      tls: optional(
        object(
          {
            caFile: optional(text({ description: 'Authority of the broker, PEM. Default those of the system.' })),
            certFile: optional(text({ description: 'Own certificate, PEM.' })),
            keyFile: optional(text({ description: 'Its key, PEM.' })),
            servername: optional(
              text({ maxLength: 253, description: 'Name in the certificate, where it is not the host.' }),
            ),
          },
          { description: 'Files on the gateway for mqtts.' },
        ),
      ),
      sparkplug: optional(
        object(
          {
            group: text({ minLength: 1, maxLength: 256, pattern: '^[^+#/]+$' }),
            node: text({ minLength: 1, maxLength: 256, pattern: '^[^+#/]+$' }),
            device: optional(
              text({ minLength: 1, maxLength: 256, pattern: '^[^+#/]+$', description: 'Default: the node itself.' }),
            ),
            host: optional(
              text({
                minLength: 1,
                maxLength: 256,
                pattern: '^[^+#/]+$',
                description: 'Name of the host application to appear as, for nodes that wait for their primary host.',
              }),
            ),
          },
          { description: 'A Sparkplug B edge node, or a device behind it.' },
        ),
      ),
      qos: optional(
        integer({ minimum: 0, maximum: 1, description: "Of the subscriptions. Default the model's, else 1." }),
      ),
    },
    {
      rules: [
        {
          rule: "!has(self.tls) || (has(self.broker) && self.broker.startsWith('mqtts://'))",
          message: 'tls is for a broker at mqtts://',
        },
        {
          rule: "!has(self.username) || (has(self.broker) && self.broker != 'local')",
          message: "username is for a broker of its own; the gateway's needs none",
        },
      ],
    },
  )

export const mqttSchema: ProtocolSchema = {
  name: 'mqtt',
  property: propertyBinding(),
  address: deviceAddress(),
  model: modelOptions(),
}

export type Format = (typeof FORMATS)[number]
export type Wire = (typeof WIRES)[number]
export type MqttProperty = Static<ReturnType<typeof propertyBinding>>
export type MqttAddress = Static<ReturnType<typeof deviceAddress>>
export type MqttModel = Static<ReturnType<typeof modelOptions>>
export type MqttCommand = Static<ReturnType<typeof command>>
