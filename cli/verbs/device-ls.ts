import { openDeviceApi, TARGET_OPTIONS } from '../device-api.ts'
import { deviceTable } from '../device-table.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const deviceLs = defineVerb({
  name: 'device ls',
  summary: 'Every device with its newest values',
  description:
    'Asks the agent on this gateway through its socket, elsewhere the cloud core; both answer the same. ' +
    'A green dot means the device answers, a red one that it does not.',
  options: {
    ...TARGET_OPTIONS,
    namespace: { kind: 'text', short: 'n', value: 'NAME', help: 'Only devices of this namespace.' },
  },
  examples: [
    { command: 'sluice device ls', says: 'Everything this gateway serves' },
    { command: 'sluice device ls --cloud -n plant', says: 'What the cloud core knows of one namespace' },
    {
      command: 'sluice device ls --json | jq -r \'.items[] | .name + " " + .state\'',
      says: 'The same for a script',
    },
  ],
  async run({ options, out, signal, env }) {
    const api = openDeviceApi(options, env)
    const all = await api.devices(signal)
    const items = options.namespace === undefined ? all : all.filter((device) => device.namespace === options.namespace)
    if (out.json) {
      out.value({ items })
      return EXIT.ok
    }
    if (items.length === 0) {
      out.note(
        "No devices yet. Apply a DeviceModel and a Device with kubectl; 'sluice model lint FILE' checks them first.",
      )
      return EXIT.ok
    }
    for (const line of deviceTable(items, Date.now(), out.style, out.width)) out.line(line)
    return EXIT.ok
  },
})
