import { existsSync } from 'node:fs'
import { DEFAULT_DATA, dataFolder } from '../device-api.ts'
import { becomePart } from '../processes.ts'
import { writeStandaloneObjects } from '../standalone.ts'
import { makeDataFolder } from '../up/data-folder.ts'
import { defineVerb } from '../verb.ts'

const text = (value: string, help: string) => ({ kind: 'text', value, help }) as const
const files = (help: string) => ({ kind: 'text', value: 'FILE', repeatable: true, help }) as const
const port = (help: string) => ({ kind: 'port', value: 'PORT', help }) as const

/** Handed to the agent's process as they are. */
const PASSED_ON = {
  'local-port': port('Local API on a loopback port too; writing there needs local-api.token.'),
  discover: text('LIST', 'Where to look for new devices by itself: usb, mdns, both, or off. Default usb.'),
  pods: text('HOW', 'Run pods here: off (default), auto, or process, containerd, podman; several with a comma.'),
  'pods-dir': text('DIR', 'Images, volumes and logs of pods. Default: the folder of the agent with -pods behind it.'),
  'static-pods-dir': text(
    'DIR',
    'Manifests of pods that run with no API. Default: manifests in the folder of the agent.',
  ),
  'mqtt-port': text('PORT', "TCP port of the gateway's own MQTT broker, or off. It starts when something needs it."),
  'mqtt-host': text('ADDRESS', 'Where the broker listens. Default 127.0.0.1; beyond it clients need a password.'),
  'mqtt-tls-port': port('MQTT over TLS; with --mqtt-tls-cert and --mqtt-tls-key.'),
  'mqtt-tls-cert': text('FILE', "The broker's certificate, PEM."),
  'mqtt-tls-key': text('FILE', 'Its key, PEM.'),
  'mqtt-tls-ca': text('FILE', 'Authority that signs the certificates of clients, or of the broker given below.'),
  'mqtt-broker': text('URL', 'Use this broker in place of an own one: mqtt://host:1883.'),
  'mqtt-username': text('NAME', 'Name to sign in there with.'),
  'mqtt-password-file': text('FILE', 'File that holds the password.'),
  'sparkplug-group': text('NAME', 'Publish the twins as a Sparkplug B edge node of this group too.'),
  'sparkplug-host': text('NAME', 'Do that only while this primary host application is online.'),
} as const

export const agent = defineVerb({
  name: 'agent',
  summary: 'The agent of a gateway alone',
  description:
    'Polls devices, keeps twins and outbox, answers the local API at DIR/agent.sock, and connects to the cloud core once ' +
    'the gateway has joined. Works as well without any cloud.',
  options: {
    data: { kind: 'text', value: 'DIR', help: `Folder of the agent (also: SLUICE_DATA). Default ${DEFAULT_DATA}.` },
    model: files('Models of a gateway without a cloud: files, or names of the catalogue. May be given several times.'),
    device: files('Devices (and models) of a gateway without a cloud. May be given several times.'),
    'token-file': text('FILE', 'Join with this token when it is there and the gateway has no identity yet.'),
    ...PASSED_ON,
  },
  examples: [
    { command: 'sluice agent --data /var/lib/sluice', says: 'As a service runs it' },
    { command: 'sluice agent --local-port 8099', says: 'For Node-RED or a browser on the gateway' },
    { command: 'sluice agent --model eastron/sdm120 --device meter.yaml', says: 'Devices without any cloud' },
    { command: 'sluice agent --mqtt-port 1883', says: 'With an MQTT broker that devices and programs here can use' },
    { command: 'sluice agent --discover usb,mdns', says: 'Ask the network for new devices every five minutes, too' },
  ],
  async run({ options, env }) {
    const { data, model, device, ...rest } = options
    const passedOn = Object.entries(rest).filter(([flag]) => Object.hasOwn(PASSED_ON, flag))
    const args = passedOn.flatMap(([flag, value]) => (value === undefined ? [] : [`--${flag}`, String(value)]))
    const token = rest['token-file']
    if (token !== undefined && existsSync(token)) args.push('--token-file', token)
    if (model.length + device.length > 0) {
      const folder = dataFolder(data, env)
      makeDataFolder(folder)
      args.push('--objects', await writeStandaloneObjects(folder, [...model, ...device]))
    }
    return becomePart('agent', data, env, args)
  },
})
