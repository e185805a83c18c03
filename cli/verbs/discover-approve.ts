import { delay, systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { DiscoveredDevice } from '../../api/resources.ts'
import { DISCOVERED_DEVICES, objectPath } from '../../cloudcore/kube/paths.ts'
import { DEFAULT_DATA, dataFolder } from '../device-api.ts'
import { type DiscoveredRow, findDiscovered, listDiscovered } from '../discovered.ts'
import { openKube } from '../kube.ts'
import { printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

const LOOK_EVERY_MS = 200

export const discoverApprove = defineVerb({
  name: 'discover approve',
  summary: 'Make a device of something that was discovered',
  description:
    'Sets spec.approve of the DiscoveredDevice; the cloud core then makes a Device with the address that was seen, served ' +
    'by the gateway that saw it. The model must be in the cluster.',
  positionals: { usage: 'ID', min: 1, max: 1 },
  options: {
    model: { kind: 'text', value: 'MODEL', help: 'DeviceModel of the device.' },
    name: { kind: 'text', value: 'NAME', help: 'Name of the Device.' },
    namespace: { kind: 'text', short: 'n', value: 'NAME', help: 'Namespace of the Device and its model.' },
    wait: { kind: 'duration', default: '15s', value: 'TIME', help: 'How long to wait for the device.' },
    data: { kind: 'text', value: 'DIR', help: `Folder of the cloud core. Default ${DEFAULT_DATA}.` },
  },
  examples: [
    {
      command: 'sluice discover approve a4:c1:38:0d:11:22 --model xiaomi-lywsd03mmc --name cellar',
      says: 'By the id that sluice discover shows',
    },
    {
      command: 'kubectl patch dd ble-… --type merge -p \'{"spec":{"approve":{"name":"cellar","model":"…"}}}\'',
      says: 'The same by hand',
    },
  ],
  async run({ options, args, out, signal, env }) {
    await using kube = openKube(dataFolder(options.data, env))
    const row = findDiscovered(await listDiscovered(kube, signal), args[0]!)
    const { model, name, namespace } = options
    if (model === undefined || name === undefined) throw incomplete(row)
    const path = objectPath(DISCOVERED_DEVICES, row.object!, row.namespace)
    const approve = { model, name, ...(namespace === undefined ? {} : { namespace }) }
    const patched = await kube.patch<DiscoveredDevice>(path, 'merge', { spec: { approve } }, { signal })
    const deadlineMs = systemClock.monotonic() + options.wait
    for (let object = patched; ; object = await kube.get<DiscoveredDevice>(path, { signal })) {
      const { status } = object
      const condition = status?.conditions?.find(({ type }) => type === 'Approved')
      if (status?.state === 'approved') {
        if (out.json) out.value({ device: status.device, discovered: row.object })
        else out.line(`${out.style.green('✓')} device ${printable(status.device ?? name)} is there`)
        return EXIT.ok
      }
      if (condition?.status === 'False' && condition.observedGeneration === patched.metadata.generation) {
        throw new SluiceError('SLUICE_CLI_APPROVAL_REFUSED', condition.message, {
          hint: 'Approve once more with other options; what cannot be done yet is also tried again every minute.',
        })
      }
      if (systemClock.monotonic() >= deadlineMs) {
        throw new SluiceError('SLUICE_CLI_APPROVAL_PENDING', 'The approval is set, the device is not there yet', {
          hint: `Is the cloud core running? See: kubectl describe dd ${row.object}`,
        })
      }
      await delay(systemClock, LOOK_EVERY_MS, signal)
    }
  },
})

function incomplete({ candidates, id }: DiscoveredRow): SluiceError {
  const known = candidates.map(({ model, why }) => `${model} (${why})`).join(', ')
  return new SluiceError('SLUICE_CLI_OPTION_VALUE', `Say which model '${id}' is and what to call it`, {
    hint: `Give --model and --name.${known === '' ? ' No model is known to resemble it.' : ` It resembles ${known}.`}`,
  })
}
