import { SluiceError } from '../../api/errors.ts'
import { rotateKeys } from '../../firmware/tools/keys.ts'
import { refuseGatewayKeys } from '../fw/release.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwKeyRotate = defineVerb({
  name: 'fw key rotate',
  summary: 'Make the next key, or move on to it',
  description:
    'The first time it makes next.pem, whose public half goes into the bootloaders of new boards. Later it makes the next ' +
    'key the current one, keeps the old one as retired-DATE.pem and makes another next key.',
  positionals: { usage: 'FOLDER', min: 1, max: 1 },
  options: {},
  examples: [{ command: 'sluice fw key rotate ~/keys/greenhouse', says: 'Long before the current key is retired' }],
  async run({ args, out }) {
    const folder = args[0]
    if (folder === undefined) throw new SluiceError('SLUICE_CLI_ARGUMENTS', 'which folder has the keys?')
    refuseGatewayKeys(folder)
    const { current, next } = await rotateKeys(folder, new Date().toISOString().slice(0, 10))
    const hex = (raw: Uint8Array | undefined) => (raw === undefined ? undefined : Buffer.from(raw).toString('hex'))
    if (out.json) out.value({ folder, current: hex(current.raw), next: hex(next?.raw) })
    else {
      out.line(`${out.style.green('✓')} current ${hex(current.raw)}`)
      out.line(`  next    ${hex(next?.raw) ?? 'none'}`)
    }
    return EXIT.ok
  },
})
