import type { MqttOptions } from './service.ts'

/** Command line of the agent that is about MQTT; secrets are files. */
export const MQTT_FLAGS = {
  /** `off`, or the TCP port of the agent's own broker. */
  'mqtt-port': { type: 'string' },
  'mqtt-host': { type: 'string' },
  'mqtt-tls-port': { type: 'string' },
  'mqtt-tls-cert': { type: 'string' },
  'mqtt-tls-key': { type: 'string' },
  'mqtt-tls-ca': { type: 'string' },
  /** `mqtt://host:1883`: another broker in place of the agent's own. */
  'mqtt-broker': { type: 'string' },
  'mqtt-username': { type: 'string' },
  'mqtt-password-file': { type: 'string' },
  'sparkplug-group': { type: 'string' },
  'sparkplug-host': { type: 'string' },
} as const

type Values = { readonly [Flag in keyof typeof MQTT_FLAGS]?: string | undefined }

/** Nothing when no flag was given: then the broker starts when the first device needs it. */
export function mqttOptions(values: Values): { readonly mqtt?: MqttOptions } {
  const mqtt: MqttOptions = {
    ...portOf(values['mqtt-port']),
    ...given('host', values['mqtt-host']),
    ...tlsOf(values),
    ...externalOf(values),
    ...given('sparkplugGroup', values['sparkplug-group']),
    ...given('sparkplugHost', values['sparkplug-host']),
  }
  return Object.keys(mqtt).length === 0 ? {} : { mqtt }
}

function portOf(port: string | undefined): MqttOptions {
  if (port === undefined) return {}
  return port === 'off' ? { off: true } : { port: Number(port) }
}

function tlsOf(values: Values): MqttOptions {
  const port = values['mqtt-tls-port']
  const certFile = values['mqtt-tls-cert']
  const keyFile = values['mqtt-tls-key']
  if (port === undefined || certFile === undefined || keyFile === undefined) return {}
  return { tls: { port: Number(port), certFile, keyFile, ...given('caFile', values['mqtt-tls-ca']) } }
}

function externalOf(values: Values): MqttOptions {
  const url = values['mqtt-broker']
  if (url === undefined) return {}
  return {
    external: {
      url,
      ...given('username', values['mqtt-username']),
      ...given('passwordFile', values['mqtt-password-file']),
      ...given('caFile', values['mqtt-tls-ca']),
    },
  }
}

function given<K extends string>(key: K, value: string | undefined): { readonly [key in K]?: string } {
  const out: { [key in K]?: string } = {}
  if (value !== undefined) out[key] = value
  return out
}
