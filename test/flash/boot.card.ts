import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type CloudCore, runCloudCore } from '../../cloudcore/core.ts'
import { runSluice } from '../cli/run-sluice.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { eventually } from '../harness/until.ts'
import { type BootableImage, debianImage } from './debian-image.ts'
import { bundleFolder, packBundle } from './machine.ts'
import { fileOnCard, filesOnCard } from './pi-image.ts'

/** An address of this machine alone, of those kept for tests of networks; QEMU's own network leads the guest there. */
const HOST = '198.18.7.1'
const BOOT_MS = 540_000
const CARD_BYTES = 1300 * 1024 * 1024

/**
 * The whole way: a Debian with systemd and cloud-init as an image, `sluice flash gateway` onto a card, a machine that boots
 * from that card, and a cloud core that sees its gateway come. `npm run test:card`: it needs root, qemu-system-x86,
 * debootstrap, mtools, fdisk, dosfstools and e2fsprogs, and fetches packages.
 */
let folder: Folder
let core: CloudCore
let image: BootableImage
let card: string
let token: string
const say = (line: string) => void process.stderr.write(`${line}\n`)

beforeAll(async () => {
  folder = temporaryFolder('card-boot')
  const at = (name: string) => join(folder.path, name)
  execFileSync('ip', ['address', 'replace', `${HOST}/32`, 'dev', 'lo'])
  image = debianImage(folder.path, say)
  core = await runCloudCore({ dataDir: at('cloud'), host: HOST, hubPort: 0, apiPort: 0 })
  token = (await core.createToken({ gateway: 'gw-7' })).token
  writeFileSync(at('token'), `${token}\n`, { mode: 0o600 })
  await bundleFolder(at('bundle'))
  packBundle(at('bundle'), at('bundle.tar.gz'))
  card = at('card.img')
  writeFileSync(card, '')
  truncateSync(card, CARD_BYTES)
  const where = ['--image', image.path, '--device', card, '--allow-fixed', '--yes', '--bundle', at('bundle.tar.gz')]
  const flashed = await runSluice(
    ...['flash', 'gateway', ...where, '--join-token-file', at('token'), '--hostname', 'gw-7', '--json'],
  )
  expect(flashed, flashed.stderr).toMatchObject({ code: 0 })
})

afterAll(async () => {
  await core?.[Symbol.asyncDispose]()
  execFileSync('ip', ['address', 'delete', `${HOST}/32`, 'dev', 'lo'])
  folder?.[Symbol.dispose]()
})

/** Boots the card; resolves when `until` does, and with everything the machine printed. The power is cut after it. */
async function boot(until: (printed: string) => boolean): Promise<string> {
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...['-M', 'q35', '-m', '1024', '-smp', '2', '-display', 'none', '-no-reboot', '-monitor', 'none'],
      // Not every machine that has KVM can use it: one that is a guest itself may not.
      ...['-accel', 'tcg,thread=multi', '-cpu', 'max'],
      ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', 'root=/dev/vda2 rw console=ttyS0 quiet'],
      ...['-drive', `file=${card},format=raw,if=virtio,cache=writethrough`],
      ...['-nic', 'user,model=virtio-net-pci', '-serial', 'stdio'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      printed = (printed + chunk.toString('latin1')).slice(-200_000)
      if (process.env['SLUICE_CARD_LOG'] !== undefined) process.stderr.write(chunk)
    })
  try {
    await eventually(() => until(printed), 'the gateway to come', BOOT_MS)
    return printed
  } catch (cause) {
    throw new Error(`it printed last:\n${printed.slice(-4000)}`, { cause })
  } finally {
    child.kill('SIGKILL')
    await once(child, 'close')
  }
}

const online = (): boolean => core.hub.session('gw-7') !== undefined

it('boots, and cloud-init begins to install; the power is cut in the middle of that', async () => {
  const printed = await boot((said) => said.includes('sluice first boot: installing'))
  expect(printed).not.toContain('sluice first boot: done')
})

it('installs with the next boot, runs as a service of systemd, and joins with the token of the card', async () => {
  // It joins before its first boot has ended: the power is cut when that has wiped the token.
  const printed = await boot((said) => online() && said.includes('sluice first boot: done'))
  expect(printed).not.toContain(token)
  expect(fileOnCard(card, 'sluice/first-boot.log')).toContain('installing')
  // The token worked once, and is gone from the card with the bundle.
  expect(filesOnCard(card, 'sluice').sort()).toEqual(['first-boot.log', 'first-boot.sh'])
})

it('comes back by itself when it is switched on again', async () => {
  await eventually(() => !online(), 'the gateway to be missed', 120_000)
  await boot(online)
})
