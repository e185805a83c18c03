import { DEFAULT_DATA } from '../device-api.ts'
import { becomePart } from '../processes.ts'
import { defineVerb } from '../verb.ts'

export const cloud = defineVerb({
  name: 'cloud',
  summary: 'The cloud core alone',
  description:
    'Serves the embedded Kubernetes API (or uses a cluster of yours), takes the links of gateways, and keeps device ' +
    'twins. Writes DIR/kubeconfig for kubectl and DIR/cloud.json for the sluice command.',
  options: {
    data: {
      kind: 'text',
      value: 'DIR',
      help: `Folder of the cloud core (also: SLUICE_DATA). Default ${DEFAULT_DATA}.`,
    },
    host: {
      kind: 'text',
      value: 'ADDRESS',
      help: 'Listen there; 0.0.0.0 for gateways on other machines. Default 127.0.0.1.',
    },
    advertise: { kind: 'text', value: 'NAME', help: 'Name or address under which gateways reach this machine.' },
    'api-port': { kind: 'port', value: 'PORT', help: 'Kubernetes API. Default 6443 or a free one.' },
    'hub-port': { kind: 'port', value: 'PORT', help: 'Where gateways connect. Default 7443 or a free one.' },
    'kubelet-port': {
      kind: 'port',
      value: 'PORT',
      help: 'Where an API server finds pods. Default 10250 or a free one.',
    },
    'mqtt-url': { kind: 'text', value: 'URL', help: 'Publish every change to this MQTT broker too.' },
    kubeconfig: { kind: 'text', value: 'FILE', help: 'Use this cluster instead of the embedded Kubernetes API.' },
  },
  examples: [
    { command: 'sluice cloud --host 0.0.0.0 --advertise cloud.example.org', says: 'For gateways on other machines' },
    { command: 'sluice cloud --data /var/lib/sluice', says: 'As a service runs it, everything in one folder' },
    {
      command: 'sluice cloud --kubeconfig ~/.kube/config',
      says: 'Beside a cluster of your own; it needs the CRDs: sluice crds',
    },
  ],
  run: ({ options, env }) =>
    becomePart('cloud', options.data, env, [
      ...(options.host === undefined ? [] : ['--host', options.host]),
      ...(options.advertise === undefined ? [] : ['--advertise', options.advertise]),
      ...(options['mqtt-url'] === undefined ? [] : ['--mqtt-url', options['mqtt-url']]),
      ...(options['api-port'] === undefined ? [] : ['--api-port', String(options['api-port'])]),
      ...(options['hub-port'] === undefined ? [] : ['--hub-port', String(options['hub-port'])]),
      ...(options['kubelet-port'] === undefined ? [] : ['--kubelet-port', String(options['kubelet-port'])]),
      ...(options.kubeconfig === undefined ? [] : ['--kubeconfig', options.kubeconfig]),
    ]),
})
