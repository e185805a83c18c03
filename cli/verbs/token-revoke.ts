import { SluiceError } from '../../api/errors.ts'
import { openConsole } from '../console-api.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const tokenRevoke = defineVerb({
  name: 'token revoke',
  summary: 'Make tokens worthless that nobody has used yet',
  description:
    'Takes the id that token ls shows, or the name of a gateway for all its unused tokens. A token that was used let ' +
    'a gateway in: shut that out with gateway revoke.',
  positionals: { usage: 'ID|GATEWAY', min: 1, max: 1 },
  options: { data: { kind: 'text', value: 'DIR', help: 'Folder of the cloud core (also: SLUICE_DATA).' } },
  examples: [
    { command: 'sluice token revoke 3f0a91c2d4e5', says: 'One token' },
    { command: 'sluice token revoke gw-2', says: 'Every unused token of a gateway' },
  ],
  async run({ options, args, out, signal, env }) {
    const which = args[0]!
    const { revoked } = await openConsole(options.data, env).revokeToken(which, signal)
    if (revoked === 0) {
      throw new SluiceError('SLUICE_CLI_NO_TOKEN', `There is no unused token '${which}'`, {
        hint: 'See them: sluice token ls.',
      })
    }
    if (out.json) out.value({ revoked })
    else out.line(`${revoked} token${revoked === 1 ? '' : 's'} revoked`)
    return EXIT.ok
  },
})
