import { realpathSync, statSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'
import { type BlockDevice, gigabytes, objectionsTo, titleOf, type Wish, withDescendants } from './disks.ts'

/** What was chosen to be written to. */
export interface Chosen {
  readonly path: string
  readonly sizeBytes: number
  /** What has to be typed to confirm. */
  readonly title: string
  /** Undefined for a plain file. */
  readonly disk: BlockDevice | undefined
}

/**
 * The disk to write to. `auto` takes the only one that nothing speaks against; a path is taken as it is, or refused with
 * the reasons. A plain file that exists counts as a fixed disk. Throws SLUICE_FLASH_DEVICE_REFUSED,
 * SLUICE_FLASH_DEVICE_NOT_FOUND or SLUICE_FLASH_DEVICE_AMBIGUOUS.
 */
export function chooseDevice(wanted: string, devices: readonly BlockDevice[], wish: Wish): Chosen {
  return wanted === 'auto' ? onlyCandidate(devices, wish) : named(wanted, devices, wish)
}

function onlyCandidate(devices: readonly BlockDevice[], wish: Wish): Chosen {
  const disks = devices.filter(({ type, sizeBytes }) => type === 'disk' && sizeBytes > 0)
  const candidates = disks.filter((disk) => objectionsTo(disk, wish).length === 0)
  const [only] = candidates
  if (candidates.length === 1 && only !== undefined) return chosen(only)
  if (candidates.length === 0) {
    const why = disks.map((disk) => `${disk.path} (${titleOf(disk)}): ${objectionsTo(disk, wish)[0]?.reason}`)
    throw new SluiceError(
      'SLUICE_FLASH_DEVICE_NOT_FOUND',
      `There is no disk to write to${why.length === 0 ? '' : `. Not taken: ${why.join('; ')}`}`,
      { hint: "Put the card in and look with 'sluice flash ls'." },
    )
  }
  throw new SluiceError(
    'SLUICE_FLASH_DEVICE_AMBIGUOUS',
    `Several disks could be meant: ${candidates.map((disk) => `${disk.path} (${titleOf(disk)}, ${gigabytes(disk.sizeBytes)})`).join(', ')}`,
    { hint: 'Name one: --device PATH. Or take the others out.' },
  )
}

function named(wanted: string, devices: readonly BlockDevice[], wish: Wish): Chosen {
  let path: string
  try {
    path = realpathSync(wanted)
  } catch (cause) {
    throw new SluiceError('SLUICE_FLASH_DEVICE_NOT_FOUND', `There is no '${wanted}'`, {
      hint: "'sluice flash ls' shows what there is.",
      cause,
    })
  }
  const about = statSync(path)
  if (about.isFile()) return plainFile(path, about.size, wish)
  const disk = devices.flatMap(withDescendants).find((device) => device.path === path)
  if (!about.isBlockDevice() || disk === undefined) throw refused(wanted, ['it is no disk'], [])
  const objections = objectionsTo(disk, wish)
  if (objections.length > 0) {
    throw refused(
      `${path} (${titleOf(disk)})`,
      objections.map(({ reason }) => reason),
      objections.map(({ unless }) => unless),
    )
  }
  return chosen(disk)
}

function plainFile(path: string, sizeBytes: number, wish: Wish): Chosen {
  if (wish.imagePath !== undefined && realpathSync(wish.imagePath) === path) {
    throw refused(path, ['it is the image itself'], [])
  }
  if (!wish.allowFixed) throw refused(path, ['it is a file and no disk'], ['--allow-fixed'])
  if (sizeBytes < wish.imageBytes) {
    throw refused(path, [`it has ${gigabytes(sizeBytes)}, the image needs ${gigabytes(wish.imageBytes)}`], [])
  }
  return { path, sizeBytes, title: path.slice(path.lastIndexOf('/') + 1), disk: undefined }
}

const chosen = (disk: BlockDevice): Chosen => ({
  path: disk.path,
  sizeBytes: disk.sizeBytes,
  title: titleOf(disk),
  disk,
})

function refused(what: string, reasons: readonly string[], unless: readonly (string | undefined)[]): SluiceError {
  const final = unless.length === 0 || unless.includes(undefined)
  const options = [...new Set(unless.filter((each) => each !== undefined))]
  return new SluiceError('SLUICE_FLASH_DEVICE_REFUSED', `${what} is not written to: ${reasons.join('; ')}`, {
    hint: final ? "'sluice flash ls' shows what can be written to." : `If you are sure, add ${options.join(' and ')}.`,
  })
}
