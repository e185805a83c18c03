import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { SluiceError } from '../../api/errors.ts'
import { parseJoinToken } from '../../api/link/join.ts'
import { packageRoot, readBundle } from '../flash/bundle.ts'
import { readSecretFile } from '../flash/secret-file.ts'
import { install as installOn, plannedFiles, plannedSteps } from '../install/install.ts'
import { folderOfPackage, programIn } from '../install/program.ts'
import { below } from '../install/system.ts'
import { thisMachine } from '../install/this-machine.ts'
import { PLACES } from '../install/unit.ts'
import { defineVerb, EXIT } from '../verb.ts'

const UNPACK_TIMEOUT_MS = 300_000

export const install = defineVerb({
  name: 'install',
  summary: 'Run the agent as a service of this machine, now and after every boot',
  description:
    'Puts this version under /opt/sluice beside the one that is there, makes the user sluice with the groups for serial ' +
    'lines and Bluetooth, writes a closed systemd unit, and starts it. A version that does not come up is taken back. ' +
    'Installing again changes nothing; with a newer version it is an upgrade. Needs root.',
  options: {
    bundle: { kind: 'text', value: 'FILE', help: 'Install what `sluice flash bundle` made, not what runs here.' },
    from: { kind: 'text', value: 'DIR', help: 'The same, unpacked.' },
    'join-token-file': { kind: 'text', value: 'FILE', help: 'Join with it when the agent starts; mode 0600.' },
    'bluetooth-hci': { kind: 'flag', help: 'Let it use Bluetooth adapters without BlueZ (two capabilities).' },
    'no-start': { kind: 'flag', help: 'Do not start it now; it starts with the next boot.' },
    'dry-run': { kind: 'flag', help: 'Show every file and command, and do nothing.' },
    root: { kind: 'text', value: 'DIR', default: '/', help: 'Install into the file tree below DIR, for an image.' },
  },
  examples: [
    { command: 'sudo sluice install --join-token-file gw-2.token', says: 'On a gateway, into a fleet' },
    { command: 'sluice install --dry-run', says: 'What it would do' },
    { command: 'sudo sluice install --bundle sluice-arm64.tar.gz', says: 'Upgrade without a network' },
  ],
  async run({ options, out, signal }) {
    const system = thisMachine(resolve(options.root), signal)
    const tokenFile = options['join-token-file']
    const token = tokenFile === undefined ? undefined : readSecretFile(tokenFile, 'join-token-file').trim()
    // A bad one is told now and not in a log after the next boot.
    if (token !== undefined) parseJoinToken(token)
    using unpacked = options.bundle === undefined ? undefined : await unpack(options.bundle, signal)
    const folder =
      unpacked?.folder ?? (options.from === undefined ? folderOfPackage(packageRoot()) : resolve(options.from))
    const wish = {
      program: programIn(folder, process.arch),
      bluetoothHci: options['bluetooth-hci'],
      token,
      start: !options['no-start'],
    }
    if (options['dry-run']) {
      const steps = plannedSteps(system, wish)
      const files = plannedFiles(system, wish)
      if (out.json) out.value({ dryRun: true, steps, files: Object.fromEntries(files) })
      else {
        for (const step of steps) out.line(step)
        for (const [path, content] of files) out.line(`\n${out.style.bold(path)}\n${content.trimEnd()}`)
      }
      return EXIT.ok
    }
    if (system.root === '/' && process.getuid?.() !== 0) {
      throw new SluiceError('SLUICE_INSTALL_PERMISSION', 'Installing needs root', {
        hint: 'sudo sluice install; --dry-run shows what it would do.',
      })
    }
    const result = await installOn(system, wish)
    if (out.json) out.value(result)
    else {
      for (const line of result.changed) out.note(line)
      const what = result.replaced === null ? '' : ` in place of ${result.replaced}`
      out.line(
        result.changed.length === 0
          ? `Sluice ${result.version} is installed already.`
          : `Sluice ${result.version} is installed${what}.`,
      )
      out.line(
        result.started
          ? `It runs: sluice status --data ${PLACES.data}`
          : `It starts with the next boot of ${below(system, '/')}.`,
      )
    }
    return EXIT.ok
  },
})

async function unpack(bundle: string, signal: AbortSignal): Promise<{ folder: string } & Disposable> {
  await readBundle(bundle, signal)
  // Not in /tmp, which is memory on many gateways.
  const folder = mkdtempSync('/var/tmp/sluice-install-')
  const remove = () => rmSync(folder, { recursive: true, force: true })
  try {
    const argv = ['--extract', '--gzip', '--file', bundle, '--directory', folder, '--no-same-owner']
    await promisify(execFile)('tar', argv, { signal, timeout: UNPACK_TIMEOUT_MS })
  } catch (cause) {
    remove()
    signal.throwIfAborted()
    throw new SluiceError('SLUICE_FLASH_BUNDLE', `'${bundle}' cannot be unpacked into ${join(folder, '..')}`, {
      hint: 'It needs about 200 MB there.',
      cause,
    })
  }
  return { folder, [Symbol.dispose]: remove }
}
