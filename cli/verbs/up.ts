import { runUp } from '../up/run.ts'
import { defineVerb } from '../verb.ts'

const OPTIONS = {
  data: { kind: 'text', value: 'DIR', help: 'Folder for everything it keeps (also: SLUICE_DATA). Default ./.sluice.' },
  demo: { kind: 'flag', help: 'Start a plant to play with: a meter on a serial line, a drive on TCP.' },
  still: { kind: 'flag', help: "With --demo outside of a terminal: write nothing to the plant's drive by itself." },
  serial: {
    kind: 'text',
    value: 'PORT',
    help: 'Your own serial line; devices on a line use it instead of the port in their file.',
  },
  baud: { kind: 'count', value: 'BPS', help: 'Speed of --serial, when it differs from the device file.' },
  model: {
    kind: 'text',
    value: 'FILE',
    repeatable: true,
    help: 'Models to apply: files, or names of the catalogue such as eastron/sdm120.',
  },
  device: { kind: 'text', value: 'FILE', repeatable: true, help: 'Devices (and models) to apply.' },
  gateway: { kind: 'text', value: 'NAME', default: 'gw-1', help: 'Name of the gateway that runs here.' },
  for: { kind: 'duration', value: 'TIME', help: 'Stop by itself after this time.' },
  'api-port': { kind: 'port', value: 'PORT', help: 'Kubernetes API. Default 6443 or a free one.' },
  'hub-port': { kind: 'port', value: 'PORT', help: 'Where gateways connect. Default 7443 or a free one.' },
  kubeconfig: { kind: 'text', value: 'FILE', help: 'Use this cluster instead of the embedded Kubernetes API.' },
  verbose: { kind: 'flag', help: 'Show what agent and cloud core print.' },
} as const

export const up = defineVerb({
  name: 'up',
  summary: 'Cloud core and agent in one go, under one folder',
  description:
    'Starts the cloud core with its Kubernetes API, joins an agent on this machine to it, and keeps both running: a ' +
    'crash of one is repaired without the other noticing more than a pause. Ctrl-C ends everything in order; what was ' +
    'there is there again at the next start.\n\n' +
    'In a terminal it shows a live table. Elsewhere it prints plain lines, and with --json its last line is one object ' +
    '{ok, devices, values, writes, drops, ...}.\n\n' +
    'With --demo or --serial and no files of your own, the models and devices in demo/ are applied.',
  options: OPTIONS,
  examples: [
    { command: 'sluice up --demo', says: 'A whole plant on this machine, to play with' },
    {
      command: 'sluice up --serial /dev/serial/by-id/usb-FTDI_...-port0',
      says: 'Read the energy meter on your own RS-485 line',
    },
    { command: 'sluice up --device site.yaml --model meter.yaml', says: 'Your own devices' },
    { command: 'sluice up --demo --for 20s --json', says: 'A check that ends by itself, for a script' },
  ],
  run: (call) => runUp(call),
})

export type UpOptions = typeof OPTIONS
