import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBootPartition } from '../../cli/flash/boot-partition.ts'
import { FileStore } from '../../cli/flash/byte-store.ts'
import { writeFirstBoot } from '../../cli/flash/first-boot.ts'
import { type InitFormat, initFormatOf } from '../../cli/flash/init-format.ts'
import { type GatewaySettings, parseSshKeys, parseWifi } from '../../cli/flash/settings.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { canBeMachine, Machine } from './machine.ts'
import { BOOKWORM, type ImageOptions, makeImage, TRIXIE } from './pi-image.ts'
import { missingTools } from './tools.ts'

const cannot = missingTools('mcopy', 'mkfs.vfat', 'sfdisk')
const BULLSEYE = {
  ...BOOKWORM,
  'cmdline.txt': 'console=tty1 root=PARTUUID=aa-02 quiet init=/usr/lib/raspi-config/init_resize.sh\n',
}
/** What could break out of a shell, a TOML string or YAML. */
const NASTY = `Plant'$(reboot)"; \\ #`
const SETTINGS: GatewaySettings = {
  hostname: 'gw-7',
  wifi: { ssid: NASTY, passphrase: `${NASTY} pass`, country: 'DE', hidden: true },
  sshKeys: [`ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB it's me`],
  user: 'plant',
  token: 'sluice1.secret',
  bundle: { content: Buffer.from('bundle'), sha256: 'c'.repeat(64) },
}

describe.skipIf(cannot.length > 0)(
  `the first boot's format${cannot.length > 0 ? ` (${cannot.join(', ')})` : ''}`,
  () => {
    let folder: Folder
    beforeAll(() => {
      folder = temporaryFolder('formats')
    })
    afterAll(() => folder[Symbol.dispose]())

    const open = (options: ImageOptions) => {
      const file = join(folder.path, 'image')
      makeImage(file, { bootMib: 20, fat: 16, rootMib: 1, ...options })
      const image = new FileStore(file)
      const survey = {
        image,
        imageBytes: image.sizeBytes,
        storedSha256: undefined,
        imageSha256: undefined,
        [Symbol.dispose]() {},
      }
      return openBootPartition(survey, 1_700_000_000_000).volume
    }
    const text = (volume: ReturnType<typeof open>, name: string) => volume.read(name, 1e6)?.toString('utf8') ?? ''

    it.each([
      ['Raspberry Pi OS with cloud-init', TRIXIE, 'cloudinit-rpi'],
      ['Ubuntu', { 'user-data': '#cloud-config\n', 'meta-data': '', 'network-config': '' }, 'cloudinit'],
      ['a kernel that is told so', { 'cmdline.txt': 'quiet ds=nocloud;i=1\n' }, 'cloudinit'],
      ['Bookworm', BOOKWORM, 'systemd'],
      ['Bullseye', BULLSEYE, 'systemd'],
      ['rpi-preseed', { 'rpi-preseed.toml': '' }, 'rpi-preseed'],
      ['custom.toml', { ...BOOKWORM, 'custom.toml': '' }, 'custom-toml'],
    ])('of %s is seen', (_, files, format) => {
      for (const table of ['dos', 'gpt'] as const) expect(initFormatOf(open({ files, table }), undefined)).toBe(format)
    })

    it('is never guessed: an unknown image is refused, and so is a declaration that the image contradicts', () => {
      const unknown = open({ files: { 'cmdline.txt': 'quiet\n', 'config.txt': '' } })
      expect(() => initFormatOf(unknown, undefined)).toThrow(
        expect.objectContaining({ code: 'SLUICE_FLASH_FORMAT_UNKNOWN' }),
      )
      expect(initFormatOf(unknown, 'rpi-preseed')).toBe('rpi-preseed')
      // The mistake of Imager 1.x: the card boots and ignores everything.
      expect(() => initFormatOf(open({ files: TRIXIE }), 'systemd')).toThrow(
        expect.objectContaining({ code: 'SLUICE_FLASH_FORMAT_CONFLICT' }),
      )
    })

    it('cloud-init: keeps what was there, and lets nobody in by password', () => {
      const volume = open({ files: { ...TRIXIE, 'user-data': '#cloud-config\nchpasswd: {list: "ubuntu:ubuntu"}\n' } })
      writeFirstBoot(volume, 'cloudinit', SETTINGS)
      expect(text(volume, 'user-data.orig')).toContain('ubuntu:ubuntu')
      expect(text(volume, 'user-data')).not.toContain('ubuntu')
      expect(text(volume, 'user-data')).toContain('"ssh_pwauth": false')
      expect(Object.keys(JSON.parse(text(volume, 'network-config')).wifis.wlan0['access-points'])).toEqual([NASTY])
    })

    it.each([
      ['rpi-preseed', 'rpi-preseed.toml', 'config_version = "1.1"'],
      ['custom-toml', 'custom.toml', 'config_version = 1'],
    ] as const)('%s: one TOML with everything quoted', (format, file, head) => {
      const volume = open({ files: BOOKWORM })
      writeFirstBoot(volume, format, SETTINGS)
      const toml = text(volume, file)
      expect(toml.split('\n')[0]).toBe(head)
      expect(toml).toContain(`ssid = "Plant'$(reboot)\\"; \\\\ #"`)
      expect(toml).toContain('country = "DE"')
      expect(toml).not.toContain('sluice1.secret')
      expect(toml.includes('[runcmd]')).toBe(format === 'rpi-preseed')
      // Bookworm's file runs nothing, so the script does it there.
      expect(text(volume, 'cmdline.txt').includes('systemd.run=')).toBe(format === 'custom-toml')
    })

    it('systemd: adds to the kernel line once, and keeps the first boot program of the image', () => {
      const volume = open({ files: BOOKWORM })
      writeFirstBoot(volume, 'systemd', SETTINGS)
      writeFirstBoot(volume, 'systemd', SETTINGS)
      const line = text(volume, 'cmdline.txt')
      expect(line.match(/systemd\.run=/g)).toHaveLength(1)
      expect(line).toContain('init=/usr/lib/raspberrypi-sys-mods/firstboot systemd.run=/boot/firmware/firstrun.sh')
      expect(line.split('\n')).toHaveLength(2)
    })

    it.skipIf(!canBeMachine)(
      'systemd: the script does it, takes itself away and runs no text of ours as a command',
      async () => {
        const volume = open({ files: BULLSEYE })
        writeFirstBoot(volume, 'systemd' satisfies InitFormat, { ...SETTINGS, bundle: undefined })
        const machine = new Machine(join(folder.path, 'machine'))
        machine.write('etc/passwd', 'root:x:0:0::/root:/bin/sh\npi:x:1000:1000::/home/pi:/bin/bash\n')
        machine.write('etc/group', 'root:x:0:\npi:x:1000:\n')
        machine.write('etc/shadow', 'root:*:1:0:99999:7:::\npi:*:1:0:99999:7:::\n')
        machine.write('etc/hostname', 'raspberrypi\n')
        machine.write('etc/hosts', '127.0.1.1\t\traspberrypi\n')
        for (const name of ['etc/wpa_supplicant/x', 'etc/sudoers.d/x', 'home/pi/x']) machine.write(name, '')
        for (const name of ['cmdline.txt', 'firstrun.sh']) {
          writeFileSync(join(machine.root, 'boot/firmware', name), text(volume, name))
        }
        const ran = await machine.run('sh', '/boot/firmware/firstrun.sh')
        expect(ran.code, ran.text).toBe(0)
        expect(machine.read('etc/hostname')).toBe('gw-7\n')
        expect(machine.read('etc/hosts')).toContain('gw-7')
        expect(machine.read('etc/passwd')).toContain('plant:x:1000:')
        expect(machine.read('home/plant/.ssh/authorized_keys')).toBe(`${SETTINGS.sshKeys[0]}\n`)
        const wpa = machine.read('etc/wpa_supplicant/wpa_supplicant.conf')
        expect(wpa).toContain(`ssid=${Buffer.from(NASTY).toString('hex')}`)
        expect(wpa).toContain(`psk="${NASTY} pass"`)
        expect(machine.read('boot/firmware/cmdline.txt')).toBe(BULLSEYE['cmdline.txt'])
        expect(() => machine.read('boot/firmware/firstrun.sh')).toThrow(/ENOENT/)
      },
    )
  },
)

describe('settings of a gateway', () => {
  it.each([
    ['a private key', () => parseSshKeys('-----BEGIN OPENSSH PRIVATE KEY-----\nabc', 'id'), /private key/],
    ['no key', () => parseSshKeys('hello', 'id'), /no SSH public key/],
    ['no country', () => parseWifi('ssid=a\n', 'w'), /country=/],
    ['a short passphrase', () => parseWifi('ssid=a\ncountry=DE\npassphrase=hunter2\n', 'w'), /not possible/],
    ['an unknown line', () => parseWifi('ssid=a\npassword=hunter2\n', 'w'), /Line 2/],
  ])('with %s are refused, and the secret is not told', (_, run, words) => {
    expect(run).toThrow(words)
    expect(run).not.toThrow(/hunter2|abc/)
  })
})
