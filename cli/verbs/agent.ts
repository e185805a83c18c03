import { DEFAULT_DATA } from '../device-api.ts'
import { becomePart } from '../processes.ts'
import { defineVerb } from '../verb.ts'

export const agent = defineVerb({
  name: 'agent',
  summary: 'The agent of a gateway alone',
  description:
    'Polls devices, keeps twins and outbox, answers the local API at DIR/agent.sock, and connects to the cloud core once ' +
    'the gateway has joined. Works as well without any cloud.',
  options: {
    data: { kind: 'text', value: 'DIR', help: `Folder of the agent (also: SLUICE_DATA). Default ${DEFAULT_DATA}.` },
    'local-port': {
      kind: 'port',
      value: 'PORT',
      help: 'Local API on a loopback port too; writing there needs local-api.token.',
    },
  },
  examples: [
    { command: 'sluice agent --data /var/lib/sluice', says: 'As a service runs it' },
    { command: 'sluice agent --local-port 8099', says: 'For Node-RED or a browser on the gateway' },
  ],
  run: ({ options, env }) =>
    becomePart('agent', options.data, env, [
      ...(options['local-port'] === undefined ? [] : ['--local-port', String(options['local-port'])]),
    ]),
})
