import { SluiceError } from '../../api/errors.ts'
import type { FatVolume } from './fat.ts'

/**
 * How an image takes its first configuration. The names are those of `init_format` in the lists of images that Raspberry
 * Pi Imager reads; `custom-toml` is Bookworm's own file, which those lists have no name for.
 */
export type InitFormat = 'cloudinit' | 'cloudinit-rpi' | 'rpi-preseed' | 'custom-toml' | 'systemd'

const FORMATS: readonly string[] = [
  'cloudinit',
  'cloudinit-rpi',
  'rpi-preseed',
  'custom-toml',
  'systemd',
] satisfies InitFormat[]

export function parseInitFormat(text: string): InitFormat {
  if (isFormat(text)) return text
  throw new SluiceError('SLUICE_FLASH_FORMAT_UNKNOWN', `'${text}' is no first-boot format that can be written`, {
    hint: `Known are ${FORMATS.join(', ')}; the list an image comes from names it as init_format.`,
  })
}

const isFormat = (text: string): text is InitFormat => FORMATS.includes(text)

const MAX_CMDLINE_BYTES = 4096
/** Started by the kernel of a Raspberry Pi OS on its first boot: Bookworm, and Bullseye and older. */
const FIRST_BOOT_PROGRAMS = ['/usr/lib/raspberrypi-sys-mods/firstboot', '/usr/lib/raspi-config/init_resize.sh']

/**
 * The format an image shows by what lies on its boot partition, or the declared one where the image does not contradict
 * it. Never guessed: an image configured in the wrong way boots and silently ignores everything.
 * Throws SLUICE_FLASH_FORMAT_UNKNOWN or SLUICE_FLASH_FORMAT_CONFLICT.
 */
export function initFormatOf(volume: FatVolume, declared: InitFormat | undefined): InitFormat {
  const shown = shownBy(volume)
  if (declared === undefined) {
    if (shown !== undefined) return shown
    const names = volume.list().map(({ name }) => name)
    throw new SluiceError(
      'SLUICE_FLASH_FORMAT_UNKNOWN',
      `The image does not show how it takes a configuration; on its boot partition are ${names.slice(0, 12).join(', ')}${names.length > 12 ? ', ...' : ''}`,
      {
        hint: "Say it with --init-format, as the image's publisher declares it, or flash without configuration: --plain.",
      },
    )
  }
  const family = (format: InitFormat) => (format.startsWith('cloudinit') ? 'cloudinit' : 'other')
  if (shown !== undefined && family(shown) !== family(declared)) {
    throw new SluiceError(
      'SLUICE_FLASH_FORMAT_CONFLICT',
      `The image was said to take '${declared}', but what is on it is for '${shown}'`,
      { hint: `It would ignore the configuration without a word. Leave --init-format out to use '${shown}'.` },
    )
  }
  return declared
}

function shownBy(volume: FatVolume): InitFormat | undefined {
  // Ubuntu, and Raspberry Pi OS since November 2025 bring the files as templates.
  if (volume.has('user-data') || volume.has('meta-data')) {
    return volume.has('issue.txt') && volume.has('config.txt') ? 'cloudinit-rpi' : 'cloudinit'
  }
  if (volume.has('rpi-preseed.toml')) return 'rpi-preseed'
  if (volume.has('custom.toml')) return 'custom-toml'
  const cmdline = volume.read('cmdline.txt', MAX_CMDLINE_BYTES)?.toString('utf8') ?? ''
  const words = cmdline.split(/\s+/)
  if (words.some((word) => word.startsWith('ds=nocloud'))) return 'cloudinit'
  return FIRST_BOOT_PROGRAMS.some((program) => words.includes(`init=${program}`)) ? 'systemd' : undefined
}
