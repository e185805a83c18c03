import { requestJson } from '../../api/client/http.ts'
import { isRole, ROLES, type Role } from '../../api/console/roles.ts'
import { SluiceError } from '../../api/errors.ts'
import { builtConsole } from '../console-files.ts'
import { openDeviceApi, TARGET_OPTIONS } from '../device-api.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const consoleVerb = defineVerb({
  name: 'console',
  summary: 'The web console: an address, and a code that signs in once',
  description:
    'Prints an address to open in a browser. The code in it is good once, for five minutes; run this again for another. ' +
    'An agent opens its console on the loopback address when it is first asked; from another machine, reach it through ' +
    'ssh -L. The cloud core serves its console beside its API, with the certificate of its own authority.',
  options: {
    ...TARGET_OPTIONS,
    role: {
      kind: 'text',
      value: 'ROLE',
      help: `What whoever uses the code may do: ${ROLES.join(', ')}. Default operator, with --cloud admin.`,
    },
    name: { kind: 'text', value: 'NAME', help: 'How they appear in the audit log. Default: this user.' },
    port: {
      kind: 'port',
      value: 'PORT',
      help: "Where the agent's console listens when it is not open yet. Default 7480.",
    },
  },
  examples: [
    { command: 'sluice console', says: 'The console of the gateway on this machine' },
    { command: 'sluice console --cloud', says: 'The console of the whole fleet' },
    { command: 'sluice console --role viewer --name kiosk', says: 'For a screen on the wall: looking only' },
  ],
  async run({ options, out, env, signal }) {
    const { role } = options
    if (role !== undefined && !isRole(role)) {
      throw new SluiceError('SLUICE_CLI_OPTION_VALUE', `'${role}' is no role`, {
        hint: `Use one of ${ROLES.join(', ')}.`,
      })
    }
    builtConsole()
    const { endpoint } = openDeviceApi(options, env)
    const name = options.name ?? env['USER'] ?? 'local'
    const made = await requestJson<{ url: string; code: string; role: Role }>(endpoint, {
      method: 'POST',
      path: '/v1/console',
      body: {
        name,
        role: role ?? (endpoint.kind === 'https' ? 'admin' : 'operator'),
        ...(options.port === undefined || endpoint.kind === 'https' ? {} : { port: options.port }),
      },
      signal,
    })
    if (out.json) out.value(made)
    else {
      out.line(made.url)
      out.note(
        `Signs in once as ${made.role}, within five minutes. Where the page asks for it, the code is ${made.code}`,
      )
    }
    return EXIT.ok
  },
})
