import { SluiceError } from '../../api/errors.ts'
import { newKeys } from '../../firmware/tools/keys.ts'
import { refuseGatewayKeys } from '../fw/release.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwKeyNew = defineVerb({
  name: 'fw key new',
  summary: 'A key to sign firmware with',
  description:
    'Makes a folder (mode 0700) with an Ed25519 key: current.pem (mode 0600) signs, current.pub.pem goes into bootloaders. ' +
    'Never replaces a key. Keep it off gateways, and keep a copy: boards take updates from no other.',
  positionals: { usage: 'FOLDER', min: 1, max: 1 },
  options: {},
  examples: [{ command: 'sluice fw key new ~/keys/greenhouse', says: 'Once for a family of boards' }],
  async run({ args, out }) {
    const folder = args[0]
    if (folder === undefined) throw new SluiceError('SLUICE_CLI_ARGUMENTS', 'where is the key to go?')
    refuseGatewayKeys(folder)
    const { current } = await newKeys(folder)
    const publicKey = Buffer.from(current.raw).toString('hex')
    if (out.json) out.value({ folder, publicKey })
    else out.line(`${out.style.green('✓')} ${folder}: public key ${publicKey}`)
    return EXIT.ok
  },
})
