import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { parseJoinToken } from '../../api/link/join.ts'
import { makeBundle, parseArchitecture, readBundle } from '../flash/bundle.ts'
import type { Chosen } from '../flash/choose.ts'
import { gigabytes, listDevices } from '../flash/disks.ts'
import { flashImage } from '../flash/flash.ts'
import { parseInitFormat } from '../flash/init-format.ts'
import { Progress } from '../flash/progress.ts'
import { readSecretFile } from '../flash/secret-file.ts'
import { checkHostname, checkUser, type GatewaySettings, parseSshKeys, parseWifi } from '../flash/settings.ts'
import type { Output } from '../output.ts'
import { printable } from '../text.ts'
import { type Call, defineVerb, EXIT } from '../verb.ts'

const OPTIONS = {
  image: { kind: 'text', value: 'FILE', help: 'The system: .img, or packed with gzip, xz or zstd. Needed.' },
  device: { kind: 'text', value: 'PATH', default: 'auto', help: 'Disk to write to. auto takes the only one there is.' },
  sha256: { kind: 'text', value: 'HASH', help: 'Checksum of the file or of the image inside, checked first.' },
  hostname: { kind: 'text', value: 'NAME', help: "The gateway's host name. Default: the name in the join token." },
  'join-token-file': { kind: 'text', value: 'FILE', help: 'What `sluice token create -o FILE` wrote; mode 0600.' },
  bundle: { kind: 'text', value: 'FILE', help: 'What `sluice flash bundle` made. Without it one is made now.' },
  arch: { kind: 'text', value: 'ARCH', default: 'arm64', help: 'Of the gateway, for the bundle made now: arm64, x64.' },
  'wifi-file': { kind: 'text', value: 'FILE', help: 'Lines ssid=, passphrase=, country=; mode 0600.' },
  'ssh-key': { kind: 'text', value: 'FILE', repeatable: true, help: 'Public key that may log in.' },
  user: { kind: 'text', value: 'NAME', help: "Whom the keys let in. Default: the image's own first user." },
  'init-format': { kind: 'text', value: 'NAME', help: "How the image's publisher says it is configured." },
  plain: { kind: 'flag', help: 'Write the image as it is, without any configuration.' },
  'allow-large': { kind: 'flag', help: 'Also a disk beyond 256 GiB.' },
  'allow-fixed': { kind: 'flag', help: 'Also a disk that is not removable, or a file.' },
  yes: { kind: 'flag', help: 'Do not ask for the name of the disk.' },
} as const

type Options = Call<typeof OPTIONS>['options']

export const flashGateway = defineVerb({
  name: 'flash gateway',
  summary: 'Write a card that boots into the fleet',
  description:
    'Checks the image to its end, works out the configuration, asks for the name of the disk, writes, reads everything ' +
    'back and compares. The card gets its first block last: what is not whole does not boot. The token is put on the ' +
    'card alone; it works once and is wiped on the first boot.\n\n' +
    'Exit codes beyond the common ones: 5 the card failed or was pulled, 6 what was read back differs; both leave it ' +
    'plainly unbootable, and so does Ctrl-C (130).',
  options: OPTIONS,
  examples: [
    {
      command: 'sluice flash gateway --image raspios.img.xz --device auto --join-token-file t --hostname gw-7',
      says: 'The usual way',
    },
    {
      command: 'sluice flash gateway --image ubuntu.img.xz --ssh-key ~/.ssh/id_ed25519.pub ...',
      says: 'With a log-in',
    },
    { command: 'sluice flash gateway --image raspios.img --plain --device /dev/sdb', says: 'Only write and verify' },
  ],
  async run({ options, out, signal, env }) {
    const { image } = options
    if (image === undefined) throw missing('--image FILE', 'sluice flash gateway --image raspios.img.xz ...')
    const progress = new Progress(out, systemClock)
    try {
      const result = await flashImage(
        {
          image,
          device: options.device,
          allowLarge: options['allow-large'],
          allowFixed: options['allow-fixed'],
          sha256: options.sha256 === undefined ? undefined : checksumOf(options.sha256),
          declared: options['init-format'] === undefined ? undefined : parseInitFormat(options['init-format']),
          settings: options.plain ? undefined : await settingsOf(options, signal, out),
        },
        {
          clock: systemClock,
          signal,
          devices: () => listDevices(signal),
          confirm: (chosen) => confirm(chosen, options.yes, out, signal, env),
          onProgress: (phase, done, total) => progress.show(phase, done, total),
        },
      )
      progress.end()
      if (out.json) out.value({ event: 'done', ok: true, ...result })
      else {
        out.line(`${result.device} (${printable(result.model)}) is written and read back without a difference.`)
        out.line(`SHA-256 of the ${gigabytes(result.imageBytes)} on it: ${result.cardSha256}`)
        if (!result.verifiedDirectly) out.note('It was read back through the cache of this machine.')
        if (result.format !== null) out.note(`Configured by ${result.format}: ${result.files.join(', ')}`)
      }
      return EXIT.ok
    } catch (thrown) {
      progress.end()
      // After Ctrl-C nothing else would say what the card is now.
      if (signal.aborted && thrown instanceof SluiceError && thrown.code === 'SLUICE_FLASH_INTERRUPTED') {
        if (out.json) out.value({ event: 'interrupted', ok: false, error: thrown })
        out.note(thrown.message)
        return EXIT.interrupted
      }
      throw thrown
    }
  },
})

async function settingsOf(options: Options, signal: AbortSignal, out: Output): Promise<GatewaySettings> {
  const tokenFile = options['join-token-file']
  const token = tokenFile === undefined ? undefined : readSecretFile(tokenFile, 'join-token-file').trim()
  const named = token === undefined ? undefined : parseJoinToken(token).gateway
  const hostname = options.hostname ?? named
  if (hostname === undefined)
    throw missing('--hostname NAME or --join-token-file FILE', '--plain writes no configuration.')
  if (token === undefined) out.note('Without --join-token-file it runs on its own and joins no fleet.')
  const wifiFile = options['wifi-file']
  return {
    hostname: checkHostname(hostname),
    token,
    wifi: wifiFile === undefined ? undefined : parseWifi(readSecretFile(wifiFile, 'wifi-file'), wifiFile),
    sshKeys: options['ssh-key'].flatMap((file) => parseSshKeys(readText(file), file)),
    user: options.user === undefined ? undefined : checkUser(options.user),
    bundle: await bundleOf(options, signal, out),
  }
}

async function bundleOf({ bundle, arch }: Options, signal: AbortSignal, out: Output) {
  if (bundle !== undefined) return readBundle(bundle, signal)
  const folder = mkdtempSync(join(tmpdir(), 'sluice-flash-'))
  try {
    const file = join(folder, 'bundle.tar.gz')
    out.note("Making a bundle for the gateway; 'sluice flash bundle' makes one for many cards.")
    await makeBundle(file, parseArchitecture(arch), signal, (line) => out.note(line))
    return await readBundle(file, signal)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function confirm(
  { path, title, sizeBytes }: Chosen,
  yes: boolean,
  out: Output,
  signal: AbortSignal,
  env: Call<typeof OPTIONS>['env'],
): Promise<void> {
  out.note(`Everything on ${path}, ${printable(title)}, ${gigabytes(sizeBytes)}, will be lost.`)
  if (yes) return
  if (process.stdin.isTTY !== true || env['CI'] !== undefined) {
    throw missing('--yes where nobody can be asked', `It would write to ${path} (${printable(title)}).`)
  }
  const dialog = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await dialog.question(`Type its name to go on (${printable(title)}): `, { signal })
    if (answer.trim() !== title) {
      throw new SluiceError('SLUICE_FLASH_CONFIRMATION_REFUSED', 'That is not its name; nothing was written', {
        hint: 'Type the name as it is shown.',
      })
    }
  } finally {
    dialog.close()
  }
}

function checksumOf(text: string): string {
  const hash = text.trim().toLowerCase()
  if (/^[0-9a-f]{64}$/.test(hash)) return hash
  throw new SluiceError('SLUICE_FLASH_SETTING_INVALID', '--sha256 has to be 64 hexadecimal digits', {
    hint: 'Copy it from where the image is published.',
  })
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new SluiceError('SLUICE_CLI_FILE', `'${file}' cannot be read (${reason})`, { hint: 'Check the name.', cause })
  }
}

const missing = (what: string, hint: string): SluiceError =>
  new SluiceError('SLUICE_CLI_ARGUMENTS', `'sluice flash gateway' needs ${what}`, { hint })
