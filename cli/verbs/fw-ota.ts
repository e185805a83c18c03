import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { FirmwareRollout } from '../../api/resources.ts'
import { cloudEndpoint, DEFAULT_DATA, dataFolder } from '../device-api.ts'
import { requireProject } from '../fw/load.ts'
import { signProject } from '../fw/release.ts'
import { beginRollout, devicesOf, followRollout, publish } from '../fw/rollout.ts'
import { SIGNING_OPTIONS } from '../fw/signing-options.ts'
import { openKube } from '../kube.ts'
import { printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwOta = defineVerb({
  name: 'fw ota',
  summary: 'Update boards behind a gateway over the line they are polled on',
  description:
    'Builds and signs, makes a FirmwareRelease and a FirmwareRollout and follows it: sent between the polls, started on ' +
    'trial, watched by the gateway, confirmed when its values are good, rolled back when they are not. It goes on where it ' +
    'was when the agent, the board or this command restarts.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: {
    ...SIGNING_OPTIONS,
    gateway: { kind: 'text', short: 'g', value: 'NAME', help: 'Every device of the model at this gateway.' },
    device: { kind: 'text', value: 'NAME', repeatable: true, help: 'These devices, whatever gateway serves them.' },
    namespace: { kind: 'text', short: 'n', value: 'NAME', help: "Namespace of the devices. Default the project's." },
    canary: { kind: 'count', value: 'N', default: '1', help: 'Devices that go first.' },
    polls: { kind: 'count', value: 'N', default: '5', help: 'Polls with good values before it is confirmed.' },
    timeout: { kind: 'text', value: 'TIME', default: '2m', help: 'From the restart to healthy.' },
    wait: { kind: 'duration', default: '30m', value: 'TIME', help: 'How long to follow it; 0s returns at once.' },
    data: { kind: 'text', value: 'DIR', help: `Folder of the cloud core. Default ${DEFAULT_DATA}.` },
  },
  examples: [
    {
      command: 'sluice fw ota greenhouse --gateway gw-1 --keys ~/keys/greenhouse',
      says: 'All boards of the model there',
    },
    { command: 'kubectl get firmwarerollouts', says: 'How far it is' },
  ],
  async run({ options, args, out, signal, env }) {
    const { board, keys, next, dev, counter, gateway, device } = options
    if ((gateway === undefined) === (device.length === 0)) {
      throw new SluiceError('SLUICE_CLI_ARGUMENTS', "'sluice fw ota' needs --gateway NAME or --device NAME", {
        hint: 'For example: sluice fw ota greenhouse --gateway gw-1.',
      })
    }
    const made = requireProject(args[0] ?? '.', board === undefined ? {} : { board })
    const namespace = options.namespace ?? made.project.namespace ?? 'default'
    const data = dataFolder(options.data, env)
    await using kube = openKube(data)
    const model = made.model.metadata.name
    const devices = gateway === undefined ? [...device] : await devicesOf(kube, { namespace, model, gateway }, signal)
    const release = await signProject(made, { keys, next, development: dev, counter }, signal)
    await publish(kube, cloudEndpoint(data), release, namespace, signal)
    if (!out.json) out.line(`${out.style.green('✓')} release ${release.name} for ${devices.join(', ')}`)
    const spec = {
      devices,
      canary: options.canary,
      health: { polls: options.polls, timeout: options.timeout },
      ...(release.development ? { allowDevelopmentKey: true } : {}),
    }
    const rollout = await beginRollout(kube, release, namespace, spec, signal)
    const onStatus = (now: FirmwareRollout) => {
      if (out.json) out.value({ rollout: now.metadata.name, ...now.status })
      else out.note(progressLine(now))
    }
    const end = await followRollout(kube, rollout, { waitMs: options.wait, clock: systemClock, signal, onStatus })
    const { phase, message } = end.status ?? {}
    if (phase === 'Done') {
      if (!out.json) out.line(`${out.style.green('✓')} ${end.status?.progress} confirmed with ${release.spec.version}`)
      return EXIT.ok
    }
    if (phase !== 'Halted' && phase !== 'RolledBack') {
      if (!out.json) out.line(`It goes on: kubectl get firmwarerollout ${end.metadata.name} -n ${namespace}`)
      return EXIT.ok
    }
    const failed = (end.status?.devices ?? []).find(({ state }) => state === 'failed' || state === 'rolledBack')
    throw new SluiceError('SLUICE_FW_OTA_HALTED', `the rollout halted: ${message}; ${failed?.message ?? ''}`, {
      hint: `kubectl describe firmwarerollout ${end.metadata.name}; raise spec.retry to try again.`,
    })
  },
})

/** One line of where every device stands. */
function progressLine({ status }: FirmwareRollout): string {
  const devices = (status?.devices ?? []).slice(0, 4).map(({ name, state, percent, message }) => {
    const much = state === 'sending' && percent !== undefined ? ` ${percent} %` : ''
    return `${name} ${state}${much}${message === undefined ? '' : ` (${message})`}`
  })
  return printable(`${status?.phase ?? 'Waiting'} ${status?.progress ?? ''}  ${devices.join('; ')}`)
}
