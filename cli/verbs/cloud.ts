import { DEFAULT_DATA } from '../device-api.ts'
import { becomePart } from '../processes.ts'
import { defineVerb } from '../verb.ts'

/** Flags that the cloud core takes as they are. */
const HANDED_ON = [
  ...(['host', 'advertise', 'mqtt-url', 'api-port', 'hub-port', 'kubelet-port', 'kubeconfig', 'away-after'] as const),
  ...(['oidc-issuer', 'oidc-client-id', 'oidc-client-secret-file', 'oidc-username-claim'] as const),
  ...(['oidc-username-prefix', 'oidc-groups-claim', 'oidc-groups-prefix', 'oidc-ca-file'] as const),
] as const

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
    'away-after': {
      kind: 'text',
      value: 'TIME',
      help: 'Silence after which a gateway counts as away and its pods may move. Default 40s.',
    },
    'oidc-issuer': { kind: 'text', value: 'URL', help: 'OpenID provider whose people may sign in to the console.' },
    'oidc-client-id': { kind: 'text', value: 'ID', help: 'Name under which the provider knows this console.' },
    'oidc-client-secret-file': { kind: 'text', value: 'FILE', help: 'Its secret; without one it is a public client.' },
    'oidc-username-claim': { kind: 'text', value: 'CLAIM', help: 'Claim with the name. Default sub.' },
    'oidc-username-prefix': { kind: 'text', value: 'TEXT', help: 'Before the name. Default the issuer and #.' },
    'oidc-groups-claim': { kind: 'text', value: 'CLAIM', help: 'Claim with the groups. Default groups.' },
    'oidc-groups-prefix': { kind: 'text', value: 'TEXT', help: 'Before each group. Default nothing.' },
    'oidc-ca-file': { kind: 'text', value: 'FILE', help: "Authority of the provider's certificate." },
  },
  examples: [
    { command: 'sluice cloud --host 0.0.0.0 --advertise cloud.example.org', says: 'For gateways on other machines' },
    { command: 'sluice cloud --data /var/lib/sluice', says: 'As a service runs it, everything in one folder' },
    {
      command: 'sluice cloud --kubeconfig ~/.kube/config',
      says: 'Beside a cluster of your own; it needs the CRDs: sluice crds',
    },
    {
      command: 'sluice cloud --oidc-issuer https://id.example.org --oidc-client-id sluice',
      says: 'People of your OpenID provider sign in to the console: docs/console.md',
    },
  ],
  run: ({ options, env }) =>
    becomePart('cloud', options.data, env, [
      ...HANDED_ON.flatMap((name) => {
        const value = options[name]
        return value === undefined ? [] : [`--${name}`, String(value)]
      }),
    ]),
})
