import { resolve } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { thisMachine } from '../install/this-machine.ts'
import { uninstall as uninstallFrom, uninstallLines } from '../install/uninstall.ts'
import { PLACES } from '../install/unit.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const uninstall = defineVerb({
  name: 'uninstall',
  summary: 'Remove the agent that was installed as a service',
  description:
    `Stops the service and removes program and unit. ${PLACES.data} (the gateway's identity and what it has not ` +
    'delivered yet) and the settings stay, so that installing again goes on where it stopped; --purge takes them, too.',
  options: {
    purge: { kind: 'flag', help: 'Also data, settings and the user sluice. The gateway has to join anew then.' },
    'dry-run': { kind: 'flag', help: 'Show what would be removed, and do nothing.' },
    root: { kind: 'text', value: 'DIR', default: '/', help: 'Remove it from the file tree below DIR.' },
  },
  examples: [
    { command: 'sudo sluice uninstall', says: 'Keeps the data' },
    { command: 'sudo sluice uninstall --purge', says: 'Nothing is left' },
  ],
  async run({ options, out, signal }) {
    const system = thisMachine(resolve(options.root), signal)
    const wish = { purge: options.purge }
    const dryRun = options['dry-run']
    if (!dryRun && system.root === '/' && process.getuid?.() !== 0) {
      throw new SluiceError('SLUICE_INSTALL_PERMISSION', 'Uninstalling needs root', { hint: 'sudo sluice uninstall' })
    }
    const lines = dryRun ? uninstallLines(system, wish) : await uninstallFrom(system, wish)
    if (out.json) out.value({ dryRun, removed: lines })
    else if (lines.length === 0) out.line('Nothing is installed.')
    else for (const line of lines) out.line(line)
    return EXIT.ok
  },
})
