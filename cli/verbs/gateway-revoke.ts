import { openConsole } from '../console-api.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const gatewayRevoke = defineVerb({
  name: 'gateway revoke',
  summary: 'Shut a lost or stolen gateway out',
  description:
    'Makes every certificate of the gateway worthless and cuts its connection. Its twins stay, marked stale. A ' +
    'replacement joins under the same name with a new token.',
  positionals: { usage: 'NAME', min: 1, max: 1 },
  options: { data: { kind: 'text', value: 'DIR', help: 'Folder of the cloud core (also: SLUICE_DATA).' } },
  examples: [
    { command: 'sluice gateway revoke gw-2', says: 'Then: sluice token create --gateway gw-2 for the new hardware' },
  ],
  async run({ options, args, out, signal, env }) {
    const answer = await openConsole(options.data, env).revokeGateway(args[0]!, signal)
    if (out.json) out.value({ gateway: args[0], ...answer })
    else out.line(`${args[0]}: ${answer.revoked} certificate${answer.revoked === 1 ? '' : 's'} revoked`)
    return EXIT.ok
  },
})
