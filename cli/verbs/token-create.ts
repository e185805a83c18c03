import { writeFileSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'
import { openConsole } from '../console-api.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const tokenCreate = defineVerb({
  name: 'token create',
  summary: 'A single-use token with which one gateway may join',
  description:
    'The token names the gateway, the address of the cloud core and the fingerprint of its authority, so the gateway ' +
    'needs nothing else and cannot be led elsewhere. It works once. Runs where the cloud core keeps its folder.',
  options: {
    data: { kind: 'text', value: 'DIR', help: 'Folder of the cloud core (also: SLUICE_DATA).' },
    gateway: { kind: 'text', short: 'g', value: 'NAME', help: 'The gateway that may join with it. Needed.' },
    ttl: { kind: 'duration', value: 'TIME', default: '1h', help: 'How long it is good, at most 30d.' },
    out: {
      kind: 'text',
      short: 'o',
      value: 'FILE',
      help: 'Write it into a file only you can read, instead of stdout.',
    },
  },
  examples: [
    { command: 'sluice token create --gateway gw-2 -o gw-2.token', says: 'Into a file, to be copied to the gateway' },
    { command: 'sluice token create -g gw-2 | ssh gw-2 sluice join', says: 'Straight to the gateway, stored nowhere' },
  ],
  async run({ options, out, signal, env }) {
    if (options.gateway === undefined) {
      throw new SluiceError('SLUICE_CLI_ARGUMENTS', "'sluice token create' needs --gateway NAME", {
        hint: 'The token is bound to the name: sluice token create --gateway gw-2.',
      })
    }
    const created = await openConsole(options.data, env).createToken(options.gateway, options.ttl, signal)
    if (options.out !== undefined) {
      writeSecret(options.out, created.token)
      if (out.json) out.value({ gateway: created.gateway, expiresAt: created.expiresAt, file: options.out })
      else out.line(`Token for ${created.gateway} in ${options.out}, good once until ${created.expiresAt}`)
      return EXIT.ok
    }
    if (out.json) out.value(created)
    else {
      out.line(created.token)
      out.note(
        `for ${created.gateway}, good once until ${created.expiresAt}; on the gateway: sluice join --token-file FILE`,
      )
    }
    return EXIT.ok
  },
})

/** Never overwrites: an older token file may be somebody else's. */
function writeSecret(file: string, secret: string): void {
  try {
    writeFileSync(file, `${secret}\n`, { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new SluiceError('SLUICE_CLI_FILE', `'${file}' cannot be written (${reason})`, {
      hint: reason === 'EEXIST' ? 'Remove it or name another file.' : 'Check the folder and its rights.',
      cause,
    })
  }
}
